"""Weight expressions: how a link's weight is computed from named parameters.

A graph never holds copies of weights. It holds *expressions* such as ``W.t()`` or "kernel times folded
batch-norm scale", which are evaluated against a mapping from parameter name to tensor. The same graph therefore
serves every snapshot of a training run and every member of a population.

The functions of layers (an activation, a product of two operands, a maximum over a window) are expressions too;
their operands stand in them as :class:`Value`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter

from .errors import WeightsError

Weights = Mapping[str, Tensor]


class Expression:
    """A recipe for one tensor."""

    def evaluate(self, weights: Weights, values: Sequence[Tensor] = ()) -> Tensor:
        """Compute the tensor from named parameters, and from operand values where the expression has any.

        Autograd sees the parameters; see :meth:`detached`.
        """
        raise NotImplementedError

    def detached(self, weights: Weights, values: Sequence[Tensor] = ()) -> Tensor:
        """Compute the tensor as :meth:`evaluate` does, from parameters that autograd does not see."""
        return self.evaluate({name: _given(weights, name).detach() for name in self.parameters()}, values)

    def parameters(self) -> Iterator[str]:
        """Yield the names of the parameters that the expression reads."""
        return iter(())


@dataclass(frozen=True)
class Parameter(Expression):
    """A parameter or buffer of the model, by its name."""

    name: str

    def evaluate(self, weights: Weights, values: Sequence[Tensor] = ()) -> Tensor:
        return _given(weights, self.name)

    def parameters(self) -> Iterator[str]:
        yield self.name


@dataclass(frozen=True, eq=False)
class Constant(Expression):
    """A tensor that no parameter changes: a pooling weight, a number in the model's code."""

    value: Tensor

    def evaluate(self, weights: Weights, values: Sequence[Tensor] = ()) -> Tensor:
        return self.value


@dataclass(frozen=True)
class Value(Expression):
    """The value of a layer function's operand at a given place."""

    operand: int = 0

    def evaluate(self, weights: Weights, values: Sequence[Tensor] = ()) -> Tensor:
        return values[self.operand]


@dataclass(frozen=True, eq=False)
class Call(Expression):
    """A function of expressions and plain values; ``select`` picks one of several results."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    select: int | None = None

    def evaluate(self, weights: Weights, values: Sequence[Tensor] = ()) -> Tensor:
        args = [_evaluate(part, weights, values) for part in self.args]
        kwargs = {name: _evaluate(part, weights, values) for name, part in self.kwargs.items()}
        result = self.function(*args, **kwargs)
        return result if self.select is None else result[self.select]

    def parameters(self) -> Iterator[str]:
        for part in tree_iter((self.args, dict(self.kwargs))):
            if isinstance(part, Expression):
                yield from part.parameters()

    def __getstate__(self) -> dict[str, Any]:
        """Operators of torch do not pickle; their names do."""
        state = dict(self.__dict__)
        if isinstance(self.function, torch._ops.OpOverload):
            state["function"] = str(self.function)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["function"], str):
            namespace, name, overload = state["function"].split(".")
            state["function"] = getattr(getattr(getattr(torch.ops, namespace), name), overload)
        self.__dict__.update(state)


def _given(weights: Weights, name: str) -> Tensor:
    try:
        tensor = weights[name]
    except KeyError:
        raise WeightsError(
            f"the graph needs the parameter {name!r}, which is not among the given weights: "
            "pass a state dict of the same architecture"
        ) from None
    if tensor.is_meta:
        raise WeightsError(
            f"the parameter {name!r} has no values, since the graph was traced from a model on the meta device: "
            "attach weights with graph.with_weights(...)"
        )
    return tensor


def _evaluate(part: Any, weights: Weights, values: Sequence[Tensor]) -> Any:
    """Evaluate the expressions in an argument, which may be a list of them."""
    if isinstance(part, Expression):
        return part.evaluate(weights, values)
    if isinstance(part, list | tuple) and any(isinstance(each, Expression) for each in part):
        return [_evaluate(each, weights, values) for each in part]
    return part


def transposed(matrix: Expression) -> Expression:
    """Transpose a matrix; the transpose of a transpose is the matrix itself."""
    if isinstance(matrix, Call) and matrix.function is torch.ops.aten.t.default:
        inner: Expression = matrix.args[0]
        return inner
    return Call(torch.ops.aten.t.default, (matrix,))


def scale_kernel(kernel: Tensor, scale: Tensor) -> Tensor:
    """Multiply a kernel (out, in, *taps) by one number per output channel."""
    return kernel * scale.reshape(-1, *[1] * (kernel.dim() - 1))


def normalisation_scale(weight: Tensor | None, variance: Tensor, epsilon: float) -> Tensor:
    """Return what batch-norm in eval mode multiplies each channel by."""
    inverse = torch.rsqrt(variance + epsilon)
    return inverse if weight is None else weight * inverse


def normalisation_shift(bias: Tensor | None, mean: Tensor, scale: Tensor) -> Tensor:
    """Return what batch-norm in eval mode adds to each channel."""
    return -mean * scale if bias is None else bias - mean * scale


def affine(scale: Tensor, bias: Tensor, shift: Tensor | None = None) -> Tensor:
    """Push a bias through a scale and add the shift behind it."""
    return scale * bias if shift is None else scale * bias + shift


def take(tensor: Tensor, axis: int, index: Tensor) -> Tensor:
    """Select places along one axis."""
    return tensor.index_select(axis, index.to(tensor.device))


def overwritten(
    memory: Tensor, values: Tensor, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> Tensor:
    """Return a copy of a storage's elements (elements,) with values written into a window on it."""
    return torch.as_strided_scatter(memory.to(values), values.expand(size), size, stride, offset)


def pick(kernel: Tensor, outs: Tensor, ins: Tensor) -> Tensor:
    """Pick kernel entries by out- and in-channel: (1, number picked, taps)."""
    return kernel.reshape(*kernel.shape[:2], -1)[outs.to(kernel.device), ins.to(kernel.device)][None]


def mean_over_nodes(bias: Tensor, entries: Tensor, nodes: Tensor, count: int) -> Tensor:
    """Average bias entries over the nodes that they belong to: (count,)."""
    index = torch.as_tensor(nodes, device=bias.device)
    total = bias.new_zeros(count).index_add(0, index, take(bias.reshape(-1), 0, torch.as_tensor(entries)))
    return total / torch.bincount(index, minlength=count).clamp(min=1)


AGGREGATES = ("sum", "mean", "l1", "l2", "maxabs")
UNSIGNED_AGGREGATES = ("l1", "l2", "maxabs")


@dataclass(frozen=True)
class Aggregation:
    """Bring the taps that join the same pair of channels down to one weight.

    A kernel ``(out, in, *taps)`` becomes ``(out, segments)``: entries of the same segment are summed, averaged, …

    Parameters
    ----------
    method : {"sum", "mean", "l1", "l2", "maxabs"}
        ``l1`` is the sum of absolute values, ``l2`` the root of the sum of squares, ``maxabs`` the largest
        absolute value.
    segments : tuple of int, optional
        For each in-channel its segment; -1 leaves the in-channel out. Default: each is its own.
    """

    method: str
    segments: tuple[int, ...] | None = None

    def __call__(self, kernel: Tensor) -> Tensor:
        taps = kernel.reshape(*kernel.shape[:2], -1)  # (out, in, taps)
        if self.segments is None:
            return _reduce(taps, self.method)
        segment, present, count, in_order = self._layout
        if present is not None:
            taps = taps[:, present.to(kernel.device)]
        if in_order:
            return _reduce(taps.reshape(len(taps), count, -1), self.method)  # a flattened feature map
        return _reduce_segments(taps, segment.to(kernel.device), count, self.method)

    @cached_property
    def _layout(self) -> tuple[Tensor, Tensor | None, int, bool]:
        """Segments of the in-channels that have one, which those are (None: all), how many, and whether in order."""
        segment = torch.tensor(self.segments)
        present = segment >= 0
        segment, count = segment[present], int(segment.max()) + 1
        in_order = torch.equal(segment, torch.arange(count).repeat_interleave(len(segment) // count))
        return segment, None if bool(present.all()) else present, count, in_order


def _reduce(taps: Tensor, method: str) -> Tensor:
    """Reduce the last axis."""
    if taps.shape[-1] == 1 and method in ("sum", "mean"):
        return taps[..., 0]
    if method in ("sum", "mean"):
        return getattr(taps, method)(-1)
    if method == "maxabs":
        return taps.abs().amax(-1)
    return torch.linalg.vector_norm(taps, ord=1 if method == "l1" else 2, dim=-1)


def _reduce_segments(taps: Tensor, segment: Tensor, count: int, method: str) -> Tensor:
    """Reduce over the last axis and over the in-channels that share a segment."""
    empty = taps.new_zeros(len(taps), count)
    if method == "maxabs":
        return empty.scatter_reduce(1, segment.expand(len(taps), -1), taps.abs().amax(-1), "amax")
    amounts = {"l1": taps.abs(), "l2": taps.square()}.get(method, taps).sum(-1)
    total = empty.index_add(1, segment, amounts)
    if method == "mean":
        return total / (torch.bincount(segment, minlength=count) * taps.shape[-1])
    return total.sqrt() if method == "l2" else total
