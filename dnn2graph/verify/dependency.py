"""Proof that a graph joins what the model joins: an output is reached from an input exactly if it depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ..errors import InputError, ModelError
from ..graph import NeuralGraph
from ..links import Links
from ..nodes import Nodes
from ..trace.channels import channel_classes
from ..trace.inputs import as_arguments, input_tensors, one_sample
from ..trace.modules import ModuleStack
from ..trace.rules import embedding
from ..weights import Call

SHOWN = 8  # pairs, or names, that a message lists
JOINT_ACTIVATIONS = ("softmax", "log_softmax", "safe_softmax")  # functions of all sums of a layer, without links


class Pair(NamedTuple):
    """A channel of an input, or a feature of an embedding, and a channel of an output."""

    source: str
    channel: int
    output: int
    output_channel: int

    def __str__(self) -> str:
        return f"{self.source}[{self.channel}] → output {self.output}[{self.output_channel}]"


@dataclass(frozen=True)
class Dependency:
    """What :func:`check_dependency` found; true if nothing that matters is missing from the graph.

    Attributes
    ----------
    missing : tuple of Pair
        The derivative is not zero, and no path in the graph joins the two.
    spurious : tuple of Pair
        A path in the graph joins the two, and the derivative was zero each time: the model's derivative is cut
        (``detach``, whole numbers), or the graph joins too much.
    unrepresented : tuple of str
        Parameters that move an output and stand in no link, bias or layer function.
    pairs : int
        How many pairs were compared.
    draws : int
        At how many random weights and inputs; 0 if at the model's own weights and the example only.
    unchecked : tuple of str
        Inputs of whole numbers that no embedding reads: nothing can be derived by them.
    """

    missing: tuple[Pair, ...]
    spurious: tuple[Pair, ...]
    unrepresented: tuple[str, ...]
    pairs: int
    draws: int
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no dependency and no parameter is missing."""
        return not self.missing and not self.unrepresented

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = "the graph joins all that the model joins" if self.ok else "the graph does NOT join all it should"
        lines = [f"{verdict}: {self.pairs} pairs of input and output channels compared"]
        for what, found in (
            ("no path for a derivative that is not zero", self.missing),
            ("a path for a derivative that is zero", self.spurious),
            ("parameters that the graph lacks", self.unrepresented),
            ("inputs that cannot be compared", self.unchecked),
        ):
            if found:
                more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
                lines.append(f"{what}: {', '.join(map(str, found[:SHOWN]))}{more}")
        return "\n".join(lines)


def check_dependency(
    model: nn.Module,
    graph: NeuralGraph,
    example_input: Any,
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    draws: int = 3,
    outputs: int = 48,
    seed: int = 0,
) -> Dependency:
    """Compare paths of a channel graph with derivatives of the model, at random weights and inputs.

    An output channel should be reachable from an input channel exactly if some derivative between their elements is not
    zero. Every parameter by which some output has a derivative should stand in the graph. This holds for architectures
    whose graphs cannot be replayed, too. Indices of a vocabulary are followed from the features of their embeddings.

    A graph with notes holds for the example only: it is compared at the model's own weights and the example.

    Parameters
    ----------
    model : Module
        Its weights are put back in the end.
    graph : NeuralGraph
        Of this model, in channel granularity.
    example_input, example_kwargs
        As the graph was traced with; the first sample is used.
    draws : int
        How often weights and inputs are drawn. A unit that rests in one draw may respond in another.
    outputs : int
        For so many channels of each output, drawn by chance where it has more.
    seed : int

    Returns
    -------
    Dependency

    Raises
    ------
    InputError
        If the graph is in position granularity.
    ModelError
        If the model raises, holds operations without derivatives, or returns other outputs than the graph has.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.verify import check_dependency
    >>> model = torch.nn.Conv1d(4, 4, 1, groups=2)
    >>> check_dependency(model, dg.from_torch(model, torch.zeros(1, 4, 3)), torch.zeros(1, 4, 3)).ok
    True
    """
    if graph.granularity != "channel":
        raise InputError("dependency is checked between channels: trace the model with granularity='channel'")
    args, kwargs, _ = one_sample(as_arguments(example_input), dict(example_kwargs or {}), graph.options["batch_axis"])
    inputs = input_tensors(args, kwargs)
    classes = channel_classes(model, args, kwargs, inputs)
    named = _tensors(model)
    graph = graph.with_weights(named)
    generator = torch.Generator().manual_seed(seed)
    draws = 0 if graph.notes else draws
    chosen = _chosen_outputs(graph, outputs, generator)
    embeddings = _embeddings(graph, named)
    sources = _sources(graph, inputs, classes, embeddings)
    depends = np.zeros((len(sources), len(chosen)), bool)
    moving: set[str] = set()
    with _parameters_put_back(model):
        for draw in range(max(1, draws)):
            if draws:
                _draw_weights(model, generator)
                args, kwargs = _draw_inputs(args, kwargs, generator) if draw else (args, kwargs)
            with _overwriting(model):
                tables = [(named[table], uses[0].target_nodes.size) for table, uses in embeddings.items()]
                run = _Run(model, graph, args, kwargs, tables)
                depends |= run.derivatives(classes, chosen, generator)
                moving |= run.moving_parameters(generator)
        starts = [nodes for _, _, nodes in sources]
        reached = _reached(graph, starts, chosen)
        joined = _reached(graph, starts, chosen, joint=True) if (depends & ~reached).any() else reached
    return Dependency(
        _pairs(depends & ~joined, sources, chosen),
        _pairs(reached & ~depends, sources, chosen),
        tuple(sorted(_absent(moving, graph, named))),
        depends.size,
        draws,
        _unchecked(graph, args, kwargs, [links for each in embeddings.values() for links in each]),
    )


Source = tuple[str, int, list[int]]  # name, channel, nodes
Target = tuple[int, int, int]  # which output, number of the channel among its nodes, node


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}


def _chosen_outputs(graph: NeuralGraph, most: int, generator: torch.Generator) -> list[Target]:
    """Choose channels of each output."""
    chosen: list[Target] = []
    for place, leaf in enumerate(graph.output.leaves):
        if isinstance(leaf, Nodes):
            nodes = np.unique(leaf.flat[leaf.flat >= 0])
            picked = torch.randperm(len(nodes), generator=generator)[:most].sort().values.tolist()
            chosen += [(place, channel, int(nodes[channel])) for channel in picked]
    return chosen


def _embeddings(graph: NeuralGraph, named: Mapping[str, Tensor]) -> dict[str, list[Links]]:
    """List the tables whose entries are nodes, with the links that lead from the entries to features."""
    found: dict[str, list[Links]] = {}
    names: dict[int, str] = {}  # a table may have several
    for links in graph.links:
        table = next(iter(links.weight.parameters()), None)
        if table is not None and ({layer.kind for layer in links.sources} == {"vocabulary"} or _looks_up(links)):
            found.setdefault(names.setdefault(id(named[table]), table), []).append(links)
    return found


def _looks_up(links: Links) -> bool:
    """Whether links stand for all entries of a vocabulary together."""
    function = links.target.function if links.target is not None else None
    return isinstance(function, Call) and function.function is torch.ops.aten.embedding.default


def _sources(
    graph: NeuralGraph, inputs: Sequence[Tensor], classes: Sequence[Tensor], embeddings: Mapping[str, list[Links]]
) -> list[Source]:
    """List the nodes from which paths begin: channels of inputs of real numbers, and features of embeddings.

    A feature has a node for each place where the table is used.
    """
    sources: list[Source] = []
    for layer, x, channels in zip(graph.inputs, inputs, classes, strict=True):
        if x.is_floating_point():
            sources += [(layer.name, channel, [layer.start + channel]) for channel in range(int(channels.max()) + 1)]
    for table, uses in embeddings.items():
        features = np.stack([links.target_nodes.ids.reshape(-1) for links in uses], 1)  # (features, uses)
        sources += [(table, channel, nodes) for channel, nodes in enumerate(features.tolist())]
    return sources


def _pairs(found: np.ndarray, sources: Sequence[Source], chosen: Sequence[Target]) -> tuple[Pair, ...]:
    return tuple(
        Pair(sources[i][0], sources[i][1], chosen[j][0], chosen[j][1]) for i, j in zip(*found.nonzero(), strict=True)
    )


def _absent(moving: set[str], graph: NeuralGraph, named: Mapping[str, Tensor]) -> set[str]:
    """Give the names of moving parameters that the graph knows by none of their names."""
    known = {id(named[name]) for name in graph.parameters()}
    return {name for name in moving if id(named[name]) not in known}


def _unchecked(graph: NeuralGraph, args: Any, kwargs: Any, embeddings: Sequence[Links]) -> tuple[str, ...]:
    read = {layer.name for links in embeddings for layer in links.sources}
    read_by = {s.name for links in graph.links if links.target and links.target.name in read for s in links.sources}
    inputs = zip(graph.inputs, input_tensors(args, kwargs), strict=True)
    return tuple(layer.name for layer, x in inputs if not x.is_floating_point() and layer.name not in read_by)


# --- paths -----------------------------------------------------------------------------------------------------------


def _reached(
    graph: NeuralGraph, sources: Sequence[list[int]], chosen: Sequence[Target], joint: bool = False
) -> np.ndarray:
    """Tell which output nodes paths from each source lead to: bool (sources, outputs).

    The operators of the links, with ones for weights that are not zero, carry marks along. With ``joint``, an
    activation that is a function of its whole layer, such as softmax, passes them on to all of it.
    """
    marks = torch.zeros(len(sources), graph.number_of_nodes() + 1)
    for mark, nodes in zip(marks, sources, strict=True):
        mark[nodes] = 1.0
    if not sources:
        return np.zeros((0, len(chosen)), bool)
    marked = -1
    while marked < (marked := int(marks.count_nonzero())):  # once, and again where links lead back
        for links in graph.links:
            kernel = (links.kernel() != 0).float()
            carried = links.map.apply(links.source_nodes.gather(marks), kernel).reshape(len(marks), -1)
            target = torch.from_numpy(links.target_nodes.flat).expand(carried.shape)
            marks.scatter_reduce_(1, target, (carried > 0).float(), "amax")
            if joint and links.target is not None and links.target.activation in JOINT_ACTIVATIONS:
                span = marks[:, links.target.start : links.target.stop]
                span[:] = span.amax(1, keepdim=True)
        if not any(links.kind == "recurrent" for links in graph.links):
            break
    return marks[:, [node for _, _, node in chosen]].numpy() > 0


# --- derivatives -----------------------------------------------------------------------------------------------------


class _Run:
    """One run of the model with gradients by its inputs, what its embeddings give, and its parameters."""

    def __init__(
        self,
        model: nn.Module,
        graph: NeuralGraph,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tables: Sequence[tuple[Tensor, int]],
    ) -> None:
        def leaf(x: Tensor) -> Tensor:
            return x.detach().clone().requires_grad_(x.is_floating_point())

        args, kwargs = tree_map_only(Tensor, leaf, (args, kwargs))
        self.inputs = input_tensors(args, kwargs)
        self.parameters = {name: p for name, p in model.named_parameters() if p.is_floating_point() or p.is_complex()}
        watched = _Embedded([table for table, _ in tables])
        self.features = [count for _, count in tables]
        # the model may change its inputs in place, which leaves do not allow
        given_args, given_kwargs = tree_map_only(Tensor, torch.clone, (args, kwargs))
        with _saying("the model fails at random weights"), torch.enable_grad(), ModuleStack(model).watching(), watched:
            leaves = tree_leaves(model(*given_args, **given_kwargs))
        if len(leaves) != len(graph.output.leaves) or any(
            isinstance(nodes, Nodes) and nodes.shape != tuple(leaf.shape)
            for nodes, leaf in zip(graph.output.leaves, leaves, strict=True)
        ):
            raise ModelError("the model took another path than when it was traced, its outputs have other shapes")
        self.outputs = leaves
        self.nodes = graph.output.leaves
        self.embedded = watched.found

    def derivatives(
        self, classes: Sequence[Tensor], chosen: Sequence[Target], generator: torch.Generator
    ) -> np.ndarray:
        """Tell by which source each output has a derivative that is not zero: bool (sources, outputs)."""
        columns = []
        for place, _, node in chosen:
            by = [x for x in (*self.inputs, *(x for found in self.embedded for x in found)) if x.requires_grad]
            mask = torch.from_numpy(np.asarray(self.nodes[place].ids == node))
            given = dict(zip(map(id, by), self._gradients(place, mask, by, generator), strict=True))
            column = [torch.zeros(0, dtype=torch.bool)]
            for x, channel in zip(self.inputs, classes, strict=True):
                if x.is_floating_point():
                    column.append(_any_of_each(given.get(id(x)), channel))
            for found, features in zip(self.embedded, self.features, strict=True):
                column.append(_any_feature([given.get(id(x)) for x in found], features))
            columns.append(torch.cat(column))
        return torch.stack(columns, 1).numpy()

    def moving_parameters(self, generator: torch.Generator) -> set[str]:
        """Name the parameters by which some output has a derivative that is not zero."""
        moving: set[str] = set()
        handles = [
            p.register_post_accumulate_grad_hook(partial(_note_if_moving, name, moving))
            for name, p in self.parameters.items()
        ]
        by = list(self.parameters.values())
        try:
            for out, nodes in zip(self.outputs, self.nodes, strict=True):
                if isinstance(nodes, Nodes) and out.requires_grad and by:
                    mixture = _mixture(out, torch.from_numpy(np.asarray(nodes.ids >= 0)), generator)
                    with _saying("the model has no derivatives to tell parameters by"):
                        torch.autograd.backward(out, mixture, retain_graph=True, inputs=by)
        finally:
            for handle in handles:
                handle.remove()
        return moving

    def _gradients(
        self, place: int, mask: Tensor, by: list[Tensor], generator: torch.Generator
    ) -> Sequence[Tensor | None]:
        """Differentiate some elements of an output."""
        out = self.outputs[place]
        if not out.requires_grad or not by:
            return [None] * len(by)
        mixture = _mixture(out, mask, generator)
        with _saying("the model has no derivatives to compare paths with"):
            return torch.autograd.grad(out, by, mixture, retain_graph=True, allow_unused=True)


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Turn whatever the model raises into an error that says what failed."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{what}: {type(error).__name__}: {error}") from error


def _mixture(out: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Draw shares of some elements of an output: the derivatives of a plain sum may cancel."""
    return ((torch.rand(mask.shape, generator=generator) + 0.5) * mask).to(out)


def _note_if_moving(name: str, moving: set[str], parameter: Tensor) -> None:
    """Look at a gradient and drop it: those of all parameters together take as much memory as the model."""
    assert parameter.grad is not None
    if bool(_is_not_zero(parameter.grad.to_dense()).any()):
        moving.add(name)
    parameter.grad = None


class _Embedded(TorchDispatchMode):
    """Keep what embeddings of given tables return."""

    def __init__(self, tables: Sequence[Tensor]) -> None:
        super().__init__()
        self._tables = tables
        self.found: list[list[Tensor]] = [[] for _ in tables]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in embedding.LOOKUPS:
            for found, table in zip(self.found, self._tables, strict=True):
                if args[0] is table:
                    found.append(out if isinstance(out, Tensor) else out[0])
        return out


def _is_not_zero(gradient: Tensor) -> Tensor:
    """Tell which derivatives are not zero; one that is no number, as of the root of -1, tells nothing."""
    return (gradient != 0) & ~gradient.isnan()


def _any_of_each(gradient: Tensor | None, channel: Tensor) -> Tensor:
    """Tell for each channel whether the gradient by one of its elements is not zero."""
    count = int(channel.max()) + 1
    if gradient is None:
        return torch.zeros(count, dtype=torch.bool)
    moved = _is_not_zero(gradient).reshape(-1).long()
    return torch.zeros(count, dtype=torch.long).index_add(0, channel.reshape(-1), moved) > 0


def _any_feature(gradients: Sequence[Tensor | None], features: int) -> Tensor:
    """Tell for each feature of an embedding whether the gradient by it is not zero."""
    moved = torch.zeros(features, dtype=torch.bool)
    for gradient in gradients:
        if gradient is not None:
            moved |= _is_not_zero(gradient).reshape(-1, len(moved)).any(0)
    return moved


# --- random weights and inputs ---------------------------------------------------------------------------------------


@contextmanager
def _parameters_put_back(model: nn.Module) -> Iterator[None]:
    """Let every parameter take part in autograd, and restore what it and its gradient were in the end."""
    kept = [(p, p.detach().clone(), p.requires_grad, p.grad) for p in model.parameters()]
    try:
        for p, *_ in kept:
            p.requires_grad_(p.is_floating_point() or p.is_complex())
            p.grad = None
        yield
    finally:
        with torch.no_grad():
            for p, value, needed, gradient in kept:
                p.requires_grad_(needed)
                p.copy_(value)
                p.grad = gradient


def _overwriting(model: nn.Module) -> AbstractContextManager[Any]:
    """Let a model overwrite what a derivative needs; where it has sparse tensors, torch can't keep copies for that."""
    attributes = (value for module in model.modules() for value in vars(module).values())
    tensors = [*_tensors(model).values(), *(value for value in attributes if isinstance(value, Tensor))]
    dense = all(tensor.layout is torch.strided for tensor in tensors)
    return torch.autograd.graph.allow_mutation_on_saved_tensors() if dense else nullcontext()


def _draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter so that activations keep their size; none is zero."""
    with torch.no_grad():
        for p in model.parameters():
            if p.layout is torch.strided and p.is_floating_point():
                if p.dim() > 1:
                    value = torch.randn(p.shape, generator=generator) * (p[0].numel() ** -0.5)
                else:
                    value = torch.rand(p.shape, generator=generator) + 0.5
                p.copy_(value)


def _draw_inputs(args: Any, kwargs: Any, generator: torch.Generator) -> tuple[Any, Any]:
    def drawn(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator).to(x) if x.is_floating_point() else x

    return tree_map_only(Tensor, drawn, (args, kwargs))
