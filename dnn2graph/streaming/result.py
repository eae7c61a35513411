"""What is known of the tensors of a file: numbers for each, and tables of all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..measures.moments import Moments
from .tensors import StoredTensor

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("row", "column")
STATISTICS = ("mean", "std", "skewness", "kurtosis", "min", "max", "l1", "l2")
COLUMNS = (
    *("tensor", "dtype", "shape", "count", "zeros", "nan", "infinite", *STATISTICS),
    *("row_fluctuation", "column_fluctuation"),
)


@dataclass(frozen=True)
class Faults:
    """How many weights are NaN or infinite, and the place of the first in the flattened tensor."""

    nan: int = 0
    infinite: int = 0
    first: int | None = None

    def __bool__(self) -> bool:
        return self.first is not None


def look_for_faults(weights: Iterable[np.ndarray]) -> tuple[Faults, int]:
    """Count what is NaN, infinite, and zero in arrays of numbers."""
    nan = infinite = zeros = place = 0
    first = None
    for values in weights:
        values = values.reshape(-1)
        wrong = ~np.isfinite(values)
        if wrong.any():
            first = place + int(wrong.argmax()) if first is None else first
            nan += int(np.isnan(values).sum())
            infinite += int(np.isinf(values).sum())
        zeros += len(values) - int(np.count_nonzero(values))
        place += len(values)
    return Faults(nan, infinite, first), zeros


@dataclass(frozen=True, eq=False)
class MeasuredTensor:
    """One tensor of a file.

    Attributes
    ----------
    stored : StoredTensor
        Name, type, shape and place.
    moments : Moments
        Of the weights that are not zero, as of :func:`dnn2graph.link_weights`; NaN if a weight is not finite.
    zeros : int
        Weights that are exactly zero.
    faults : Faults
        Weights that are NaN or infinite.
    rows, columns : float64 arrays (out,) and (in,)
        Sums over all other axes; empty for a tensor of fewer than two axes.
    """

    stored: StoredTensor
    moments: Moments
    zeros: int
    faults: Faults
    rows: np.ndarray = field(repr=False)
    columns: np.ndarray = field(repr=False)

    @property
    def name(self) -> str:
        """As the file has it."""
        return self.stored.name

    def row(self) -> dict[str, Any]:
        """Give the tensor's row of the table."""
        return {
            "tensor": self.name,
            "dtype": self.stored.format.name if self.stored.format else self.stored.dtype,
            "shape": "x".join(map(str, self.stored.shape)),
            "count": self.moments.count,
            "zeros": self.zeros,
            "nan": self.faults.nan,
            "infinite": self.faults.infinite,
            **{name: getattr(self.moments, name) for name in STATISTICS},
            "row_fluctuation": _spread(self.rows),
            "column_fluctuation": _spread(self.columns),
        }


def _spread(sums: np.ndarray) -> float:
    """Give the population standard deviation; NaN of nothing."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(sums.std()) if sums.size else float("nan")


@dataclass(frozen=True, eq=False)
class MeasuredFile:
    """The tensors of a file, or of a folder of shards.

    Attributes
    ----------
    tensors : tuple of MeasuredTensor
        In the order of the file.
    skipped : tuple of StoredTensor
        Those that hold no floating-point numbers of a known format: integers, Boolean values, packed numbers.
    """

    tensors: tuple[MeasuredTensor, ...]
    skipped: tuple[StoredTensor, ...]

    def __getitem__(self, name: str) -> MeasuredTensor:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        near = get_close_matches(name, [tensor.name for tensor in self.tensors])
        hint = f": did you mean {', '.join(map(repr, near))}?" if near else ""
        raise InputError(f"no tensor {name!r} was measured{hint}")

    def __iter__(self) -> Iterator[MeasuredTensor]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def table(self) -> pd.DataFrame:
        """One row per tensor.

        Returns
        -------
        DataFrame
            ``tensor``, ``dtype``, ``shape``; ``count`` (weights that are not zero), ``zeros``, ``nan``, ``infinite``;
            ``mean``, ``std``, ``skewness``, ``kurtosis``, ``min``, ``max``, ``l1``, ``l2`` of the weights that are not
            zero, as of :func:`dnn2graph.link_weights`; ``row_fluctuation`` and ``column_fluctuation``, the population
            standard deviations of the sums of rows and of columns.
        """
        import pandas as pd

        return pd.DataFrame([tensor.row() for tensor in self.tensors], columns=list(COLUMNS))

    def strengths(self) -> pd.DataFrame:
        """One row per tensor, side and index.

        Returns
        -------
        DataFrame
            ``tensor``, ``side`` ("row" or "column"), ``index``, ``strength``.
        """
        import pandas as pd

        parts = [
            (place, side, sums)
            for place, tensor in enumerate(self.tensors)
            for side, sums in enumerate((tensor.rows, tensor.columns))
        ]
        lengths = [len(sums) for _, _, sums in parts]
        names = [tensor.name for tensor in self.tensors]

        def repeated(places: list[int], categories: Iterable[str]) -> pd.Categorical:
            return pd.Categorical.from_codes(np.repeat(np.array(places, np.int32), lengths), list(categories))

        return pd.DataFrame(
            {
                "tensor": repeated([place for place, _, _ in parts], names),
                "side": repeated([side for _, side, _ in parts], SIDES),
                "index": np.concatenate([np.zeros(0, np.int64), *(np.arange(length) for length in lengths)]),
                "strength": np.concatenate([np.zeros(0), *(sums for _, _, sums in parts)]),
            }
        )
