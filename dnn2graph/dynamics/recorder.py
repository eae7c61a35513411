"""The recorder of a training run: measures of the network's graph, while it learns."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Collection, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from ..errors import InputError, WeightsError
from ..graph import NeuralGraph
from ..load.layers import without_prefixes
from .measures import (
    ENTERED,
    LAYER,
    NETWORK,
    NODE,
    Measure,
    Measures,
    Snapshot,
    as_values,
    entering,
    level_of,
    resolve_measures,
)
from .parts import COLUMNS, list_parts, open_folder, part_path, write_part

if TYPE_CHECKING:
    import pyarrow as pa

NOTHING = -1  # in a column of indices: no layer, no node


class Block(NamedTuple):
    """The values of one measure in one snapshot."""

    measure: str
    level: str
    values: np.ndarray  # float64, one for each place of the level


class Recorder:
    """Record measures of a model's graph while it is trained, as a folder of Parquet files.

    The graph is traced once, before the training; the measures are then taken from the live parameters, on their own
    device, without a copy of them. Each snapshot is a file of its own that appears whole or not at all: after a crash
    everything but the snapshot in flight is there. pandas, polars and DuckDB read the folder as one table with the
    columns ``run``, ``step``, ``layer``, ``node``, ``measure``, ``value``; so does :func:`dnn2graph.dynamics.read_run`.

    A recorder that is opened on a folder with a record continues it. A step that is recorded again, because training
    went on from an earlier checkpoint, replaces what was recorded of it.

    Training is not interrupted by weights that become NaN or infinite: the measures of that snapshot are recorded as
    NaN, and a warning names the layer, once.

    Parameters
    ----------
    graph : NeuralGraph
        Of the model, traced by :func:`dnn2graph.from_torch`.
    path : path
        A folder, which is created if need be. Several runs may share it, if they are of graphs with the same layers.
    every : int
        Record the steps that are multiples of this.
    measures : collection of str, or mapping from name to callable
        Of each node "strength", "strength_in", "strength_out", "strength_abs"; of each layer "fluctuation", and
        "link_weights": mean, std, skewness, kurtosis, min, max, l1, l2 of the weights of all edges into the layer, as
        ``link_weight_mean``, … A callable is given the graph with its present weights and returns an array of one
        value per node or per layer, or one number; where it raises WeightsError, its values are left out. Named ones
        stand beside callables as ``{"mine": f, "strength": MEASURES["strength"]}``.
    run : str
        What this run is called.
    kinds : collection of str, optional
        Kinds of links that the named measures count, such as ``("weight",)``; default all.

    Attributes
    ----------
    last_step : int or None
        The last step of this run that is recorded.

    Raises
    ------
    InputError
        If a measure is unknown, or the folder holds the record of another graph: the message says what differs.
    ExportError
        If the folder cannot be written to.

    Examples
    --------
    >>> import tempfile, torch, dnn2graph as dg
    >>> from dnn2graph.dynamics import Recorder, read_run
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> graph = dg.from_torch(model, torch.zeros(1, 4))
    >>> folder = tempfile.TemporaryDirectory()
    >>> recorder = Recorder(graph, folder.name, every=10)
    >>> for step in range(21):  # of a training
    ...     _ = recorder.step(model, accuracy=step / 100)
    >>> table = read_run(folder.name, measures="accuracy")
    >>> table["step"].tolist(), table["value"].tolist()
    ([0, 10, 20], [0.0, 0.1, 0.2])
    """

    def __init__(
        self,
        graph: NeuralGraph,
        path: str | Path,
        every: int = 1,
        measures: Measures = ("strength", "fluctuation"),
        run: str = "run",
        *,
        kinds: Collection[str] | None = None,
    ) -> None:
        if every < 1:
            raise InputError(f"every={every}: record every step (1), every second (2), …")
        self.graph, self.path, self.every, self.run = graph, Path(path), every, run
        self.kinds = (kinds,) if isinstance(kinds, str) else kinds if kinds is None else tuple(kinds)
        graph.select(self.kinds)  # raises if a kind is unknown
        self._measures = resolve_measures(measures)
        self._needed = set(graph.parameters())
        self._rows = _Rows(graph, run, self.kinds)
        self._warned = False
        part_path(self.path, run, 0)  # raises if the name of the run makes no file
        open_folder(self.path, graph, self.kinds)
        steps = [part.step for part in list_parts(self.path)[0] if part.run == run]
        self.last_step = max(steps, default=None)
        self._next = 0 if self.last_step is None else self.last_step + 1

    def step(self, model: nn.Module | Mapping[str, Tensor], /, step: int | None = None, **scalars: Any) -> bool:
        """Record the model if the step is a multiple of ``every``; to be called after each step of a training.

        Parameters
        ----------
        model : Module, or mapping from name to tensor
            The model that the graph was traced from, or one of the same parameters. What DataParallel and
            torch.compile put before names does not matter.
        step : int, optional
            Default: one more than in the last call; the first is 0, or follows the last step that is recorded.
        **scalars : number, tensor of one element
            What else is known of this step, such as ``accuracy=0.97``.

        Returns
        -------
        bool
            Whether it was recorded.

        Raises
        ------
        WeightsError
            If the model does not have the graph's parameters.
        InputError
            If a scalar is no number, or is named as a measure.
        ExportError
            If the snapshot cannot be written.
        """
        number = self._next if step is None else _step_number(step)
        self._next = number + 1
        if number % self.every:
            return False
        self.record(model, number, scalars)
        return True

    def record(
        self, model: nn.Module | Mapping[str, Tensor], step: int, scalars: Mapping[str, Any] | None = None
    ) -> None:
        """Record the model at a step, whether that is a multiple of ``every`` or not.

        Parameters
        ----------
        model, step, scalars
            As of :meth:`step`.

        Raises
        ------
        WeightsError, InputError, ExportError
            As of :meth:`step`.
        """
        import pyarrow as pa

        step = _step_number(step)
        graph = self.graph.with_weights(self._live_weights(model))
        blocks = self._measured(graph, step) + _network_blocks(scalars or {}, self._measures)
        columns = self._rows.columns(tuple((block.measure, block.level) for block in blocks))
        values = np.concatenate([np.zeros(0), *(block.values for block in blocks)])
        columns |= {"step": pa.array(np.full(len(values), step)), "value": pa.array(values)}
        write_part(part_path(self.path, self.run, step), pa.table({name: columns[name] for name in COLUMNS}))
        self.last_step = step if self.last_step is None else max(step, self.last_step)

    def _live_weights(self, model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give the parameters and buffers themselves, under the graph's names."""
        if isinstance(model, nn.Module):
            buffers = model.named_buffers(remove_duplicate=False)
            weights = dict(chain(model.named_parameters(remove_duplicate=False), buffers))
        else:
            weights = dict(model)
        return weights if self._needed <= weights.keys() else without_prefixes(weights)

    def _measured(self, graph: NeuralGraph, step: int) -> list[Block]:
        """Take all measures; NaN where weights are not finite."""
        snapshot, blocks = Snapshot(graph, self.kinds), []
        for measure in self._measures:
            level = measure.level
            try:
                values = as_values(measure.compute(snapshot))
                level = level or level_of(measure.names[0], values, graph)
            except WeightsError as error:
                self._warn(step, error)
                if level is None:
                    continue
                values = np.full((len(measure.names), self._rows.count(level)), np.nan)
            rows = values.reshape(len(measure.names), -1)
            blocks += [Block(name, level, row) for name, row in zip(measure.names, rows, strict=True)]
        return blocks

    def _warn(self, step: int, error: WeightsError) -> None:
        if not self._warned:
            self._warned = True
            what = str(error).rpartition(": ")[0] or str(error)
            message = f"step {step} of run {self.run!r}: {what}; it is recorded as NaN, and later steps without warning"
            warnings.warn(message, RuntimeWarning, stacklevel=5)  # where step() is called


class _Rows:
    """Where the values of a snapshot stand: the columns that are the same in all snapshots, made once."""

    def __init__(self, graph: NeuralGraph, run: str, kinds: Collection[str] | None) -> None:
        import pyarrow as pa
        import pyarrow.parquet  # now, since the training should not wait for it

        self._run = run
        layers, entered = np.arange(len(graph.layers)), np.array(list(entering(graph, kinds)), np.int64)
        places = {
            NODE: (graph.layer_of(), np.arange(graph.number_of_nodes())),
            LAYER: (layers, np.full(len(layers), NOTHING)),
            ENTERED: (entered, np.full(len(entered), NOTHING)),
            NETWORK: (np.array([NOTHING]), np.array([NOTHING])),
        }
        names = [layer.name for layer in graph.layers]
        self._layers = {level: _texts(layer, names) for level, (layer, _) in places.items()}
        self._nodes = {level: pa.array(node, mask=node == NOTHING) for level, (_, node) in places.items()}
        self._known: dict[tuple[tuple[str, str], ...], dict[str, pa.Array]] = {}

    def count(self, level: str) -> int:
        """How many values a level has."""
        return len(self._nodes[level])

    def columns(self, blocks: tuple[tuple[str, str], ...]) -> dict[str, pa.Array]:
        """Give the columns run, layer, node and measure of blocks (measure, level)."""
        if blocks not in self._known:
            self._known[blocks] = self._made(blocks)
        return dict(self._known[blocks])

    def _made(self, blocks: tuple[tuple[str, str], ...]) -> dict[str, pa.Array]:
        import pyarrow as pa

        counts = [self.count(level) for _, level in blocks]
        return {
            "run": _texts(np.zeros(sum(counts), np.int64), [self._run]),
            "layer": pa.concat_arrays([self._layers[LAYER][:0], *(self._layers[level] for _, level in blocks)]),
            "node": pa.concat_arrays([self._nodes[LAYER][:0], *(self._nodes[level] for _, level in blocks)]),
            "measure": _texts(np.repeat(np.arange(len(blocks)), counts), [name for name, _ in blocks]),
        }


def _texts(indices: np.ndarray, texts: list[str]) -> pa.DictionaryArray:
    import pyarrow as pa

    places = pa.array(indices.astype(np.int32), mask=indices == NOTHING)
    return pa.DictionaryArray.from_arrays(places, pa.array(texts, pa.string()))


def _network_blocks(scalars: Mapping[str, Any], measures: tuple[Measure, ...]) -> list[Block]:
    """Take the numbers that the user knows of a step."""
    taken = {name for measure in measures for name in measure.names}
    blocks = []
    for name, value in scalars.items():
        if name in taken:
            raise InputError(f"scalar {name!r} is named as a measure that is recorded: call it differently")
        try:
            number = float(value.detach() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"scalar {name!r} is {value!r:.80}, no number: pass a float, or a tensor of one element"
            ) from error
        blocks.append(Block(name, NETWORK, np.array([number])))
    return blocks


def _step_number(step: Any) -> int:
    try:
        number = operator.index(step)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise InputError(f"step={step!r}: count steps by integers from 0")
    return number
