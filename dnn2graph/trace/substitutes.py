"""Functions of torch that hide what they do from a watcher, and the same in operations that can be seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .modules import ModuleStack


@contextmanager
def visible(stack: ModuleStack) -> Iterator[None]:
    """Put the substitutes in place while a model is watched; put everything back at the end."""
    from torch.nn.attention import flex_attention as flexible

    run_batch_norm = torch.batch_norm

    def cond(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
        """Take the branch that the example takes."""
        stack.on_choice("torch.cond")
        return (true_fn if bool(pred) else false_fn)(*operands)

    def batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, *others: Any) -> Tensor:
        """Tell whether samples are normalised together; of one sample, torch runs what it runs for each by itself."""
        stack.joins_samples = training
        try:
            return run_batch_norm(x, weight, bias, mean, variance, training, *others)
        finally:
            stack.joins_samples = False

    substitutes: list[tuple[Any, str, Any]] = [
        (torch, "cond", cond),
        (torch, "batch_norm", batch_norm),
        (F, "one_hot", one_hot),
        (flexible, "flex_attention_hop", flexible_attention),
        (flexible, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True),  # else it is compiled, and cannot be seen
        (flexible, "_validate_device", lambda *tensors: None),  # the substitute runs on any
    ]
    substitutes = [each for each in substitutes if hasattr(*each[:2])]  # earlier versions of torch lack some
    originals = [(place, name, getattr(place, name)) for place, name, _ in substitutes]
    try:
        for place, name, substitute in substitutes:
            setattr(place, name, substitute)
        yield
    finally:
        for place, name, original in originals:
            setattr(place, name, original)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Look up rows of the identity: an embedding, whose entries are neurons."""
    classes = int(tensor.max()) + 1 if num_classes < 0 else num_classes
    return F.embedding(tensor, torch.eye(classes, device=tensor.device)).long()


def flexible_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor],
    block_mask: tuple[Any, ...],
    scale: float,
    *others: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what is behind ``flex_attention`` of (samples, heads, positions, features), every score at once.

    Returns
    -------
    mixed values, logarithm of the sum of exponents to the base 2, largest scores in that measure
    """
    heads = query.shape[1] // key.shape[1]  # that share keys and values
    if heads > 1:
        key, value = key.repeat_interleave(heads, 1), value.repeat_interleave(heads, 1)
    scores = query @ key.transpose(-1, -2) * scale
    along = [
        torch.arange(length, device=query.device).view([-1 if i == axis else 1 for i in range(4)])
        for axis, length in enumerate(scores.shape)
    ]
    scores = score_mod(scores, *along)
    let_pass = block_mask[-1](*along)
    if not bool(let_pass.all()):
        scores = scores.masked_fill(~let_pass, -torch.inf)
    mixed = torch._safe_softmax(scores, -1) @ value
    return mixed, scores.logsumexp(-1) / math.log(2), scores.amax(-1) / math.log(2)
