"""Example inputs: which tensors a call holds, and one sample of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from ..errors import InputError


def as_arguments(example: Any) -> tuple[Any, ...]:
    """Return positional arguments: a tuple as it is, anything else as the only one."""
    return example if isinstance(example, tuple) else (example,)


def input_tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """List the tensors of a call, in order; containers are looked into."""
    return [leaf for leaf in tree_flatten((tuple(args), dict(kwargs)))[0] if isinstance(leaf, Tensor)]


def one_sample(
    args: Sequence[Any], kwargs: Mapping[str, Any], batch_axis: int | None
) -> tuple[tuple[Any, ...], dict[str, Any], int | None]:
    """Keep the first sample of every input tensor, with a batch axis of length 1.

    A call whose tensors all have one axis or none has no batch: each is one sample as it stands.

    Returns
    -------
    args, kwargs, batch_axis
        The batch axis is None where the call has none.

    Raises
    ------
    InputError
        If there is no tensor, one is empty, sparse, nested, holds complex numbers, or lacks the batch axis.
    """
    tensors = input_tensors(args, kwargs)
    if not tensors:
        raise InputError("the example input holds no tensor: pass a tensor, or a tuple of positional arguments")
    if batch_axis is not None and all(x.dim() < 2 for x in tensors):
        batch_axis = None
    for x in tensors:
        if x.layout is not torch.strided or x.is_nested:
            raise InputError(
                "an example input is sparse or nested, nodes are the elements of dense tensors: pass x.to_dense() or a "
                "padded tensor, or hold the matrix in the model as a buffer, then its entries are weights of links"
            )
        if x.is_complex():
            raise InputError(
                "an example input holds complex numbers, a node has one real value: trace a model that is given "
                "torch.view_as_real(x) and begins with torch.view_as_complex"
            )
        if x.numel() == 0:
            raise InputError(f"an example input is empty, shape {tuple(x.shape)}: pass at least one sample")
        if batch_axis is not None and not -x.dim() <= batch_axis < x.dim():
            raise InputError(
                f"an example input of shape {tuple(x.shape)} has no batch axis {batch_axis}: "
                "pass batch_axis=None if each input is one sample as it stands"
            )
    if batch_axis is not None and batch_axis < 0:
        raise InputError(f"batch_axis={batch_axis}: count the batch axis from the front, or pass None")

    def first(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        x = x.detach()
        return (x if batch_axis is None else x.narrow(batch_axis, 0, 1)).clone(memory_format=torch.contiguous_format)

    return tree_map(first, tuple(args)), tree_map(first, dict(kwargs)), batch_axis
