"""GEXF 1.3 for Gephi and Gephi Lite: a graph, or a training run in which measures of its nodes change over time.

Ids equal titles, which differ by more than case (Gephi ignores it); no defaults; no edge ids, which must not repeat; no
alpha, which turns colours grey in Gephi Lite; a size is the first attribute of its element, where Gephi looks for it;
empty texts are left out.

Attributes that change are declared last. Gephi Lite knows only the last block of declarations, ignores time stamps and
keeps the last value: so it shows each measure at the last step, as a number, and takes the other attributes for texts,
which most of them are. For it, and for networkx, which does not read time stamps at all, there is the flat form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from ..errors import InputError
from ..graph import Layer, NeuralGraph
from ..measures.attributes import node_numbers, places_of
from ..progress import Progress
from .files import replacing
from .layout import layer_colours, layered_positions, node_sizes
from .series import Series, node_series, one_run, run_table
from .text import (
    ROWS,
    SIGN_COLOURS,
    Column,
    EdgeMarkup,
    check_options,
    edge_texts,
    escape_attribute,
    texts,
    weave,
)

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
EDGE_TYPES = {
    "signed": {"kind": "string"},
    "abs": {"signed_weight": "double", "sign": "integer", "kind": "string"},
}
TAKEN = ("id", "label", "timeset", "x", "y", "z", "size", "color")  # names with a meaning of their own to a reader
ROW_PIECES = 64  # of a node of usual length; fewer nodes are woven at a time where a run makes them longer


def write_gexf(
    graph: NeuralGraph,
    path: str | Path,
    run: pd.DataFrame | str | Path | None = None,
    *,
    weight: str = "abs",
    kinds: Collection[str] | None = None,
    measures: Collection[str] | None = None,
    flat: bool = False,
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the graph as GEXF 1.3; with a recorded run, as a graph whose nodes change while the network learns.

    Nodes carry a label, their layer and place, bias and strengths, a colour (depth) and a size (absolute strength).
    Measures that the run recorded take the place of the graph's own: in Gephi, each has a value for every recorded
    step, and the time line runs over the steps. Edges do not change; they are those of the graph, normally of the last
    snapshot. Apart from the run's table of nodes and steps, memory is constant. The file appears at its path only when
    it is complete.

    Parameters
    ----------
    graph : NeuralGraph
    path : str or Path
        Compressed if it ends in ``.gz``.
    run : DataFrame, str or Path, optional
        The table of one run with the columns ``run``, ``step``, ``layer``, ``node``, ``measure``, ``value``, or the
        folder it was recorded in. Values that are not finite are left out. Default: a graph that does not change.
    weight : {"abs", "signed"}
        As of :func:`dnn2graph.write_graphml`: "abs" for viewing, with ``signed_weight``, ``sign`` and the edge's colour
        beside it; "signed" for analysis.
    kinds : collection of str, optional
        Kinds of links; default all. They do not choose among what was recorded.
    measures : collection of str, optional
        Which of the recorded node measures to write; default all.
    flat : bool
        For readers that ignore time, as Gephi Lite and networkx do: a graph that does not change, with one attribute
        for each measure and step, such as ``strength_1200``.
    precision : {"float32", "float64"}, optional
        Of weights. Their text is the shortest that reads back exactly in that type; default the weights' own type.
    progress : callable, optional
        Called with the number of nodes and edges written and their total.

    Raises
    ------
    InputError
        If an option is unknown, the table holds several runs or no values of nodes, or the run is not of this graph.
    WeightsError
        If a weight or a bias is NaN or infinite; readers would silently take such a weight for 1.
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
    series = [] if run is None else node_series(graph, one_run(run_table(run)), measures)
    x, y = layered_positions(graph)
    # Sums of weights are finite only if all weights are: this also checks every weight, without a pass of its own.
    numbers = node_numbers(graph, kinds)
    timed = bool(series) and not flat
    if timed:
        recorded = {each.measure for each in series}
        numbers = {name: values for name, values in numbers.items() if name not in recorded}
    _check_names(numbers, series)
    nodes = _Nodes(graph, numbers, series, timed, x, y, node_sizes(graph, kinds))
    total, done = (len(graph) + graph.number_of_edges(kinds) if progress else 0), 0
    with replacing(path) as file:

        def write(written: Iterator[tuple[int, bytes]]) -> None:
            nonlocal done
            for count, text in written:
                file.write(text)
                if progress:
                    done += count
                    progress(done, total)

        _write_header(file, numbers, series, timed, weight)
        write(nodes.woven())
        file.write(b"</nodes>\n<edges>\n")
        for links in graph.select(kinds):
            write(edge_texts(links, _edge_markup(links.kind, weight), precision))
        file.write(b"</edges>\n</graph>\n</gexf>\n")


# ---------------------------------------------------------------------- header


def _write_header(file: BinaryIO, numbers: Collection[str], series: list[Series], timed: bool, weight: str) -> None:
    static = NODE_TYPES | dict.fromkeys(numbers, "double")
    if not timed:
        static |= {_flat_name(each.measure, step): "double" for each in series for step in each.steps.tolist()}
    time = b'mode="dynamic" timeformat="double" timerepresentation="timestamp"' if timed else b'mode="static"'
    file.write(
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<gexf xmlns="http://gexf.net/1.3" xmlns:viz="http://gexf.net/1.3/viz" version="1.3">\n'
        b'<graph defaultedgetype="directed" %b>\n' % time
    )
    file.write(_attributes("node", "static", static))
    if timed:
        file.write(_attributes("node", "dynamic", {each.measure: "double" for each in series}))
    file.write(_attributes("edge", "static", EDGE_TYPES[weight]))
    file.write(b"<nodes>\n")


def _attributes(owner: str, mode: str, types: dict[str, str]) -> bytes:
    """Declare attributes."""
    declared = b"".join(
        b'<attribute id="%b" title="%b" type="%b"/>\n' % (escape_attribute(name), escape_attribute(name), kind.encode())
        for name, kind in types.items()
    )
    return b'<attributes class="%b" mode="%b">\n%b</attributes>\n' % (owner.encode(), mode.encode(), declared)


def _flat_name(measure: str, step: int) -> str:
    return f"{measure}_{step}"


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
    numbers: dict[str, np.ndarray]
    series: list[Series]
    timed: bool
    x: np.ndarray
    y: np.ndarray
    sizes: np.ndarray

    def woven(self) -> Iterator[tuple[int, bytes]]:
        """Weave the nodes, some at a time: their number and their text."""
        pieces = ROW_PIECES + sum(3 * len(each.steps) for each in self.series)
        rows = max(1, ROWS * ROW_PIECES // pieces)
        for index, colour in enumerate(layer_colours(self.graph).tolist()):
            layer = self.graph.layers[index]
            common = {
                "layer": layer.name,
                "layer_index": index,
                "kind": layer.kind,
                "activation": layer.activation or "",
            }
            same = b"".join(_attvalue(key, str(value)) for key, value in common.items() if value != "")
            for begin in range(0, layer.size, rows):
                end = min(begin + rows, layer.size)
                yield end - begin, self._weave(layer, begin, end, same, _colour(colour))

    def _weave(self, layer: Layer, begin: int, end: int, same: bytes, colour: bytes) -> bytes:
        """Write the nodes ``begin, …, end - 1`` of a layer."""
        nodes = slice(layer.start + begin, layer.start + end)
        places = places_of(layer, begin, end)
        name, suffixes = escape_attribute(layer.name), [suffix.encode() for suffix in places.suffixes]
        columns: list[Column] = [b'<node id="', texts(np.arange(nodes.start, nodes.stop)), b'" label="', name, suffixes]
        columns += [b'"><attvalues>', same, *_value_column("channel", places.channels)]
        if places.positions[0]:
            columns += [_opening("position"), [position.encode() for position in places.positions], b'"/>']
        for key, values in self.numbers.items():
            columns += _value_column(key, values[nodes])
        for measure, steps, recorded in self.series:
            for step, values in zip(steps.tolist(), recorded, strict=True):
                if self.timed:
                    columns += _value_column(measure, values[nodes], b'" timestamp="%b"/>' % repr(float(step)).encode())
                else:
                    columns += _value_column(_flat_name(measure, step), values[nodes])
        columns += [b'</attvalues><viz:size value="', texts(self.sizes[nodes])]
        columns += [b'"/><viz:position x="', texts(self.x[nodes]), b'" y="', texts(self.y[nodes]), b'" z="0.0"/>']
        return weave([*columns, colour, b"</node>\n"], end - begin)


def _opening(key: str) -> bytes:
    return b'<attvalue for="%b" value="' % escape_attribute(key)


def _attvalue(key: str, value: str) -> bytes:
    return b'%b%b"/>' % (_opening(key), escape_attribute(value))


def _value_column(key: str, values: np.ndarray, closing: bytes = b'"/>') -> tuple[Column, ...]:
    """Write an attribute of each node; where a value is not finite, there is none."""
    opening, written = _opening(key), texts(values)
    if np.isfinite(values).all():
        return opening, written, closing
    finite = np.isfinite(values).tolist()
    return ([opening + text + closing if there else b"" for text, there in zip(written, finite, strict=True)],)


def _colour(colour: tuple[int, int, int] | list[int]) -> bytes:
    return b'<viz:color r="%d" g="%d" b="%d"/>' % tuple(colour)


# ---------------------------------------------------------------------- edges


def _edge_markup(kind: str, weight: str) -> EdgeMarkup:
    """Say what stands around the numbers of edges of one kind."""
    kind_value = _attvalue("kind", kind)
    opening = b'<edge source="', b'" target="', b'" weight="'
    if weight == "signed":
        closing = b'"><attvalues>' + kind_value + b"</attvalues></edge>\n"
        return EdgeMarkup(*opening, None, (closing, closing))
    end = {
        sign: b'"/>' + _attvalue("sign", str(sign)) + kind_value + b"</attvalues>" + _colour(colour) + b"</edge>\n"
        for sign, colour in SIGN_COLOURS.items()
    }
    return EdgeMarkup(*opening, b'"><attvalues>' + _opening("signed_weight"), (end[1], end[-1]))
