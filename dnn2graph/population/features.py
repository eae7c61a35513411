"""Summary features of each network of a population: what one layer's values look like, in a dozen numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = {"q01": 0.01, "q05": 0.05, "q95": 0.95, "q99": 0.99}
FEATURES = ("mean", "std", "skewness", "kurtosis", *QUANTILES, "min", "max", "spread")
BLOCK = 1 << 21  # values at a time


def summary_features(values: np.ndarray, prefix: str) -> pd.DataFrame:
    """Describe each member's values, such as the strengths of a layer's nodes or the weights of its links.

    Parameters
    ----------
    values : array (members, nodes)
    prefix : str
        Goes before the names of the features, such as ``"strength:hidden:"``.

    Returns
    -------
    DataFrame (members, 11)
        With the prefix before each name: ``mean``, ``std`` (population; of strengths, the layer's fluctuation),
        ``skewness``, ``kurtosis`` (excess), the quantiles ``q01``, ``q05``, ``q95``, ``q99`` (linear interpolation,
        numpy's default), ``min``, ``max``, and ``spread``, which is ``q99 - q01``. Skewness and kurtosis of equal
        values, or of one, are NaN; all features are NaN for a member with values that are NaN or infinite.

    Raises
    ------
    InputError
        If the values are not a table, or it has no nodes.

    Examples
    --------
    >>> summary_features(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 6.0]]), "strength_").iloc[:, :3].round(3)
       strength_mean  strength_std  strength_skewness
    0            2.0         0.816              0.000
    1            2.0         2.828              0.707
    """
    import pandas as pd

    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"values of shape {values.shape} must be (members, nodes), with at least one node")
    table = np.full((len(values), len(FEATURES)), np.nan)
    size = max(1, BLOCK // values.shape[1])
    for begin in range(0, len(values), size):
        block = values[begin : begin + size].astype(np.float64)
        finite = np.isfinite(block).all(axis=1)
        if finite.any():
            table[begin : begin + size][finite] = _describe(block[finite])
    return pd.DataFrame(table, columns=[f"{prefix}{feature}" for feature in FEATURES])


def _describe(values: np.ndarray) -> np.ndarray:
    """Features (members, 11) of finite values (members, nodes)."""
    mean = values.mean(axis=1)
    off = values - mean[:, None]
    square = off * off
    second, third, fourth = square.mean(axis=1), (square * off).mean(axis=1), (square * square).mean(axis=1)
    varies = second > (np.finfo(np.float64).eps * np.abs(mean)) ** 2  # else all are equal up to rounding
    scale = np.where(varies, second, np.nan)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=1)
    columns = [mean, np.sqrt(second), third / scale**1.5, fourth / scale**2 - 3, *quantiles]
    return np.stack([*columns, values.min(axis=1), values.max(axis=1), quantiles[-1] - quantiles[0]], axis=1)
