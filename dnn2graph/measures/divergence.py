"""How far densities lie apart: Kullback–Leibler and Jensen–Shannon divergences on a common grid."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

KINDS = ("symmetric-kl", "jensen-shannon")


def kullback_leibler(p: np.ndarray, q: np.ndarray, step: float, *, log: bool = False) -> np.ndarray:
    """Kullback–Leibler divergence of q from p, in nats: ``KL(p | q) = ∫ p log(p / q) dx``.

    Parameters
    ----------
    p, q : arrays (..., points)
        Densities at the same evenly spaced points, as :func:`~dnn2graph.measures.density.densities_of` gives them;
        leading axes broadcast. They are taken as they are, not scaled to integrate to one on the grid.
    step : float
        Distance of the points.
    log : bool
        The arrays are natural logarithms of densities. Where supports are far apart this is the only right way: a
        Gaussian estimate is positive everywhere, but beyond 38 bandwidths float64 has only 0 for it, and the
        divergence of plain densities is infinite.

    Returns
    -------
    float64 array (...)
        Infinite where q is 0 and p is not; NaN where either has NaN.

    Raises
    ------
    InputError
        If the arrays do not have the same points, a density is negative, or the step is not positive.

    Examples
    --------
    >>> p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])
    >>> print(kullback_leibler(p, q, step=1.0).round(4), kullback_leibler(q, p, step=1.0))
    0.3466 inf
    """
    p, log_p, q, log_q = _both(p, q, step, log)
    with np.errstate(invalid="ignore"):
        return np.where(p == 0, 0.0, p * (log_p - log_q)).sum(axis=-1) * step


def symmetric_kullback_leibler(p: np.ndarray, q: np.ndarray, step: float, *, log: bool = False) -> np.ndarray:
    """Symmetric Kullback–Leibler divergence ``KL(p | q) + KL(q | p)``, in nats: the paper's measure.

    The paper's published code summed over the points without the factor ``step``; its numbers are those of ``step=1``.

    Parameters
    ----------
    p, q, step, log
        As of :func:`kullback_leibler`.

    Returns
    -------
    float64 array (...)
        Infinite where one density is 0 and the other is not; NaN where either has NaN.

    References
    ----------
    S. Kullback, R.A. Leibler 1951, "On Information and Sufficiency". La Malfa et al. 2021 (arXiv 2110.02628).

    Examples
    --------
    >>> p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    >>> print(symmetric_kullback_leibler(p, q, step=1.0).round(4))
    0.2747
    """
    return _symmetric(*_both(p, q, step, log)) * step


def jensen_shannon(p: np.ndarray, q: np.ndarray, step: float, *, log: bool = False) -> np.ndarray:
    """Jensen–Shannon divergence, in nats: ``(KL(p | m) + KL(q | m)) / 2`` with ``m = (p + q) / 2``.

    Parameters
    ----------
    p, q, step, log
        As of :func:`kullback_leibler`.

    Returns
    -------
    float64 array (...)
        From 0 to log 2 (densities without overlap) for densities that sum to ``1 / step``; finite for any. It is the
        divergence, not its square root, the distance. NaN where either density has NaN.

    References
    ----------
    J. Lin 1991, "Divergence measures based on the Shannon entropy".

    Examples
    --------
    >>> print(jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]), step=1.0).round(4))
    0.6931
    """
    return _jensen_shannon(*_both(p, q, step, log)) * step


def divergence_matrix(
    densities: np.ndarray, step: float, kind: str = "symmetric-kl", *, log: bool = False
) -> np.ndarray:
    """Divergences between all pairs of densities, such as those of accuracy bins.

    Parameters
    ----------
    densities : array (bins, points)
    step, log
        As of :func:`kullback_leibler`.
    kind : {"symmetric-kl", "jensen-shannon"}

    Returns
    -------
    float64 array (bins, bins)
        Symmetric, zero on the diagonal; rows and columns of bins without data (NaN densities) are NaN.

    Examples
    --------
    >>> divergence_matrix(np.array([[0.5, 0.5], [0.25, 0.75], [np.nan, np.nan]]), step=1.0).round(4)
    array([[0.    , 0.2747,    nan],
           [0.2747, 0.    ,    nan],
           [   nan,    nan,    nan]])
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r} is unknown: choose from {', '.join(KINDS)}")
    if np.ndim(densities) != 2:
        raise InputError(f"densities of shape {np.shape(densities)} must be (bins, points)")
    p, log_p, _, _ = _both(densities, densities, step, log)
    measure = _symmetric if kind == "symmetric-kl" else _jensen_shannon
    matrix = np.zeros((len(p), len(p)))
    for i in range(len(p)):
        rest = slice(i + 1, None)
        matrix[i, rest] = matrix[rest, i] = measure(p[i], log_p[i], p[rest], log_p[rest]) * step
    absent = np.isnan(p).any(axis=1)
    matrix[absent] = np.nan
    matrix[:, absent] = np.nan
    return matrix


def _both(
    p: np.ndarray, q: np.ndarray, step: float, log: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Check two densities, and give both and their logarithms."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    if p.ndim == 0 or q.ndim == 0 or p.shape[-1] != q.shape[-1]:
        raise InputError(f"densities of shapes {p.shape} and {q.shape} are not at the same points")
    if not 0 < step < np.inf:
        raise InputError(f"step={step} must be positive and finite: it is the distance of the points")
    if log:
        return np.exp(p), p, np.exp(q), q
    if (p < 0).any() or (q < 0).any():
        raise InputError("a density is negative: pass log=True if these are logarithms of densities")
    with np.errstate(divide="ignore"):
        return p, np.log(p), q, np.log(q)


def _symmetric(p: np.ndarray, log_p: np.ndarray, q: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Sum of ``p log(p/q) + q log(q/p)``, in the form whose terms cannot be negative."""
    with np.errstate(invalid="ignore"):
        return np.where(p == q, 0.0, (p - q) * (log_p - log_q)).sum(axis=-1)


def _jensen_shannon(p: np.ndarray, log_p: np.ndarray, q: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Sum of ``(p log(p/m) + q log(q/m)) / 2``; a term is negative by rounding only."""
    with np.errstate(invalid="ignore"):
        log_m = np.logaddexp(log_p, log_q) - np.log(2)
        terms = np.where(p == 0, 0.0, p * (log_p - log_m)) + np.where(q == 0, 0.0, q * (log_q - log_m))
    return np.where(p == q, 0.0, np.maximum(terms, 0.0)).sum(axis=-1) / 2
