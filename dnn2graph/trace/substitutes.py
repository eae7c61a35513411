"""Functions of torch that hide what they do from a watcher, and the same in operations that can be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def visible(note: Callable[[str], None]) -> Iterator[None]:
    """Put the substitutes in place while a model is watched.

    Parameters
    ----------
    note : callable
        Told the name of a function whose course depends on the input.
    """
    from torch.nn.attention import flex_attention as module

    def cond(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
        """Take the branch that the example takes."""
        note("torch.cond")
        return (true_fn if bool(pred) else false_fn)(*operands)

    originals = torch.cond, module.flex_attention
    torch.cond, module.flex_attention = cond, attention_by_definition
    try:
        yield
    finally:
        torch.cond, module.flex_attention = originals


def attention_by_definition(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: Any = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Any = None,
    **others: Any,
) -> Any:
    """Compute ``flex_attention`` of (samples, heads, positions, features), every score at once."""
    if enable_gqa:
        heads = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(heads, 1), value.repeat_interleave(heads, 1)
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    along = [torch.arange(n).view([-1 if i == axis else 1 for i in range(4)]) for axis, n in enumerate(scores.shape)]
    if score_mod is not None:
        scores = score_mod(scores, *along)
    if block_mask is not None:
        scores = scores.masked_fill(~block_mask.mask_mod(*along), -torch.inf)
    mixed = torch.softmax(scores, -1) @ value
    return (mixed, scores.logsumexp(-1)) if return_lse else mixed
