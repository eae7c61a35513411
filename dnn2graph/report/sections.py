"""A report as HTML, section by section."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..nulls import KINDS
from ..nulls.significance import LEVEL
from ..plot.page.template import number, spark
from ..profile import Profile
from .contents import SHOWN_COMMUNITIES, SPARK_BINS, Contents
from .figures import Picture
from .findings import NOTES, PROBLEMS, Finding
from .tables import html_table

CARDS = ("parameters", "layers", "nodes", "edges")
MOST_LAYERS, HUBS, MOST_ROWS = 12, 10, 40  # that are shown
MOST_COUNTED = 1e12  # up to which counts have all digits
LEGIBLE = 0.65  # of its size, at which a figure can still be read
LAYER_COLUMNS = {
    "layer": "layer",
    "kind": "kind",
    "shape": "shape",
    "activation": "activation",
    "nodes": "nodes",
    "in_edges": "edges in",
    "fluctuation": "fluctuation",
    "strength_mean": "mean strength",
    "strength_min": "least",
    "strength_max": "largest",
}
HUB_COLUMNS = {
    "label": "node",
    "strength": "strength",
    "strength_abs": "absolute strength",
    "degree": "degree",
    "pagerank": "PageRank",
    "betweenness": "betweenness",
    "closeness_out": "closeness out",
    "s_core": "s-core",
    "leiden": "community",
}
SIGNIFICANCE = {
    "place": "layer",
    "observed": "observed",
    "null_mean": "mean of nulls",
    "null_std": "deviation of nulls",
    "z": "z",
    "pvalue": "p",
    "pvalue_corrected": "p corrected",
    "note": "note",
}


class Section(NamedTuple):
    """A section of the page."""

    identity: str
    title: str
    html: str


def sections(made: Contents) -> list[Section]:
    """Write all sections."""
    writers = (_network, _findings, _layers, _distributions, _backbone, _significance, _profile, _communities, _data)
    return [Section(*each) for writer in writers for each in writer(made)]


def summary(made: Contents) -> str:
    """Say in a sentence or two what the network is, and whether something is odd about it."""
    facts = made.facts
    count = len(warnings(made))
    odd = f"There {'is one warning' if count == 1 else f'are {count} warnings'}." if count else "Nothing odd was found."
    return (
        f"A network of {facts['parameters']:,} parameters as a graph of {facts['nodes']:,} nodes in "
        f"{facts['layers']:,} layers, joined by {facts['edges']:,} weighted edges. {odd}"
    )


def warnings(made: Contents) -> list[str]:
    """Say what is odd: one sentence for each problem, with the layers that have it."""
    found = [_problem(problem, some) for problem, some in _by_problem(made) if problem not in NOTES]
    if made.saturated:
        layers = ", ".join(f"{layer} ({share:.0%})" for layer, share in made.saturated)
        found.append(f"Layers whose activations are mostly at the bounds of their function: {layers}.")
    return found


def _by_problem(made: Contents) -> Iterator[tuple[str, list[Finding]]]:
    for problem in PROBLEMS:
        if some := [each for each in made.found if each.problem == problem]:
            yield problem, some


def _problem(problem: str, found: Sequence[Finding]) -> str:
    count = sum(len(each.nodes) for each in found)
    where = [f"{each.layer} ({_share(each)})" for each in found[:MOST_LAYERS]]
    where += [f"{len(found) - MOST_LAYERS} more layers"] if len(found) > MOST_LAYERS else []
    return f"{count:,} node{'s' if count > 1 else ''} {PROBLEMS[problem]}. In {', '.join(where)}."


def _share(found: Finding) -> str:
    return f"all {found.size:,}" if len(found.nodes) == found.size else f"{len(found.nodes):,} of {found.size:,}"


def _network(made: Contents) -> Iterator[Sequence[str]]:
    cards = "".join(f"<li><b>{made.facts[name]:,}</b>{escape(name)}</li>" for name in CARDS)
    others = {name: value for name, value in made.facts.items() if name not in CARDS}
    details = "".join(f"<dt>{escape(name)}</dt><dd>{_value(value)}</dd>" for name, value in others.items())
    text = f'<ul class="cards">{cards}</ul><dl>{details}</dl>{_downloads(facts="these facts")}'
    yield "network", "The network", text


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _findings(made: Contents) -> Iterator[Sequence[str]]:
    lines = [_line(True, text) for text in warnings(made)]
    lines += [_line(False, _problem(problem, some)) for problem, some in _by_problem(made) if problem in NOTES]
    text = f'<ul class="found">{"".join(lines)}</ul>' if lines else "<p>Nothing odd was found.</p>"
    if made.found:
        text += _downloads(findings="the nodes of each")
    looked = "nodes without edges, neurons that nothing reads or that cannot become active, and duplicates"
    if made.activity is None:
        text += f'<p class="scope">Looked for: {looked}. What data would show – dead and saturated neurons – was not '
        text += "looked for: no data were given.</p>"
    else:
        text += f'<p class="scope">Looked for: {looked}; on {made.activity.samples:,} samples also dead, unvarying and '
        text += "saturated neurons.</p>"
    yield "findings", "What is odd", text


def _line(warns: bool, text: str) -> str:
    mark, kind, name = ("⚠", "warning", "Warning") if warns else ("ℹ", "note-line", "Note")
    return f'<li class="{kind}"><span class="mark" role="img" aria-label="{name}">{mark}</span>{escape(text)}</li>'


def _layers(made: Contents) -> Iterator[Sequence[str]]:
    values = made.strength
    sparks = []
    for layer in made.graph.layers:
        mine = values[layer.start : layer.stop]
        sparks.append(spark(*np.histogram(mine, SPARK_BINS)) if len(mine) else "")
    table = html_table(made.tables["layers"], columns=LAYER_COLUMNS, extra={"strengths": sparks})
    rows = len(made.tables["nodes"])
    more = {"layers": "layers", "nodes": "nodes" if rows == len(made.graph) else f"the {rows:,} strongest nodes"}
    yield (
        "layers",
        "Layers",
        "<p>The strength of a node is the sum of the weights of its edges, in and out; the fluctuation of a layer is "
        f"the standard deviation of its nodes' strengths.</p>{table}{_downloads(**more)}",
    )


def _distributions(made: Contents) -> Iterator[Sequence[str]]:
    text = _figure(made.pictures["strengths"], "Strength of each node, by layer, with mean and standard deviation.")
    if "weights" in made.pictures:
        text += _figure(made.pictures["weights"], "Weights of the edges into each layer; all shapes are equally wide.")
    links = made.tables["links"]
    columns = ["source", "target", "kind", "mean", "std", "skewness", "kurtosis", "min", "max", "count"]
    text += f"<h3>Weights in numbers</h3>{html_table(links, columns=columns, most=MOST_ROWS)}"
    text += _downloads(links="statistics of weights", weights="histograms of weights")
    yield "distributions", "Strengths and weights", text


def _backbone(made: Contents) -> Iterator[Sequence[str]]:
    assert made.backbone is not None
    assert made.backbone.receipt is not None
    receipt = made.backbone.receipt
    text = (
        f"<p>The {receipt.kept:,} edges of {receipt.edges:,} that stand out most from what chance would spread over a "
        f"node's edges (disparity filter). They carry {receipt.mass:.1%} of the absolute weight; "
        f"{receipt.reachable_outputs:,} of {receipt.outputs:,} outputs are still reached.</p>"
    )
    text += _figure(made.pictures["backbone"], "")
    columns = {
        "layer": "layer",
        "nodes": "nodes",
        "isolated": "isolated nodes",
        "edges": "edges in",
        "kept": "kept",
        "mass": "share of |w| kept",
        "spearman": "rank correlation of strengths",
    }
    text += _details("What is kept, layer by layer", html_table(made.tables["backbone"], columns=columns))
    text += _downloads(backbone="what is kept", backbone_edges="edges of the backbone")
    yield "backbone", "Backbone", text


def _significance(made: Contents) -> Iterator[Sequence[str]]:
    if not made.questions:
        return
    table = made.tables["significance"]
    text = (
        "<p>Fluctuations compared with those of networks drawn from null models. σ is the standard deviation among "
        "these; p is the chance to be as far from their mean, corrected for the number of comparisons.</p>"
    )
    for question in made.questions:
        rows = table[table["null_model"] == question.kind]
        chance = np.nan_to_num(rows["pvalue_corrected"].to_numpy(), nan=2.0)
        order = np.lexsort((-np.abs(np.nan_to_num(rows["z"].to_numpy())), chance))
        told = [_sentence(question.sentences[place]) for place in order if chance[place] <= LEVEL]
        others = [_sentence(question.sentences[place]) for place in order if chance[place] > LEVEL]
        kind = KINDS[question.kind]
        text += f"<h3>Against {escape(kind.adjective)} nulls</h3>"
        text += f"<p>They keep {escape(kind.keeps)}."
        text += f"</p>{_list(told)}" if told else " Nothing is more than chance.</p>"
        if others:
            text += _details(f"{len(others)} more are within chance, or kept", _list(others))
        text += "".join(f'<p class="note">{escape(_sentence(note))}</p>' for note in question.notes)
        shown = html_table(rows, columns=SIGNIFICANCE, words=("note",))
        text += _details("In numbers", shown)
    yield "significance", "More than chance?", text + _downloads(significance="all comparisons")


def _details(title: str, html: str) -> str:
    """Fold something in, to be opened."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in sentences)}</ul>"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _profile(made: Contents) -> Iterator[Sequence[str]]:
    assert made.profile is not None
    assert made.measured is not None
    found = made.profile
    text = ""
    if made.measured is not made.graph:
        text += (
            f"<p>Measured on the strongest {made.measured.number_of_edges():,} edges: the whole graph is too big for "
            "these measures.</p>"
        )
    if len(found.graph):
        text += _graph_numbers(found)
    ranking = next((name for name in ("strength_abs", "degree", "strength") if name in found.nodes), None)
    if ranking is not None:
        hubs = found.nodes.nlargest(HUBS, ranking)
        caption = f"The nodes with the largest {HUB_COLUMNS[ranking]}"
        text += f"<h3>Hubs</h3>{html_table(hubs, caption, columns=HUB_COLUMNS)}"
    text += _downloads(
        profile="the graph",
        profile_nodes="all measures of nodes",
        profile_layers="of layers",
        profile_links="of links",
        measures="definitions",
    )
    words = ("definition", "source", "note")
    columns = {"measure": "measure", "weight": "weights", **{name: name for name in words}}
    definitions = html_table(made.tables["measures"], columns=columns, words=words)
    text += _details("What each measure is", definitions)
    yield "profile", "As a complex network", text


def _graph_numbers(found: Profile) -> str:
    """Show the numbers of the whole graph: a row for each measure, with its definition."""
    names = sorted(found.measures["measure"], key=len, reverse=True)
    values: dict[str, list[str]] = {}
    for column, value in found.graph.items():
        own = next((name for name in names if str(column).startswith(name)), str(column))
        part = str(column).removeprefix(own).strip("_").replace("_", " ")
        values.setdefault(own, []).append(f'<span class="pair">{escape(part)} <b>{_whole(value)}</b></span>')
    measures = found.measures.set_index("measure")
    rows = "".join(
        f'<tr><th scope="row" class="text">{escape(name.replace("_", " "))}</th>'
        f'<td class="text pairs">{" ".join(pairs)}</td>'
        f'<td class="text words">{escape(measures["definition"].get(name, ""))}</td></tr>'
        for name, pairs in values.items()
    )
    head = "".join(f'<th scope="col" class="text">{title}</th>' for title in ("measure", "values", "definition"))
    return (
        '<h3>The graph as a whole</h3><div class="scroll" tabindex="0" role="region" aria-label="The graph as a whole">'
        f'<table class="measures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _whole(value: float) -> str:
    """Write a number, with all digits where it is a count."""
    return f"{int(value):,}" if abs(value) < MOST_COUNTED and value == int(value) else number(value)


def _communities(made: Contents) -> Iterator[Sequence[str]]:
    if "communities" not in made.tables:
        return
    assert made.profile is not None
    table, numbers = made.tables["communities"], made.profile.graph
    text = "<p>Communities of the Leiden algorithm: groups of nodes with more absolute weight among them than chance "
    text += f"would put there. {len(table):,} have two or more nodes."
    if (modularity := numbers.get("leiden_partition_modularity")) is not None:
        text += f" Their modularity is {number(modularity)}."
    names = {"layers": "layers", "outputs": "the outputs that nodes support most"}
    values = {name: numbers.get(f"community_agreement_{what}_ami", np.nan) for what, name in names.items()}
    if told := [f"with {name} {number(value)}" for name, value in values.items() if value == value]:
        text += f" Their agreement {' and '.join(told)} (adjusted mutual information: 1 if the same, 0 if by chance)."
    text += "</p>"
    if "communities" in made.pictures:
        what = f"the {SHOWN_COMMUNITIES} largest communities" if len(table) > SHOWN_COMMUNITIES else "each community"
        text += _figure(made.pictures["communities"], f"Share of each layer's nodes in {what}; 0 is the largest.")
    titles = {"most_in": "most of them in"}
    columns = {name: titles.get(name, name) for name in table.columns}
    text += html_table(table, columns=columns, most=HUBS)
    text += _downloads(communities="communities", profile_nodes="the community of each node")
    yield "communities", "Communities", text


def _data(made: Contents) -> Iterator[Sequence[str]]:
    if made.activity is None:
        return
    text = f"<p>Values of the nodes after their activation function, over {made.activity.samples:,} samples.</p>"
    columns = {
        "layer": "layer",
        "nodes": "nodes",
        "mean": "mean activation",
        "fluctuation": "deviation among nodes",
        "std": "deviation among samples",
        "zeros": "share of zeros",
        "saturated": "share saturated",
        "dead": "dead nodes",
    }
    text += html_table(made.tables["activity"], columns=columns)
    yield "data", "On data", text + _downloads(activity="layers", activity_nodes="nodes")


def _figure(picture: Picture, caption: str) -> str:
    """Embed a figure, which scrolls where the screen is narrower."""
    source = base64.b64encode(picture.svg).decode()
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    alt = escape(picture.alt, quote=True)
    shrinks = f"max-width: max(100%, {LEGIBLE * picture.width:.0f}px)"
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{alt}">'
        f'<img src="data:image/svg+xml;base64,{source}" width="{picture.width}" style="{shrinks}" alt="{alt}"></div>'
        f"{words}</figure>"
    )


def _downloads(**tables: str) -> str:
    """Make the buttons that save tables."""
    buttons = "".join(
        f'<button type="button" class="csv" data-table="{name}">{escape(what)} (CSV)</button>'
        for name, what in tables.items()
    )
    return f'<div class="downloads">{buttons}</div>'
