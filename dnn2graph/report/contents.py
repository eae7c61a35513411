"""What a report says: everything measured, as tables, sentences and figures, before any of it is HTML."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from ..export.zeros import zero_weights
from ..graph import NeuralGraph
from ..measures import layer_table, link_weights, node_table, strength
from ..measures.link_weights import edge_weights
from ..nulls import significance
from ..plot.style import DISTINCT
from ..profile import Profile, profile
from ..progress import Progress
from ..sparsify import SparseGraph, sparsify
from . import figures
from .figures import Picture
from .findings import Finding, findings, findings_table, saturated_layers

if TYPE_CHECKING:
    import pandas as pd

    from ..activity import Activity

BINS = (6, 60)  # of a histogram of weights, at least and at most
SPARK_BINS = 24  # of one in a row of a table
MOST_MEASURED = 500_000  # edges up to which a profile is of the whole graph, not of its backbone
SHOWN_COMMUNITIES = len(DISTINCT) - 1
MOST_NODES = 50_000  # rows of tables of nodes: a browser holds no more with ease
STEPS, PARTS = 3, 1  # that progress counts, besides null models: findings, backbone, figures; and the profile


@dataclass(frozen=True)
class Question:
    """How a network compares with one kind of null model."""

    kind: str
    sentences: list[str]
    notes: tuple[str, ...]


@dataclass
class Contents:
    """What a report says."""

    title: str
    graph: NeuralGraph
    facts: dict[str, Any] = field(default_factory=dict)
    strength: np.ndarray = field(default_factory=lambda: np.zeros(0))  # of every node
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)
    found: tuple[Finding, ...] = ()
    saturated: list[tuple[str, float]] = field(default_factory=list)
    profile: Profile | None = None
    measured: NeuralGraph | None = None  # that the profile is of
    backbone: SparseGraph | None = None
    questions: list[Question] = field(default_factory=list)
    activity: Activity | None = None


def contents(
    graph: NeuralGraph,
    title: str,
    about: Mapping[str, Any],
    *,
    activity: Activity | None,
    kinds: Collection[str] | None,
    measures: Collection[str] | str | None,
    nulls: int,
    null_models: Sequence[str],
    max_edges: int,
    seed: int,
    jobs: int | None,
    progress: Progress | None,
) -> Contents:
    """Measure everything that a report says."""
    made = Contents(title, graph, activity=activity)
    asked = null_models if nulls else ()
    count = Steps(progress, STEPS, PARTS + len(asked))
    made.found = findings(graph, activity, kinds=kinds)
    made.tables["findings"] = findings_table(graph, made.found)
    made.facts = _facts(graph, kinds) | dict(about)
    made.tables["facts"] = _table_of(made.facts, "fact")
    made.tables["layers"] = layer_table(graph, kinds)
    made.tables["nodes"] = _nodes(graph, kinds)
    made.strength = made.tables["nodes"]["strength"].to_numpy()
    made.tables["links"] = link_weights(graph, kinds)
    made.tables["weights"] = histograms(graph, kinds)
    if activity is not None:
        made.tables["activity"] = activity.layer_table()
        made.tables["activity_nodes"] = activity.table()
        made.saturated = list(saturated_layers(graph, activity))
    count.step()
    _measure(made, kinds, measures, seed, count.part())
    _find_backbone(made, kinds, max_edges)
    count.step()
    _draw(made, kinds)
    count.step()
    _compare(made, kinds, nulls, asked, seed, jobs, count)
    _shorten(made)
    return made


def _shorten(made: Contents) -> None:
    """Of a large graph keep only the strongest nodes in the tables of nodes."""
    nodes = made.tables["nodes"]
    kept = np.sort(np.argsort(-nodes["strength_abs"].to_numpy(), kind="stable")[:MOST_NODES])
    made.tables["nodes"] = nodes.iloc[kept].reset_index()
    for name in ("profile_nodes", "activity_nodes"):
        if name in made.tables:
            made.tables[name] = made.tables[name].iloc[kept].reset_index(drop=name == "profile_nodes")


class Steps:
    """Progress over some single steps, and parts that tell their own."""

    def __init__(self, progress: Progress | None, single: int, parts: int) -> None:
        self.progress, self.done, self.total = progress, 0, 100 * single + 1000 * parts

    def step(self) -> None:
        """One of the single steps is done."""
        self._move(100)

    def part(self) -> Progress:
        """Give one of the parts what it calls."""
        begin = self.done

        def tell(done: int, total: int) -> None:
            self._move(begin + 1000 * done // max(1, total) - self.done)

        return tell

    def _move(self, by: int) -> None:
        self.done += by
        if self.progress:
            self.progress(self.done, self.total)


def histograms(graph: NeuralGraph, kinds: Collection[str] | None = None) -> pd.DataFrame:
    """Count how the weights of each links are distributed, over the edges of the unrolled graph.

    The number of bins is the square root of the number of weights, within limits.

    Returns
    -------
    DataFrame
        Columns ``links`` (index in ``graph.links``), ``source``, ``target``, ``kind``, ``low``, ``high`` (ends of a
        bin; the last one's belongs to it) and ``edges``. Links whose weights are all the same have one bin.
    """
    import pandas as pd

    rows = []
    for links in graph.select(kinds):
        low, high, entries = np.inf, -np.inf, 0
        for values, edges in edge_weights(links):
            present = values[(values != 0) & np.broadcast_to(edges > 0, values.shape)]
            entries += present.size
            low, high = min(low, float(present.min(initial=np.inf))), max(high, float(present.max(initial=-np.inf)))
        if low > high:
            continue
        bins = min(BINS[1], max(BINS[0], isqrt(entries)))
        borders = np.linspace(low, high, bins + 1) if high > low else np.array([low, high])
        counts = np.zeros(len(borders) - 1)
        for values, edges in edge_weights(links):
            flat = values.reshape(-1).astype(np.float64)
            many = np.broadcast_to(edges, values.shape).reshape(-1) * (flat != 0).astype(np.float64)
            counts += np.histogram(flat, borders, weights=many)[0] if high > low else many.sum()
        identity = {
            "links": graph.links.index(links),
            "source": ", ".join(layer.name for layer in links.sources),
            "target": links.target.name if links.target else "",
            "kind": links.kind,
        }
        rows.append(
            pd.DataFrame({**identity, "low": borders[:-1], "high": borders[1:], "edges": counts.astype(np.int64)})
        )
    columns = ["links", "source", "target", "kind", "low", "high", "edges"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def _facts(graph: NeuralGraph, kinds: Collection[str] | None) -> dict[str, Any]:
    """Say what the graph is, and how it was traced."""
    names = graph.parameters()
    facts: dict[str, Any] = {
        "layers": len(graph.layers),
        "nodes": len(graph),
        "edges": graph.number_of_edges(kinds),
        "parameters": sum(graph.weights[name].numel() for name in names),
        "weights of exactly zero, which are no edges": zero_weights(graph, kinds),
    }
    counts: dict[str, int] = {}
    for links in graph.select(kinds):
        counts[links.kind] = counts.get(links.kind, 0) + links.nnz
    if len(counts) > 1:
        facts |= {f"edges of kind {kind}": count for kind, count in counts.items()}
    facts |= {
        "inputs": ", ".join(f"{layer.name} ({'×'.join(map(str, layer.shape))})" for layer in graph.inputs),
        "granularity": graph.granularity,
        "precision": str(graph.dtype).removeprefix("torch."),
    }
    if graph.granularity == "channel":
        facts["a kernel's taps make an edge's weight by"] = graph.aggregate
    words = {
        "shared": lambda value: ("modules that are called again", f"{value}ed"),
        "simplify": lambda value: ("chains of operations contracted", "yes" if value else "no"),
        "fold_norm": lambda value: ("batch-norm scales folded into weights", "yes" if value else "no"),
    }
    for name, word in words.items():
        if name in graph.options:
            title, value = word(graph.options[name])
            facts[title] = value
    if kinds is not None:
        facts["kinds of links that count"] = ", ".join(sorted(kinds))
    return facts


def _table_of(values: Mapping[str, Any], name: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: list(values), "value": [str(value) for value in values.values()]})


def _nodes(graph: NeuralGraph, kinds: Collection[str] | None) -> pd.DataFrame:
    """Describe every node by what comes from the weights without unrolling."""
    table = node_table(graph, kinds)
    table["strength_abs"] = strength(graph, weight="abs", kinds=kinds)
    into, out_of = np.zeros(len(graph)), np.zeros(len(graph))
    for links in graph.select(kinds):
        links.add_strengths(into, out_of, "nonzero")
    table["degree_in"], table["degree_out"] = into.astype(np.int64), out_of.astype(np.int64)
    return table


def _measure(
    made: Contents,
    kinds: Collection[str] | None,
    measures: Collection[str] | str | None,
    seed: int,
    progress: Progress,
) -> None:
    """Profile the graph; of one that is too big, its strongest part."""
    graph = made.graph
    edges = graph.number_of_edges(kinds)
    made.measured = graph if edges <= MOST_MEASURED else sparsify(graph, MOST_MEASURED, kinds=kinds)
    made.profile = found = profile(
        made.measured, measures, kinds=kinds, seed=seed, progress=progress
    )
    made.tables |= {
        "measures": found.measures.drop(columns="seconds"),
        "profile": found.graph.reset_index(),
        "profile_nodes": found.nodes.reset_index(),
        "profile_layers": found.layers,
        "profile_links": found.links,
    }
    if "leiden" in found.nodes and found.nodes["leiden"].notna().all():
        made.tables["communities"] = _communities(found.nodes, "leiden")


def _communities(nodes: pd.DataFrame, column: str) -> pd.DataFrame:
    """Describe the communities that have more than one node."""
    rows = []
    for number, members in nodes.groupby(column, sort=True):
        if len(members) < 2:
            continue
        layers = members["layer"].value_counts(sort=False)
        row: dict[str, Any] = {"community": int(number), "nodes": len(members), "share": len(members) / len(nodes)}
        row["layers"] = len(layers)
        row["most_in"] = f"{layers.idxmax()} ({layers.max():,})"
        if "strength_abs" in members:
            row["strongest"] = members.loc[members["strength_abs"].idxmax(), "label"]
        rows.append(row)
    import pandas as pd

    return pd.DataFrame(rows, columns=["community", "nodes", "share", "layers", "most_in", "strongest"]).dropna(axis=1)


def _find_backbone(made: Contents, kinds: Collection[str] | None, edges: int) -> None:
    made.backbone = sparse = sparsify(made.graph, edges, "disparity", kinds=kinds)
    assert sparse.receipt is not None
    made.tables["backbone"] = sparse.receipt.to_frame()
    listed = [(links, links.coo()) for links in sparse.links]
    labels = made.tables["nodes"]["label"].to_numpy()
    import pandas as pd

    columns = ["source", "target", "weight", "kind"]
    parts = [
        pd.DataFrame(
            {
                "source": labels[block.sources],
                "target": labels[block.targets],
                "weight": block.weights,
                "kind": links.kind,
            }
        )
        for links, block in listed
        if len(block.weights)
    ]
    made.tables["backbone_edges"] = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _draw(made: Contents, kinds: Collection[str] | None) -> None:
    made.pictures["strengths"] = figures.strengths(made.graph, kinds)
    if len(made.tables["weights"]):
        made.pictures["weights"] = figures.weights(made.tables["weights"])
    assert made.backbone is not None
    made.pictures["backbone"] = figures.backbone(made.backbone)
    if "communities" in made.tables:
        assert made.profile is not None
        community = made.profile.nodes["leiden"].to_numpy(np.int64)
        made.pictures["communities"] = figures.communities(made.graph, community, SHOWN_COMMUNITIES)


def _compare(
    made: Contents,
    kinds: Collection[str] | None,
    nulls: int,
    null_models: Sequence[str],
    seed: int,
    jobs: int | None,
    count: Steps,
) -> None:
    """Compare the fluctuations of layers with null models."""
    import pandas as pd

    tables = []
    for kind in null_models:
        found = significance(
            made.graph, "fluctuation", kind, nulls, seed=seed, kinds=kinds, jobs=jobs, progress=count.part()
        )
        made.questions.append(Question(kind, found.sentences(), found.notes))
        table = found.table.copy()
        table.insert(0, "null_model", kind)
        tables.append(table)
    if tables:
        made.tables["significance"] = pd.concat(tables, ignore_index=True)
