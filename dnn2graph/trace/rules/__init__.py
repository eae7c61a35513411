"""Rules: how each ATen operation on neurons becomes layers and links. One file for each family."""

from . import convolution, linear, moves, normalisation, pointwise, pooling

__all__ = ["convolution", "linear", "moves", "normalisation", "pointwise", "pooling"]
