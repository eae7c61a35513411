"""GEXF 1.3 for Gephi and Gephi Lite: a graph, or a training in which its nodes and edges change over time.

Ids equal titles, which differ by more than case (Gephi ignores it); no defaults; no edge ids, which must not repeat; no
alpha, which turns colours grey in Gephi Lite; a size is the first attribute of its element, where Gephi looks for it;
empty texts are left out.

Attributes that change are declared last. Gephi Lite knows only the last block of declarations, ignores time stamps and
keeps the last value: so it shows each measure at the last step, as a number, and takes the other attributes for texts,
which most of them are. For it, and for networkx, which does not read time stamps at all, there is the flat form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph
from ..measures.attributes import node_numbers
from ..progress import Progress
from .files import replacing
from .gexf_edges import changing_edges, edge_declarations, still_edges
from .gexf_text import attvalue, colour, declared, flat_name, opening, timed_closing, timed_opening
from .layout import layer_colours, layered_positions, node_sizes
from .nodes import NodeRows, node_rows, shown_nodes
from .series import Series, node_series, one_run, run_table
from .snapshots import MEASURES, Snapshot, Snapshots
from .text import ROWS, Column, check_options, escape_attribute, texts, weave

if TYPE_CHECKING:
    import pandas as pd

NODE_TYPES = {
    "layer": "string",
    "layer_index": "integer",
    "channel": "integer",
    "position": "string",
    "kind": "string",
    "activation": "string",
}
TAKEN = ("id", "label", "timeset", "x", "y", "z", "size", "color")  # names with a meaning of their own to a reader
ROW_PIECES = 64  # of a node of usual length; fewer nodes are woven at a time where a run makes them longer


def write_gexf(
    graph: NeuralGraph,
    path: str | Path,
    run: pd.DataFrame | str | Path | None = None,
    *,
    weight: str = "abs",
    snapshots: Mapping[int, Snapshot] | None = None,
    kinds: Collection[str] | None = None,
    isolated: str = "keep",
    measures: Collection[str] | None = None,
    flat: bool = False,
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the graph as GEXF 1.3; with a recorded run or snapshots, as a graph that changes while the network learns.

    Nodes carry a label, their layer and place, bias and strengths, a colour (depth) and a size (absolute strength).
    Measures that the run recorded take the place of the graph's own: in Gephi, each has a value for every recorded
    step, and the time line runs over the steps. With snapshots, edges change too: each has its weight at every step.
    Apart from the table of nodes and steps, and the weights of some links at every step, memory is constant. The file
    appears at its path only when it is complete.

    Parameters
    ----------
    graph : NeuralGraph
    path : str or Path
        Compressed if it ends in ``.gz``.
    run : DataFrame, str or Path, optional
        The table of one run with the columns ``run``, ``step``, ``layer``, ``node``, ``measure``, ``value``, or the
        folder it was recorded in. Values that are not finite are left out. Without snapshots, edges do not change: they
        are those of the graph, normally of the last step.
    weight : {"abs", "signed"}
        As of :func:`dnn2graph.write_graphml`: "abs" for viewing, with ``signed_weight``, ``sign`` and the edge's colour
        beside it; "signed" for analysis.
    snapshots : mapping from step to weights, optional
        Weights of the same network at each step: a state dict, a model, a graph, the path of a file that holds a state
        dict, or a function without arguments that returns one of these; files and functions are read when their weights
        are needed. A state dict refers to the live weights of its model: copy it before the model is trained further.
        Every edge that is there at some step is written, with its ``weight`` at every step, 0 where it is no edge
        (and ``signed_weight`` beside it, with weight="abs"); for what takes one number, such as its colour, it is the
        last that is not zero. Meant for some 100 000 edges: :func:`dnn2graph.sparsify` gives the backbone of the last
        step. Without a run, the strengths of nodes are those of the written graph at each step.
    kinds : collection of str, optional
        Kinds of links; default all. They do not choose among what was recorded.
    isolated : {"keep", "drop"}
        Whether nodes without an edge, of which a sparsified graph has many, are written. The others keep their ids,
        labels and places.
    measures : collection of str, optional
        Which of the recorded node measures to write, or of strength, strength_in and strength_out of the snapshots;
        default all.
    flat : bool
        For readers that ignore time, as Gephi Lite and networkx do: a graph that does not change, with one attribute
        for each measure and step, such as ``strength_1200`` and ``weight_1200``.
    precision : {"float32", "float64"}, optional
        Of weights. Their text is the shortest that reads back exactly in that type; default the weights' own type.
    progress : callable, optional
        Called with the number of nodes and edges written and their total; with snapshots, not edges are counted but
        the pairs of nodes that have been looked at.

    Raises
    ------
    InputError
        If an option is unknown, the table holds several runs or no values of nodes, or the run is not of this graph.
    WeightsError
        If a weight or a bias is NaN or infinite; readers would silently take such a weight for 1. If a snapshot does
        not fit the graph.
    LoadError
        If the file of a snapshot cannot be read.
    ExportError
        If the file cannot be written; the old file at that path is untouched.

    Examples
    --------
    >>> import tempfile, networkx as nx, torch, pandas as pd, dnn2graph as dg
    >>> from dnn2graph.export.gexf import write_gexf
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> run = pd.DataFrame(
    ...     [("a", step, "0", node, "strength", step + node) for step in (0, 10) for node in range(3)],
    ...     columns=["run", "step", "layer", "node", "measure", "value"],
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_gexf(graph, f"{folder}/run.gexf", run, flat=True)
    ...     nx.read_gexf(f"{folder}/run.gexf").nodes["2"]["strength_10"]
    12.0
    """
    check_options(weight, precision)
    shown = shown_nodes(graph, isolated, kinds)
    series = [] if run is None else node_series(graph, one_run(run_table(run)), measures)
    over_time = None if snapshots is None else Snapshots(graph, snapshots)
    if over_time is not None:
        survey = over_time.survey(kinds, () if run is not None else MEASURES if measures is None else measures)
        series = series or survey.series
        shown = None if shown is None else ~survey.isolated
    x, y = layered_positions(graph)
    # Sums of weights are finite only if all weights are: this also checks every weight, without a pass of its own.
    numbers = node_numbers(graph, kinds)
    timed = bool(series or over_time) and not flat
    if timed:
        recorded = {each.measure for each in series}
        numbers = {name: values for name, values in numbers.items() if name not in recorded}
    _check_names(numbers, series)
    nodes = _Nodes(graph, shown, numbers, series, timed, x, y, node_sizes(graph, kinds))
    total = done = 0
    if progress:
        total = len(graph) if shown is None else int(shown.sum())
        total += graph.number_of_edges(kinds) if over_time is None else over_time.number_of_pairs(kinds)
    with replacing(path) as file:

        def write(written: Iterator[tuple[int, bytes]]) -> None:
            nonlocal done
            for count, text in written:
                file.write(text)
                if progress:
                    done += count
                    progress(done, total)

        _write_header(file, timed)
        file.write(_node_declarations(numbers, series, timed))
        file.write(edge_declarations(weight, () if over_time is None else over_time.steps, flat))
        file.write(b"<nodes>\n")
        write(nodes.woven())
        file.write(b"</nodes>\n<edges>\n")
        if over_time is None:
            write(still_edges(graph, kinds, weight, precision))
        else:
            write(changing_edges(over_time, kinds, weight, precision, flat))
        file.write(b"</edges>\n</graph>\n</gexf>\n")


# ---------------------------------------------------------------------- header


def _write_header(file: BinaryIO, timed: bool) -> None:
    time = b'mode="dynamic" timeformat="double" timerepresentation="timestamp"' if timed else b'mode="static"'
    file.write(
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<gexf xmlns="http://gexf.net/1.3" xmlns:viz="http://gexf.net/1.3/viz" version="1.3">\n'
        b'<graph defaultedgetype="directed" %b>\n' % time
    )


def _node_declarations(numbers: Collection[str], series: list[Series], timed: bool) -> bytes:
    """Declare the attributes of nodes; those that change are the last."""
    static = NODE_TYPES | dict.fromkeys(numbers, "double")
    if not timed:
        static |= {flat_name(each.measure, step): "double" for each in series for step in each.steps.tolist()}
    changing = {each.measure: "double" for each in series} if timed else {}
    return declared("node", "static", static) + (declared("node", "dynamic", changing) if changing else b"")


def _check_names(numbers: Collection[str], series: list[Series]) -> None:
    """Raise if a recorded measure has the name of something else; case does not tell names apart."""
    taken = {name.lower(): name for name in (*TAKEN, *NODE_TYPES, *numbers)}
    for measure in (each.measure for each in series):
        other = taken.setdefault(measure.lower(), measure)
        if other in (*TAKEN, *NODE_TYPES) or other != measure:
            raise InputError(
                f"the measure {measure!r} cannot be told from the attribute {other!r}: record it under another name, "
                "or leave it out with measures=[...]"
            )


# ---------------------------------------------------------------------- nodes


class _Nodes(NamedTuple):
    """Weaves the nodes of a graph."""

    graph: NeuralGraph
    shown: np.ndarray | None
    numbers: dict[str, np.ndarray]
    series: list[Series]
    timed: bool
    x: np.ndarray
    y: np.ndarray
    sizes: np.ndarray

    def woven(self) -> Iterator[tuple[int, bytes]]:
        """Weave the nodes, some at a time: their number and their text."""
        pieces = ROW_PIECES + sum(3 * len(each.steps) for each in self.series)
        colours = layer_colours(self.graph).tolist()
        for rows in node_rows(self.graph, max(1, ROWS * ROW_PIECES // pieces), self.shown):
            yield len(rows.nodes), self._weave(rows, colour(colours[rows.layer_index]))

    def _weave(self, rows: NodeRows, layer_colour: bytes) -> bytes:
        """Write some nodes of a layer."""
        layer, nodes, places = rows.layer, rows.nodes, rows.places
        common = {
            "layer": layer.name,
            "layer_index": rows.layer_index,
            "kind": layer.kind,
            "activation": layer.activation or "",
        }
        same = b"".join(attvalue(key, str(value)) for key, value in common.items() if value != "")
        name, suffixes = escape_attribute(layer.name), [suffix.encode() for suffix in places.suffixes]
        columns: list[Column] = [b'<node id="', texts(nodes), b'" label="', name, suffixes]
        columns += [b'"><attvalues>', same, *_value_column(opening("channel"), places.channels)]
        if places.positions[0]:
            columns += [opening("position"), [position.encode() for position in places.positions], b'"/>']
        for key, values in self.numbers.items():
            columns += _value_column(opening(key), values[nodes])
        flat = not self.timed
        for measure, steps, recorded in self.series:
            for step, values in zip(steps.tolist(), recorded, strict=True):
                columns += _value_column(timed_opening(measure, step, flat), values[nodes], timed_closing(step, flat))
        columns += [b'</attvalues><viz:size value="', texts(self.sizes[nodes])]
        columns += [b'"/><viz:position x="', texts(self.x[nodes]), b'" y="', texts(self.y[nodes]), b'" z="0.0"/>']
        return weave([*columns, layer_colour, b"</node>\n"], len(nodes))


def _value_column(before: bytes, values: np.ndarray, after: bytes = b'"/>') -> tuple[Column, ...]:
    """Write an attribute of each node; where a value is not finite, there is none."""
    written = texts(values)
    if np.isfinite(values).all():
        return before, written, after
    finite = np.isfinite(values).tolist()
    return ([before + text + after if there else b"" for text, there in zip(written, finite, strict=True)],)
