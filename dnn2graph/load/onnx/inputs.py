"""Example inputs from the sizes that a file declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InputError
from .tensors import affordable


@dataclass(frozen=True)
class Declared:
    """An input as a file declares it.

    Attributes
    ----------
    name : str
    dtype : torch.dtype
    shape : tuple of int or str, or None
        A name, or "?", for a length that is left open; None if not even the number of axes is declared.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int | str, ...] | None

    def __str__(self) -> str:
        return f"'{self.name}' ({'any shape' if self.shape is None else ', '.join(map(str, self.shape))})"


def fixed_batch(inputs: Sequence[Declared]) -> int | None:
    """Return the number of samples that a file is made for; None if it is open, or the inputs do not agree."""
    lengths = {declared.shape[0] for declared in inputs if declared.shape is not None and len(declared.shape) > 1}
    (length,) = lengths if len(lengths) == 1 else (None,)
    return length if isinstance(length, int) else None


def example_inputs(path: Path, inputs: Sequence[Declared]) -> tuple[Tensor, ...]:
    """Make zeros of the declared sizes for each input; one sample where their number is left open.

    Raises
    ------
    InputError
        If a size other than that of the batch is left open; all such inputs are named.
    """
    def is_open(declared: Declared) -> bool:
        return declared.shape is None or not all(isinstance(length, int) for length in declared.shape[1:])

    open_ones = [declared for declared in inputs if is_open(declared)]
    if open_ones:
        raise InputError(
            f"'{path}' leaves sizes of its inputs open: {', '.join(map(str, open_ones))}: name the shape of one sample "
            "of each input, --input-shape 3,224,224 without the batch axis, in Python example_input=..."
        )

    def shape(declared: Declared) -> tuple[int, ...]:
        lengths = (length if isinstance(length, int) else 1 for length in declared.shape or ())
        return affordable(tuple(lengths), f"'{path}': input '{declared.name}'")

    return tuple(torch.zeros(shape(declared), dtype=declared.dtype) for declared in inputs)
