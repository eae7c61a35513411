"""Rules: how each ATen operation on neurons becomes layers and links. One file for each family."""

from . import (
    along_axes,
    attention,
    complex_numbers,
    composed,
    convolution,
    embedding,
    linear,
    matrices,
    moves,
    normalisation,
    packed,
    pointwise,
    pooling,
    resampling,
    routing,
    sampling,
)

__all__ = [
    "along_axes",
    "attention",
    "complex_numbers",
    "composed",
    "convolution",
    "embedding",
    "linear",
    "matrices",
    "moves",
    "normalisation",
    "packed",
    "pointwise",
    "pooling",
    "resampling",
    "routing",
    "sampling",
]
