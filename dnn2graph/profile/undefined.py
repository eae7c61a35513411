"""How a measure answers where it is undefined: with NaN, and why."""

from __future__ import annotations

import numpy as np

from .measure import Columns
from .view import View


def undefined(view: View, why: str, names: tuple[str, ...], length: int | None = None) -> Columns:
    """Note why, and give NaN for each column: arrays of a length, or numbers."""
    view.note(why)
    return {name: float("nan") if length is None else np.full(length, np.nan) for name in names}
