"""The standard measures of complex-network theory, of a trained network: one table per node, layer, links, graph."""

from __future__ import annotations

from collections.abc import Collection
from time import perf_counter

from ..graph import NeuralGraph
from ..progress import Progress
from .measure import MEASURES, Measure, chosen, measure
from .result import Profile, assemble
from .view import Unrolled, View

# The modules that define measures; a profile has them in this order.
from . import degrees  # noqa: F401  # isort: skip
from . import centrality, cores, clustering, mixing  # noqa: F401  # isort: skip
from . import communities, motifs, paths, flow, percolation, spectrum, tails  # noqa: F401  # isort: skip

__all__ = ["MEASURES", "Measure", "Profile", "View", "measure", "profile"]


def profile(
    graph: NeuralGraph,
    measures: Collection[str] | str | None = None,
    *,
    kinds: Collection[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
    memory: float | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Measure the graph as network science does: hubs, clustering, cores, mixing, shortest paths and more.

    Each measure is given the weights that it is defined on, and no others: 1, w, the absolute value of w, or, as the
    length of an edge, one over that. None that is undefined on negative weights ever receives one. :data:`MEASURES`
    has them all, each with its definition, its weights and its source.

    Parameters
    ----------
    graph : NeuralGraph
        It is unrolled once, in float64; links between the same two nodes become one edge, whose weight is their sum.
    measures : str or collection of str, optional
        Names of measures, or of groups of them ("degrees", "centrality", …). Default all that are marked as default
        and whose packages are installed.
    kinds : collection of str, optional
        Kinds of links that count; default all.
    sample : int, optional
        From how many nodes, drawn at random, shortest paths start. Values that are estimated so have a column
        ``_error`` beside them: with 95 % probability no node's is off by more. Default all nodes, and a sample where
        that would take more than about ten seconds.
    seed : int
        Of everything random.
    memory : float, optional
        How many bytes it may take; default half of what is free.
    progress : callable, optional
        Called with how many measures are done, and of how many.

    Returns
    -------
    Profile
        Tables ``nodes``, ``layers``, ``links`` and ``measures``, and the Series ``graph``. What is undefined is NaN,
        and the column ``note`` of ``measures`` says why.

    Raises
    ------
    InputError
        If a measure, a kind or an option is unknown, or a measure that is named needs a package that is not installed.
    MemoryBudgetError
        Before anything is unrolled, if the graph is too big: trace it with ``granularity="channel"``, or measure a
        backbone of it, which :func:`dnn2graph.sparsify` makes.
    WeightsError
        If weights are NaN or infinite.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.profile import profile
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False))
    >>> _ = torch.nn.init.constant_(model[0].weight, -0.5)
    >>> found = profile(dg.from_torch(model, torch.zeros(1, 2)), ["strength_abs", "betweenness", "reciprocity"])
    >>> found
    Profile(3 measures of 3 nodes, 2 layers, 1 links: strength_abs, betweenness, reciprocity)
    >>> found.nodes[["label", "strength_abs"]]
             label  strength_abs
    node
    0     input[0]           0.5
    1     input[1]           0.5
    2         0[0]           1.0
    >>> float(found.graph["reciprocity"])
    0.0
    """
    selected = chosen(measures)
    unrolled = Unrolled(graph, kinds, sample=sample, seed=seed, memory=memory)
    found = []
    for number, each in enumerate(selected):
        view = View(unrolled, each.weight, each.name)
        begin = perf_counter()
        columns = each.compute(view) if each.is_available else {}
        if not each.is_available:
            view.note(f"left out: it needs the package {each.extra!r} (pip install {each.extra})")
        found.append((each, columns, perf_counter() - begin, view.notes))
        if progress:
            progress(number + 1, len(selected))
    return assemble(graph, found)
