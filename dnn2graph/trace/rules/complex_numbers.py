"""Complex numbers, each a pair of real neurons: what is done with them is done with the pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..aten import aten
from ..registry import complex_rule
from ..watch import Operation, Refused, Watch
from .composed import by_definition

UNSCALED, BY_ROOT = 0, 1  # how torch says what a transform is divided by; else by the number of elements


@complex_rule(
    *(aten.clone.default, aten._to_copy.default, aten.copy.default, aten._unsafe_view.default, aten.neg.default),
    *(aten.cat.default, aten.stack.default, aten.roll.default, aten.flip.default, aten.repeat.default),
    *(aten.index.Tensor, aten.index_select.default, aten.gather.default, aten.constant_pad_nd.default),
    *(aten.slice_scatter.default, aten.select_scatter.default, aten.where.self),
    *(aten.sum.default, aten.sum.dim_IntList, aten.mean.default, aten.mean.dim),
)
def separately(watch: Watch, operation: Operation) -> None:
    """The same of real and of imaginary parts."""
    if operation.argument("value", 0) != 0:
        raise Refused("complex numbers padded with others than 0")

    def part(place: int) -> Callable[[Any], Any]:
        def of(value: Any) -> Any:
            if isinstance(value, torch.dtype):
                return torch.empty((), dtype=value).abs().dtype
            if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
                return parts(value)[place]
            return value

        return of

    def definition(*args: Any, **kwargs: Any) -> Tensor:
        real, imaginary = (operation.func(*tree_map(part(i), args), **tree_map(part(i), kwargs)) for i in (0, 1))
        return torch.complex(real, imaginary) if operation.out.is_complex() else real

    by_definition(watch, operation, definition)


@complex_rule(aten.add.Tensor, aten.sub.Tensor)
def total(watch: Watch, operation: Operation) -> None:
    """Sums and differences."""

    def definition(one: Any, other: Any, alpha: Any = 1) -> Tensor:
        both = zip(parts(one), parts(other), strict=True)
        return torch.complex(*(operation.func(a, b, alpha=alpha) for a, b in both))

    by_definition(watch, operation, definition)


@complex_rule(aten.mul.Tensor, aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default)
def product(watch: Watch, operation: Operation) -> None:
    """Products: elementwise, and of matrices."""
    times = operation.func

    def definition(one: Any, other: Any) -> Tensor:
        (a, b), (c, d) = parts(one), parts(other)
        if not _is_complex(other):
            return torch.complex(times(a, other), times(b, other))
        if not _is_complex(one):
            return torch.complex(times(one, c), times(one, d))
        return torch.complex(times(a, c) - times(b, d), times(a, d) + times(b, c))

    by_definition(watch, operation, definition)


@complex_rule(aten.addmm.default, aten.baddbmm.default)
def biased_product(watch: Watch, operation: Operation) -> None:
    """``beta * bias + alpha * (x @ W)``."""
    by_definition(
        watch, operation, lambda bias, one, other, beta=1, alpha=1: beta * bias + alpha * torch.matmul(one, other)
    )


@complex_rule(aten.div.Tensor)
def quotient(watch: Watch, operation: Operation) -> None:
    """Quotients."""

    def definition(one: Any, other: Any) -> Tensor:
        if not _is_complex(other):
            return torch.complex(*(part / other for part in parts(one)))
        c, d = parts(other)
        return one * torch.complex(c, -d) / (c * c + d * d)

    by_definition(watch, operation, definition)


@complex_rule(aten._conj_physical.default)
def conjugate(watch: Watch, operation: Operation) -> None:
    """The complex conjugate."""

    def definition(number: Tensor) -> Tensor:
        real, imaginary = parts(number)
        return torch.complex(real, -imaginary)

    by_definition(watch, operation, definition)


@complex_rule(aten.complex.default)
def pair(watch: Watch, operation: Operation) -> None:
    """A complex number of its parts."""
    by_definition(watch, operation, lambda *of: torch.view_as_complex(torch.stack(torch.broadcast_tensors(*of), -1)))


@complex_rule(aten.polar.default)
def polar(watch: Watch, operation: Operation) -> None:
    """A complex number of its size and angle."""
    by_definition(watch, operation, lambda size, angle: torch.complex(size * angle.cos(), size * angle.sin()))


@complex_rule(aten.exp.default)
def exponential(watch: Watch, operation: Operation) -> None:
    """The exponential function."""

    def definition(number: Tensor) -> Tensor:
        real, angle = parts(number)
        return torch.polar(real.exp(), angle)

    by_definition(watch, operation, definition)


@complex_rule(aten.abs.default)
def size(watch: Watch, operation: Operation) -> None:
    """The distance from zero."""
    by_definition(watch, operation, lambda number: torch.hypot(*parts(number)))


@complex_rule(aten.angle.default)
def angle(watch: Watch, operation: Operation) -> None:
    """The angle to the positive real numbers."""

    def definition(number: Tensor) -> Tensor:
        real, imaginary = parts(number)
        return torch.atan2(imaginary, real)

    by_definition(watch, operation, definition)


def _from_real(x: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    length = x.shape[dim[-1]]
    kept = length // 2 + 1 if onesided else length
    scale = _scale([x.shape[axis] for axis in dim], normalization)
    cosine, sine = (scale * table for table in waves(length, kept))
    weights = torch.stack((cosine, -sine), -1).flatten(1)  # (length, kept * 2)
    made = (x.movedim(dim[-1], -1) @ weights.to(x)).unflatten(-1, (kept, 2))
    return _from_complex(torch.view_as_complex(made).movedim(-1, dim[-1]), dim[:-1], UNSCALED, True)


def _from_complex(x: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    scale = _scale([x.shape[axis] for axis in dim], normalization)
    for axis in dim:
        length = x.shape[axis]
        cosine, sine = (scale * table for table in waves(length, length))
        sine = sine if forward else -sine
        ahead = torch.stack((cosine, -sine), -1), torch.stack((sine, cosine), -1)  # of real and of imaginary parts
        weights = torch.stack(ahead, 1).reshape(2 * length, 2 * length)
        pairs = torch.view_as_real(x.movedim(axis, -1)).flatten(-2)
        x = torch.view_as_complex((pairs @ weights.to(pairs)).unflatten(-1, (length, 2))).movedim(-1, axis)
        scale = 1.0  # once is enough
    return x


def _to_real(x: Tensor, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    x = _from_complex(x, dim[:-1], UNSCALED, False)
    length, kept = last_dim_size, last_dim_size // 2 + 1
    scale = _scale([*(x.shape[axis] for axis in dim[:-1]), length], normalization)
    times = torch.full((kept,), 2.0 * scale, dtype=torch.float64)  # each stands for its conjugate too
    times[0] = scale
    if length % 2 == 0:
        times[-1] = scale
    cosine, sine = (times[:, None] * table for table in waves(kept, length, length))
    weights = torch.stack((cosine, -sine), 1).flatten(0, 1)  # (kept * 2, length)
    pairs = torch.view_as_real(x.movedim(dim[-1], -1)[..., :kept]).flatten(-2)
    return (pairs @ weights.to(pairs)).movedim(-1, dim[-1])


TRANSFORMS = {
    aten._fft_r2c.default: _from_real,
    aten._fft_c2c.default: _from_complex,
    aten._fft_c2r.default: _to_real,
}


@complex_rule(*TRANSFORMS)
def fourier(watch: Watch, operation: Operation) -> None:
    """Fourier transforms: along each axis a dense layer of fixed weights."""
    by_definition(watch, operation, TRANSFORMS[operation.func])


def waves(rows: int, columns: int, period: int | None = None) -> tuple[Tensor, Tensor]:
    """Make cosines and sines of all products of numbers, float64 (rows, columns); what is zero is so exactly."""
    period = rows if period is None else period
    turns = torch.arange(rows)[:, None] * torch.arange(columns) % period
    angle = turns.double() * (2 * torch.pi / period)
    cosine = angle.cos().masked_fill((4 * turns == period) | (4 * turns == 3 * period), 0.0)
    return cosine, angle.sin().masked_fill(2 * turns % period == 0, 0.0)


def _scale(lengths: Sequence[int], normalization: int) -> float:
    count = prod(lengths)
    return 1.0 if normalization == UNSCALED else 1 / sqrt(count) if normalization == BY_ROOT else 1 / count


def parts(number: Any) -> tuple[Any, Any]:
    """Give the real and the imaginary part; the latter is zero where there is none."""
    if not isinstance(number, Tensor):
        return number.real, number.imag
    if not number.is_complex():
        return number, torch.zeros_like(number)
    both = torch.view_as_real(number)
    return both[..., 0], both[..., 1]


def _is_complex(number: Any) -> bool:
    return number.is_complex() if isinstance(number, Tensor) else isinstance(number, complex)
