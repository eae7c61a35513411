"""Is a measure of a network more than chance? The network against graphs drawn from a null model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import InputError
from ..graph import NeuralGraph
from ..measures.strength import strength
from ..population.parallel import each
from ..population.workers import one_thread
from ..progress import Progress
from .comparison import UNCHANGED, check_options, compare, corrected
from .measuring import Asked, Measuring, Row, measuring
from .models import KINDS, as_drawn, check, draw, kinds_of, unchanged

if TYPE_CHECKING:
    import pandas as pd

CHUNKS = 16  # of nulls for each process: so often progress is reported, and a graph is sent to a process
ROUNDING = {torch.float64: 1e-9}  # relative; sums in another order differ by no more
SINGLE_ROUNDING = 1e-6
SUMS = ("strength", "strength_in", "strength_out", "fluctuation")  # of signed weights, which may cancel
LEVEL = 0.05  # of significance, where words need one


@dataclass(frozen=True, eq=False)
class Significance:
    """How far a network is from its null models.

    Attributes
    ----------
    table : DataFrame
        One row per number compared: ``measure``; ``level`` ("graph", "layer" or "links") and ``place`` (name of the
        layer, ends of the links); ``observed``; ``null_mean``, ``null_std`` (ddof=1) and ``null_low``, ``null_high``
        (quantiles, 2.5 % and 97.5 %) of the nulls; ``z``; ``pvalue``, with the Clopper–Pearson interval
        ``pvalue_low``, ``pvalue_high`` (95 %) of the chance that a null is as extreme; ``pvalue_corrected``; ``note``.
    nulls : float64 array (n, rows)
        The number of each null; that of row k is of ``null_model(graph, kind, (seed, k))``.
    kind : str
        Of the null model.
    seed : int
    correction : str or None
    alternative : str
    notes : tuple of str
        What a reader must know of the whole table.
    """

    table: pd.DataFrame
    nulls: np.ndarray
    kind: str
    seed: int
    correction: str | None
    alternative: str
    notes: tuple[str, ...] = ()
    ends: dict[str, str] = field(default_factory=dict, repr=False)  # which layers are input and output

    @property
    def n(self) -> int:
        """Number of nulls."""
        return len(self.nulls)

    @property
    def resolution(self) -> float:
        """The smallest p-value that so many nulls can give, ``1 / (n + 1)``, before correction."""
        return 1 / (self.n + 1)

    def sentences(self) -> list[str]:
        """Say each row in words.

        Returns
        -------
        list of str
            Such as "fluctuation of output layer '2' is 6.1 σ above weight-shuffled nulls, p ≤ 0.001". The p-value is
            the corrected one; "≤" stands where no null was as extreme, and more nulls might give a smaller one.
        """
        return [self._sentence(row) for row in self.table.to_dict("records")]

    def _sentence(self, row: dict[str, Any]) -> str:
        place = self.ends.get(row["place"], "") + f"{row['level']} {row['place']!r}"
        what = row["measure"] if row["level"] == "graph" else f"{row['measure']} of {place}"
        nulls = f"{KINDS[self.kind].adjective} nulls"
        if row["note"] == UNCHANGED:
            return f"{what} is the same in {nulls}, which keep it: {_number(row['observed'])}"
        if np.isnan(row["pvalue"]):
            return f"{what} cannot be compared with {nulls}: {row['note']}"
        if np.isnan(row["z"]):
            side = "above" if row["observed"] > row["null_mean"] else "below"
            distance = f"{_number(row['observed'])}, {side} {nulls}, which all have {_number(row['null_mean'])}"
        else:
            distance = f"{abs(row['z']):.1f} σ {'above' if row['z'] > 0 else 'below'} {nulls}"
        smallest = row["pvalue"] <= self.resolution * (1 + 1e-9)  # no null was as extreme
        name = {None: "p", "holm": "p", "fdr": "q"}[self.correction]  # a false discovery rate is called q
        probability = f"{name} {'≤' if smallest else '='} {_rounded_up(row['pvalue_corrected'])}"
        verdict = ""
        if row["pvalue_corrected"] > LEVEL:
            verdict = ": too few nulls to tell" if smallest else ": within chance"
        return f"{what} is {distance}, {probability}{verdict}"

    def __str__(self) -> str:
        return "\n".join([*self.sentences(), *(f"note: {note}" for note in self.notes)])


def significance(
    graph: NeuralGraph,
    measure: Asked,
    kind: str,
    n: int = 999,
    *,
    seed: int = 0,
    kinds: Collection[str] | str | None = None,
    null_kinds: Sequence[str] | str = ("weight",),
    reduce: str = "mean",
    alternative: str = "two-sided",
    correction: str | None = "holm",
    jobs: int | None = 1,
    progress: Progress | None = None,
    **null_options: Any,
) -> Significance:
    """Compare measures of a network with those of graphs drawn from a null model.

    The p-value is ``(1 + number of nulls at least as extreme) / (n + 1)``: the share of such graphs among all, the
    network counted as one of them. It is exact if the network is one of them, and cannot be below ``1 / (n + 1)``.

    Parameters
    ----------
    graph : NeuralGraph
    measure : str, callable, or several of them
        Names of measures that come from the weights alone: "fluctuation", "strength", "strength_in", "strength_out",
        "strength_abs", "link_weights"; or of a profile's (:data:`dnn2graph.profile.MEASURES`), for which every null is
        unrolled. "fluctuation of layer conv1" is that of one layer. A function of a graph returns a number, or a
        mapping (or Series) from name to number.
    kind : str
        Of the null model; see :func:`.null_model`.
    n : int
        Number of nulls.
    seed : int
        Null number k is ``null_model(graph, kind, (seed, k))``.
    kinds : collection of str, optional
        Kinds of links that count in named measures; default all.
    null_kinds : sequence of str
        Kinds of links that the null model draws: ``kinds`` of :func:`.null_model`.
    reduce : {"mean", "std", "min", "max"}
        What makes one number of a layer of a measure of nodes.
    alternative : {"two-sided", "greater", "less"}
        Which nulls are as extreme as the network: those at least as far from the mean of all, at least as large, or at
        most as large.
    correction : {"holm", "fdr"} or None
        For the number of rows: Holm's [1]_, of the chance of any false finding, or Benjamini and Hochberg's [2]_, of
        the share of false ones. What the null model keeps is not tested, and is not counted.
    jobs : int, optional
        Processes, as of :func:`dnn2graph.population.parallel.each`. The result does not depend on it: every null has
        its own random numbers, and is measured in one thread.
    progress : callable, optional
        Called with the number of nulls done, and of all.
    **null_options
        ``model``, ``initialisation``, ``support``: as of :func:`.null_model`.

    Returns
    -------
    Significance
        A measure that the null model keeps, up to rounding, is "unchanged": z is NaN and p is 1. If the nulls all have
        the same other value, z is NaN too.

    Raises
    ------
    InputError
        If an option or a measure is unknown, or nothing can be drawn.
    WeightsError
        If weights are NaN or infinite; the message names the layer.

    References
    ----------
    .. [1] S. Holm 1979, "A simple sequentially rejective multiple test procedure".
    .. [2] Benjamini, Hochberg 1995, "Controlling the false discovery rate".
    .. [3] Phipson, Smyth 2010, "Permutation P-values should never be zero".

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.nulls import significance
    >>> layer = torch.nn.Linear(20, 2, bias=False)
    >>> layer.weight.data = torch.stack([torch.linspace(0, 1, 20), torch.linspace(1, 2, 20)])
    >>> graph = dg.from_torch(torch.nn.Sequential(layer), torch.zeros(1, 20))
    >>> print(significance(graph, "fluctuation of layer 0", "weight-shuffle", n=99))
    fluctuation of output layer '0' is ... σ above weight-shuffled nulls, p ≤ 0.01
    >>> print(significance(graph, "strength_in of 0", "weight-shuffle", n=99))
    mean strength_in of output layer '0' is the same in weight-shuffled nulls, which keep it: 20
    """
    import pandas as pd

    if isinstance(n, bool) or n != int(n) or n < 1:
        raise InputError(f"n={n!r} must be a number of nulls, 1 or more")
    check_options(alternative, correction)
    measure_graph, drawn_kinds = measuring(measure, kinds, reduce), kinds_of(null_kinds)
    check(graph, kind, drawn_kinds, **null_options)
    with one_thread():
        observed = measure_graph(graph)
    if not observed:
        raise InputError("the measures gave no numbers to compare: choose others")
    task = partial(_measure_nulls, graph, kind, seed, drawn_kinds, null_options, measure_graph, tuple(observed))
    nulls = _in_chunks(task, n, len(observed), jobs, progress)
    tolerances = _tolerances(graph, list(observed), np.array([*observed.values()]), nulls, measure_graph)
    compared = [
        compare(value, nulls[:, place], alternative, tolerances[place]) for place, value in enumerate(observed.values())
    ]
    table = pd.DataFrame([{**row._asdict(), **found._asdict()} for row, found in zip(observed, compared, strict=True)])
    tested = table["pvalue"].mask(table["note"] == UNCHANGED)
    after = pd.Series(corrected(tested.to_numpy(np.float64), correction), table.index)
    table.insert(table.columns.get_loc("note"), "pvalue_corrected", after.mask(table["note"] == UNCHANGED, 1.0))
    first = draw(graph, kind, (seed, 0), drawn_kinds, **null_options)
    notes = _notes(unchanged(graph, first), kind, int(tested.notna().sum()), n, correction)
    return Significance(table, nulls, kind, seed, correction, alternative, notes, _ends(graph))


def _measure_nulls(
    graph: NeuralGraph,
    kind: str,
    seed: int,
    kinds: tuple[str, ...],
    options: dict[str, Any],
    measure: Measuring,
    rows: tuple[Row, ...],
    numbers: range,
) -> np.ndarray:
    """Draw and measure some nulls: (nulls, rows)."""
    found = np.empty((len(numbers), len(rows)))
    with one_thread():
        for place, number in enumerate(numbers):
            null = draw(graph, kind, (seed, number), kinds, **options)
            values = measure(null if kind == "initialisation" else as_drawn(null, kinds))
            found[place] = [values.get(row, np.nan) for row in rows]
    return found


def _in_chunks(task: Any, n: int, rows: int, jobs: int | None, progress: Progress | None) -> np.ndarray:
    """Measure n nulls, some at a time: a graph is sent to a process once for each chunk."""
    if jobs == 0:
        raise InputError("jobs=0 would measure nothing: give a number of processes, or -1 for one on each core")
    import joblib

    processes = 1 if jobs == 1 else max(2, joblib.effective_n_jobs(jobs))
    size = 1 if jobs == 1 else max(1, ceil(n / (CHUNKS * processes)))
    chunks = [range(begin, min(begin + size, n)) for begin in range(0, n, size)]
    found, done = np.empty((n, rows)), 0
    for number, values in each(task, chunks, jobs):
        found[chunks[number].start : chunks[number].stop] = values
        done += len(values)
        if progress:
            progress(done, n)
    return found


def _tolerances(
    graph: NeuralGraph, rows: Sequence[Row], observed: np.ndarray, nulls: np.ndarray, measure: Measuring
) -> np.ndarray:
    """How much rounding may change each number: of sums of weights, relative to the largest sum of absolute weights."""
    with np.errstate(invalid="ignore"):
        size = np.nanmax(np.abs(np.vstack([observed, nulls])), axis=0, initial=0.0)
    of_sums = np.array([row.measure.endswith(SUMS) for row in rows])
    if of_sums.any():
        largest = float(strength(graph, weight="abs", kinds=measure.kinds).max(initial=0))
        size = np.where(of_sums, np.maximum(size, largest), size)
    return np.where(np.isfinite(size), size, 0.0) * ROUNDING.get(graph.dtype, SINGLE_ROUNDING)


def _notes(same: list[str], kind: str, tests: int, n: int, correction: str | None) -> tuple[str, ...]:
    notes = []
    if same and kind != "initialisation":
        names = ", ".join(map(repr, same))
        notes.append(f"links to {names} are the same in the nulls: nothing in them can change places")
    if correction == "holm" and tests / (n + 1) > LEVEL:
        needed = ceil(tests / LEVEL) - 1
        notes.append(
            f"{n} nulls cannot show that one of {tests} measures is significant at {LEVEL}, corrected: give n of "
            f"{needed} or more, or fewer measures"
        )
    return tuple(notes)


def _ends(graph: NeuralGraph) -> dict[str, str]:
    """Say which layers are the network's inputs and outputs."""
    from ..sparsify.reach import output_nodes

    ends = {layer.name: "input " for layer in graph.inputs}
    returned = set(graph.layer_of()[output_nodes(graph)].tolist())
    return ends | {graph.layers[index].name: "output " for index in returned}


def _number(value: float) -> str:
    return f"{value:.4g}"


def _rounded_up(value: float) -> str:
    """Two digits, never less than the value: what is said of a p-value must hold."""
    if value >= 1:
        return "1"
    digits = 1 - floor(log10(value))
    return f"{ceil(round(value * 10**digits, 6)) / 10**digits:.2g}"
