"""One page that tells a person everything about a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..graph import NeuralGraph
from ..nulls import KINDS
from ..plot.page.template import check_page_path, filled, resource, write_page
from ..progress import Progress
from .contents import contents
from .sections import sections, summary
from .tables import packed

if TYPE_CHECKING:
    from ..activity import Activity

NULLS, MAX_EDGES = 999, 1500
NULL_MODELS = ("weight-shuffle", "in-weight-shuffle")


def report(
    graph: NeuralGraph,
    path: str | Path,
    title: str | None = None,
    *,
    activity: Activity | None = None,
    about: Mapping[str, Any] | None = None,
    kinds: Collection[str] | None = None,
    measures: Collection[str] | str | None = None,
    nulls: int = NULLS,
    null_models: Sequence[str] = NULL_MODELS,
    max_edges: int = MAX_EDGES,
    seed: int = 0,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> None:
    """Write a report on a network; the file appears at its path only when it is complete.

    One page, which loads nothing from anywhere: what the network is, what is odd about it, its layers, the strengths of
    its nodes and the weights of its edges, its backbone, what of it is more than chance, the standard measures of
    network science, and its communities. Every number can be saved as CSV. The same graph and options always give the
    same page.

    Parameters
    ----------
    graph : NeuralGraph
    path : str or Path
        Ends in ``.html``.
    title : str, optional
        Default: the name of the file.
    activity : Activity, optional
        Of :func:`dnn2graph.activity.activations`: then the report also tells of dead and saturated neurons.
    about : mapping of str to value, optional
        Further facts to be told of the network, such as ``{"accuracy on the test set": "92.8 %"}``.
    kinds : collection of str, optional
        Kinds of links that count; default all.
    measures : str or collection of str, optional
        Of :func:`dnn2graph.profile.profile`; default the default ones. Of a graph of more than half a million edges the
        strongest are measured.
    nulls : int
        Number of graphs that are drawn from each null model; 0 leaves the comparison out.
    null_models : sequence of str
        Kinds of :func:`dnn2graph.nulls.null_model`.
    max_edges : int
        Of the backbone.
    seed : int
        Of everything random.
    jobs : int, optional
        Processes that draw and measure null models; the page does not depend on it.
    progress : callable, optional
        Called with how much is done, and of how much.

    Raises
    ------
    ExportError
        If the name has another ending, or the file cannot be written.
    InputError
        If matplotlib is not installed, or an option is unknown or out of range.
    WeightsError
        If weights are NaN or infinite.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.report import report
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> graph = dg.from_torch(model, torch.zeros(1, 4))
    >>> report(graph, "report.html", nulls=99)  # doctest: +SKIP
    """
    path = Path(path)
    check_page_path(path)
    check_options(nulls, null_models, max_edges)
    made = contents(
        graph,
        path.stem if title is None else title,
        about or {},
        activity=activity,
        kinds=kinds,
        measures=measures,
        nulls=nulls,
        null_models=tuple(null_models),
        max_edges=max_edges,
        seed=seed,
        jobs=jobs,
        progress=progress,
    )
    written = sections(made)
    parts = {
        "title": escape(made.title),
        "summary": escape(summary(made)),
        "name": escape(path.stem, quote=True),
        "links": "\n".join(f'<li><a href="#{each.identity}">{escape(each.title)}</a></li>' for each in written),
        "sections": "\n".join(
            f'<section id="{each.identity}" aria-labelledby="{each.identity}-title">'
            f'<h2 id="{each.identity}-title">{escape(each.title)}</h2>\n{each.html}\n</section>'
            for each in written
        ),
    }
    package = __package__ or ""
    write_page(
        path,
        made.title,
        filled(resource("report.html", package), parts),
        style=resource("report.css", package),
        data={"tables": {name: packed(table) for name, table in made.tables.items()}},
        scripts=[resource("report.js", package)],
    )


def check_options(nulls: int, null_models: Sequence[str], max_edges: int) -> None:
    """Raise InputError if an option is out of range: to be asked before long work."""
    if nulls < 0:
        raise InputError(f"nulls={nulls} must not be negative: 0 leaves null models out")
    if unknown := [each for each in null_models if each not in KINDS]:
        raise InputError(f"unknown null model {unknown[0]!r}: choose from {', '.join(KINDS)}")
    if max_edges < 1:
        raise InputError(f"max_edges={max_edges} must be 1 or more: it is what the backbone keeps")
