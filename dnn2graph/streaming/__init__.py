"""Measuring weights where they lie, without a model and without loading them."""

from .lazy import LazyTensors
from .measure import measure_file
from .result import Faults, MeasuredFile, MeasuredTensor
from .tensors import StoredTensor, holds_tensors, stored_tensors

__all__ = [
    "Faults",
    "LazyTensors",
    "MeasuredFile",
    "MeasuredTensor",
    "StoredTensor",
    "holds_tensors",
    "measure_file",
    "stored_tensors",
]
