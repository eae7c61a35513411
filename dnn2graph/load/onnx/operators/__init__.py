"""Operators of the standard domain by family; importing this registers them.

Each is a few lines of torch. Where a definition changed, ``step.opset`` tells the old one.
"""

from . import (
    convolution,
    linear,
    making,
    normalisation,
    pointwise,
    pooling,
    precision,
    recurrent,
    reductions,
    resizing,
    sampling,
    selecting,
    shaping,
    spectra,
)
from .shaping import SIZES

__all__ = [
    "SIZES",
    "convolution",
    "linear",
    "making",
    "normalisation",
    "pointwise",
    "pooling",
    "precision",
    "recurrent",
    "reductions",
    "resizing",
    "sampling",
    "selecting",
    "shaping",
    "spectra",
]
