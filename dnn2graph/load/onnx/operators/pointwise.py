"""Elementwise operators: activations, arithmetic, comparisons."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import operator
from .settings import axis, number

if TYPE_CHECKING:
    from ..module import Step

SAME: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Add": torch.add,
    "And": torch.logical_and,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseNot": torch.bitwise_not,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": F.hardswish,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Mish": F.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}


def _same(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def compute(step: Step, *inputs: Tensor) -> Tensor:
        step.afford([x.shape for x in inputs])
        return function(*inputs)

    return compute


for _name, _function in SAME.items():
    operator(_name)(_same(_function))


@operator("Identity", "Dropout")
def identity(step: Step, x: Tensor, *settings: Tensor) -> Any:
    """Dropout is none when a network is used; its mask keeps everything."""
    return (x, torch.ones(x.shape, dtype=torch.bool)) if len(step.node.outputs) > 1 else x


@operator("Div")
def divide(step: Step, a: Tensor, b: Tensor) -> Tensor:
    """Whole numbers are divided towards zero."""
    step.afford([a.shape, b.shape])
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Mod")
def modulo(step: Step, a: Tensor, b: Tensor) -> Tensor:
    """Of the sign of the divisor, or with ``fmod`` of the dividend."""
    step.afford([a.shape, b.shape])
    return torch.fmod(a, b) if step.get("fmod", 0) else torch.remainder(a, b)


@operator("Pow")
def power(step: Step, a: Tensor, b: Tensor) -> Tensor:
    """In the type of the base."""
    step.afford([a.shape, b.shape])
    exponent = b if step.depends[1] or b.numel() != 1 or b.dim() > a.dim() else b.item()
    return torch.pow(a, exponent).to(a.dtype)


def _of_all(combine: Callable[[Tensor, Tensor], Tensor], step: Step, inputs: Sequence[Tensor]) -> Tensor:
    """Combine any number of tensors, which broadcast."""
    step.afford([x.shape for x in inputs])
    return functools.reduce(combine, inputs)


@operator("Sum")
def total(step: Step, *inputs: Tensor) -> Tensor:
    """Of any number of tensors."""
    return _of_all(torch.add, step, inputs)


@operator("Mean")
def mean(step: Step, *inputs: Tensor) -> Tensor:
    """Of any number of tensors."""
    return _of_all(torch.add, step, inputs) / len(inputs)


@operator("Max")
def maximum(step: Step, *inputs: Tensor) -> Tensor:
    """Of any number of tensors."""
    return _of_all(torch.maximum, step, inputs)


@operator("Min")
def minimum(step: Step, *inputs: Tensor) -> Tensor:
    """Of any number of tensors."""
    return _of_all(torch.minimum, step, inputs)


@operator("IsInf")
def is_infinite(step: Step, x: Tensor) -> Tensor:
    """Of one sign, or of both."""
    found = torch.isposinf(x) if step.get("detect_positive", 1) else torch.zeros(x.shape, dtype=torch.bool)
    return found | torch.isneginf(x) if step.get("detect_negative", 1) else found


@operator("Clip")
def clip(step: Step, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Bounds were attributes before opset 11."""
    if step.opset < 11:
        bounds = step.get("min"), step.get("max")
    else:
        bounds = number(step, 1, low), number(step, 2, high)
    return x if bounds == (None, None) else torch.clamp(x, *bounds)


@operator("LeakyRelu")
def leaky_relu(step: Step, x: Tensor) -> Tensor:
    """``alpha * x`` below zero."""
    return F.leaky_relu(x, step.get("alpha", 0.01))


@operator("PRelu")
def prelu(step: Step, x: Tensor, slope: Tensor) -> Tensor:
    """One learned slope, one for each channel, or any that broadcasts."""
    by_channel = x.dim() > 1 and slope.shape == (x.shape[1], *[1] * (x.dim() - 2))
    if slope.numel() == 1 or by_channel:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def elu(step: Step, x: Tensor) -> Tensor:
    """``alpha * (exp(x) - 1)`` below zero."""
    return F.elu(x, step.get("alpha", 1.0))


@operator("Celu")
def celu(step: Step, x: Tensor) -> Tensor:
    """``alpha * (exp(x / alpha) - 1)`` below zero."""
    return F.celu(x, step.get("alpha", 1.0))


@operator("Selu")
def selu(step: Step, x: Tensor) -> Tensor:
    """``gamma * elu(x, alpha)``."""
    alpha, gamma = step.get("alpha", 1.67326319217681884765625), step.get("gamma", 1.05070102214813232421875)
    return F.elu(x, alpha) * gamma


@operator("ThresholdedRelu")
def thresholded_relu(step: Step, x: Tensor) -> Tensor:
    """Zero up to ``alpha``."""
    return F.threshold(x, step.get("alpha", 1.0), 0.0)


@operator("HardSigmoid")
def hard_sigmoid(step: Step, x: Tensor) -> Tensor:
    """``alpha * x + beta`` between 0 and 1."""
    return torch.clamp(x * step.get("alpha", 0.2) + step.get("beta", 0.5), 0, 1)


@operator("Shrink")
def shrink(step: Step, x: Tensor) -> Tensor:
    """Zero within ``lambd`` of zero, moved by ``bias`` outside."""
    bias, width = step.get("bias", 0.0), step.get("lambd", 0.5)
    return torch.where(x < -width, x + bias, torch.where(x > width, x - bias, torch.zeros_like(x)))


@operator("Gelu")
def gelu(step: Step, x: Tensor) -> Tensor:
    """Exact, or approximated by tanh."""
    return F.gelu(x, approximate=step.get("approximate", "none"))


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(step: Step, x: Tensor) -> Tensor:
    """Along one axis; before opset 13 along all from one axis on."""
    function = SOFTMAX[step.node.operator]
    if step.opset >= 13:
        return function(x, axis(step, x, -1))
    first = axis(step, x, 1)
    if first == x.dim() - 1:
        return function(x, first)
    return function(x.reshape(*x.shape[:first], -1), -1).reshape(x.shape) if x.dim() else x


def _hardmax(x: Tensor, along: int) -> Tensor:
    """One at the first maximum, zero elsewhere."""
    places = torch.arange(x.shape[along]).view(-1, *[1] * (x.dim() - 1 - along % x.dim()))
    return (places == x.argmax(along, keepdim=True)).to(x.dtype)


SOFTMAX: dict[str, Callable[[Tensor, int], Tensor]] = {
    "Softmax": lambda x, along: torch.softmax(x, along),
    "LogSoftmax": lambda x, along: torch.log_softmax(x, along),
    "Hardmax": _hardmax,
}
