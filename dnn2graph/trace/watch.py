"""Watch one forward pass: every operation on neurons becomes a layer with links, or moves node ids about."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_iter, tree_leaves

from ..graph import Layer, Output
from ..links import Links
from ..nodes import NO_NODE, Nodes
from ..weights import Call, Constant, Expression, mean_over_nodes
from .expressions import Expressions, functional
from .ids import NodeIds, collapse, distinct, storage_key
from .modules import ModuleStack
from .registry import Rule, rule_for

Ids = Tensor


@dataclass(frozen=True)
class Options:
    """How a network becomes a graph; see :func:`dnn2graph.from_torch`."""

    granularity: str = "channel"
    aggregate: str = "sum"
    shared: str = "fold"
    simplify: bool = True
    fold_norm: bool = True
    batch_axis: int | None = 0
    vocabulary: str = "entries"


@dataclass
class Operation:
    """One operation of the forward pass, as its rule sees it."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    label: str | None = None  # of a step of an operation that makes several layers
    constant: bool = False  # the rule found that the results are constants

    @property
    def name(self) -> str:
        """Plain name: "relu", "add", "max_pool2d"."""
        if self.label is not None:
            return self.label
        name = self.func._schema.name.split("::")[1].strip("_")
        for ending in ("_with_indices", "_kernel", "_forward"):
            name = name.removesuffix(ending)
        return name

    def argument(self, name: str, default: Any = None) -> Any:
        """Return an argument by its name in the operator's schema, wherever the caller put it."""
        for place, parameter in enumerate(self.func._schema.arguments):
            if parameter.name == name:
                if place < len(self.args):
                    return self.args[place]
                if name in self.kwargs:
                    return self.kwargs[name]
                return parameter.default_value if parameter.has_default_value() else default
        return default


class Refused(Exception):
    """Raised by a rule for a form of its operation that it does not represent; the message says which."""


@dataclass(eq=False, repr=False)
class Watch(TorchDispatchMode):
    """Record the layers and links of one run of a model.

    The rules (``trace/rules``) call :meth:`ids`, :meth:`expression`, and the builders of ``trace/build.py``.

    Attributes
    ----------
    layers, links : list
        What was recorded so far, in order of execution.
    values : list of tensor
        With ``keep_values``, what each layer's operation returned; in channel granularity, which of the layer's nodes
        each element of it belongs to.
    """

    model: nn.Module
    options: Options
    keep_values: bool = False
    layers: list[Layer] = field(default_factory=list)
    links: list[Links] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    unsupported: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    folded: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.node_ids = NodeIds()
        self.expressions = Expressions(self.model)
        self.modules = ModuleStack(self.model)
        self.count = 0
        self._by_key: dict[Hashable, Layer] = {}
        self._initial: dict[int, Layer] = {}  # layers of initial states, by their first node
        self._loops: list[tuple[Ids, Ids]] = []  # nodes that a loop begins with, and those that take their place
        self.modules.on_choice = self.note
        if self.options.shared == "fold":
            self.modules.on_initial_state, self.modules.on_final_state = self._initial_state, self._final_state
        # By storage; the tensors are kept alive, so that the storage stays theirs.
        self._random: dict[int | None, Tensor] = {}  # their use is refused
        self._decided: dict[int | None, Tensor] = {}  # whole numbers and truth values that depend on the input

    # ------------------------------------------------------------------ dispatch

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
        if not any(self.node_ids.knows(t) for t in tensors):
            out = func(*args, **kwargs)
            self.expressions.record(func, args, kwargs, out)
            drawn = _draws(func, args, kwargs) or self._is_random(tensors)
            if drawn and not _is_decision(out):
                self._random.update((storage_key(t), t) for t in tree_leaves(out) if isinstance(t, Tensor))
            elif drawn or self._are_decided(tensors):
                self._decide(Operation(func, args, kwargs, out))
            return out
        if func.is_view or torch.Tag.inplace_view in func.tags:
            return func(*args, **kwargs)  # the ids belong to the storage: nothing to do
        out_of_place = functional(func) if func._schema.is_mutable else None
        if out_of_place is None:
            out = func(*args, **kwargs)
            if not self._only_aliases(out, tensors):
                self._represent(Operation(func, args, kwargs, out), tensors)
            return out
        out = out_of_place(*args, **kwargs)
        self._represent(Operation(out_of_place, args, kwargs, out), tensors)
        self.node_ids.write(args[0], self.node_ids.read(out) if self.node_ids.knows(out) else torch.tensor(NO_NODE))
        return args[0].copy_(out)

    def _only_aliases(self, out: Any, tensors: Sequence[Tensor]) -> bool:
        """Whether all outputs share storage with an input, as those of ``_unsafe_view`` do."""
        outputs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        storages = {storage_key(t) for t in tensors} - {None}
        return bool(outputs) and all(storage_key(t) in storages for t in outputs)

    def _is_random(self, tensors: Sequence[Tensor]) -> bool:
        return any(storage_key(t) in self._random for t in tensors)

    def _are_decided(self, tensors: Sequence[Tensor]) -> bool:
        return any(storage_key(t) in self._decided for t in tensors)

    def _decide(self, operation: Operation) -> None:
        """Take whole numbers and truth values that depend on the input as they are for the example.

        That is how places of maxima, tokens sent to experts and branches of the model's code are represented. It is
        noted where neurons meet such a value, or Python reads it.
        """
        results = [t for t in tree_leaves(operation.out) if isinstance(t, Tensor)]
        self._decided.update((storage_key(t), t) for t in results if not self.node_ids.knows(t))
        if not results:
            self.note(operation.func)

    def note(self, operation: object) -> None:
        """Tell the user that an operation's course, which depends on the input, is that of the example."""
        where = self.modules.name or type(self.model).__name__
        self.notes[f"{where}: {operation} depends on the input's values, the graph shows what the example gave"] = None

    def _represent(self, operation: Operation, tensors: Sequence[Tensor]) -> None:
        rule: Rule | None = rule_for(operation.func)
        try:
            if any(t.is_complex() for t in tensors):
                raise Refused("complex numbers")
            if self._is_random(tensors):
                raise Refused("random numbers enter the activations")
            if rule is None and not _is_decision(operation.out):
                raise Refused("")
            if self._are_decided(tensors):
                self.note(operation.func)
            if rule is not None:
                rule(self, operation)
            if not operation.constant:
                self._decide(operation)
        except Refused as reason:
            self._refuse(operation, tensors, str(reason))

    def _refuse(self, operation: Operation, tensors: Sequence[Tensor], reason: str) -> None:
        """Note the operation and go on with fresh nodes, so that one run names everything unsupported."""
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        where = self.modules.name or type(self.model).__name__
        self.unsupported[f"{where}: {operation.func} on {shapes}" + (f" ({reason})" if reason else "")] = None
        for out in tree_leaves(operation.out):
            if isinstance(out, Tensor) and not self.node_ids.knows(out):
                self.node_ids.write(out, torch.full((), self.count))
                self.count += 1

    def refuse_name(self, name: str) -> None:
        """Note an operation that torch does not let a watcher see, such as ``torch.cond``."""
        self.unsupported[f"{self.modules.name or type(self.model).__name__}: {name}"] = None

    # ------------------------------------------------------------------ recurrence

    def _initial_state(self, state: Tensor) -> Tensor:
        """Give initial values of a loop that are no neurons nodes for the time being."""
        if self.is_neuron(state):
            return state
        state = state.clone()
        local = self.new_by_axis(state.shape, -1)
        layer = self.add_layer("initial", "constant", state.shape, int(local.max()) + 1)
        self._initial[layer.start] = layer
        self.node_ids.write(state, local + layer.start)
        return state

    def _final_state(self, begin: Tensor, end: Tensor) -> None:
        if self.is_neuron(begin) and int(self.node_ids.read(begin).reshape(-1)[0]) in self._initial:
            begin = begin[: len(end)] if begin.shape != end.shape else begin
            self._loops.append((self.node_ids.read(begin).clone(), self.node_ids.read(end).clone()))

    def close_loops(self) -> None:
        """Let the state that a folded loop computes take the place of the one that it began with."""
        if not self._loops:
            return
        table = np.arange(self.count)
        for begin, end in self._loops:
            table[begin.reshape(-1).numpy()] = end.reshape(-1).numpy()
        starts = sorted(self._initial)
        kept: list[Links] = []
        for links in self.links:
            moved = links.source_nodes.renumbered(table)
            if (moved.flat != links.source_nodes.flat).any():
                links = replace(links, source_nodes=moved, kind="recurrent")
                if any(_same(links, other) for other in self.links):
                    continue
            kept.append(links)
        self.links[:] = kept
        self.layers[:] = [
            replace(layer, operands=tuple(nodes.renumbered(table) for nodes in layer.operands))
            for layer in self.layers
            if layer.start not in starts
        ]

    # ------------------------------------------------------------------ what rules ask

    @property
    def by_position(self) -> bool:
        """Whether every element gets a node, rather than every channel."""
        return self.options.granularity == "position"

    def is_neuron(self, value: Any) -> bool:
        """Whether a value is a tensor that holds neurons."""
        return isinstance(value, Tensor) and self.node_ids.knows(value)

    def ids(self, tensor: Tensor) -> Ids:
        """Return the node of each element of a tensor, int64; -1 where the element is a constant zero.

        Any other constant that was moved among neurons (padding with a value, a slice that was assigned) becomes a
        node with a bias here.
        """
        ids = self.node_ids.read(tensor)
        constant = ids < 0
        if bool(constant.any()):
            different = constant & (tensor.detach().cpu() != 0)
            if bool(different.any()):
                values = tensor.detach().cpu()[different]
                levels, which = torch.unique(values, return_inverse=True)
                layer = self.add_layer("constant", "constant", levels.shape, len(levels), bias=Constant(levels))
                ids[different] = which + layer.start
        return ids.clone()

    def moved_ids(self, tensor: Tensor) -> Ids:
        """Return ids for an operand of a moving operation; parameters moved among neurons become nodes."""
        if self.node_ids.knows(tensor):
            return self.node_ids.read(tensor)
        if not self.expressions.depends_on_parameters([tensor]):
            return torch.full(tensor.shape, NO_NODE)
        return self.as_neurons(tensor)

    def as_neurons(self, tensor: Tensor) -> Ids:
        """Return ids for any tensor: one that is no neuron becomes nodes without inputs, which have its values."""
        if self.node_ids.knows(tensor):
            return self.ids(tensor)
        expression = Call(torch.reshape, (self.expression(tensor), (-1,)))
        layer = self.add_layer("parameter", "constant", (tensor.numel(),), tensor.numel(), bias=expression)
        return torch.arange(layer.start, layer.stop).view(tensor.shape)

    def expression(self, value: Any) -> Expression:
        """Return how a tensor or number that is no neuron is computed."""
        return self.expressions.of(value) if isinstance(value, Tensor) else Constant(torch.tensor(value))

    # ------------------------------------------------------------------ what rules make

    def add_layer(self, operation: str, kind: str, tensor_shape: Sequence[int], size: int, **fields: Any) -> Layer:
        """Add a layer of ``size`` new nodes, or find it again where a shared module is folded."""
        key = (*self.modules.next_key(), operation)
        again = self._by_key.get(key)
        if again is not None and self.options.shared == "fold" and again.size == size:
            self.folded = True
            return again
        if not self.by_position:
            tensor_shape = (size,)
        batched = self.by_position and self.options.batch_axis == 0 and len(tensor_shape) > 1 and tensor_shape[0] == 1
        shape = tuple(tensor_shape[1:]) if batched else tuple(tensor_shape)
        axis = fields.pop("channel_axis", 0)
        axis = axis if self.by_position else 0
        layer = Layer(
            name=self.modules.unique_name(operation, of_module=fields.pop("of_module", kind != "constant")),
            kind=kind,
            shape=shape,
            activation=fields.pop("activation", None),
            start=self.count,
            stop=self.count + size,
            channel_axis=axis % max(1, len(tensor_shape)) - batched if len(tensor_shape) else 0,
            tensor_shape=tuple(tensor_shape),
            origin=len(self.layers),
            **fields,
        )
        self.count += size
        self.layers.append(layer)
        self._by_key[key] = layer
        if self.keep_values:
            self.values.append(torch.empty(0))
        return layer

    def born(
        self, operation: Operation, out: Tensor, kind: str, ids: Ids, bias: Expression | None = None, **fields: Any
    ) -> Ids:
        """Make the layer of an operation's output and mark the output with its nodes.

        Parameters
        ----------
        ids : int64 tensor of the output's shape
            The number of each element's node within the layer; -1 for none.
        bias : Expression, optional
            Broadcasts against the output's shape.

        Returns
        -------
        ids : int64 tensor of the output's shape
            The elements' nodes.
        """
        small = collapse(ids)[0]
        size = int(small.max()) + 1 if small.numel() else 0
        if bias is not None and not self.by_position:
            bias = self._bias_per_node(bias, ids, size)
        if operation.label is not None:
            fields["of_module"] = False
        layer = self.add_layer(operation.name, kind, out.shape, size, bias=bias, **fields)
        if self.keep_values:
            self.values[layer.origin] = out.detach().clone() if self.by_position else ids
        ids = torch.where(small >= 0, small + layer.start, NO_NODE).expand(out.shape)
        self.node_ids.write(out, ids)
        return ids

    def _bias_per_node(self, bias: Expression, ids: Ids, size: int) -> Expression:
        """Average the entries of a bias over each node's elements, in channel granularity."""
        value = bias.detached(self.expressions.weights)
        entries = torch.arange(value.numel()).view(value.shape).expand(ids.shape)
        pairs, _ = distinct(ids, entries)
        pairs = pairs[pairs[:, 0] >= 0]
        if len(pairs) == size == value.numel():  # each node has one entry
            return Call(torch.reshape, (bias, (-1,)))
        return Call(mean_over_nodes, (bias, pairs[:, 1], pairs[:, 0], size))

    def new_by_element(self, shape: Sequence[int]) -> Ids:
        """Number every element."""
        return torch.arange(torch.Size(shape).numel()).view(tuple(shape))

    def new_by_axis(self, shape: Sequence[int], axis: int) -> Ids:
        """Number every element, or in channel granularity the places along one axis."""
        if self.by_position:
            return self.new_by_element(shape)
        view = [1] * len(shape)
        view[axis] = -1
        return torch.arange(shape[axis]).view(view).expand(tuple(shape))

    def new_by_source(self, *operands: Ids, bias: Expression | None = None) -> Ids:
        """Number every element, or in channel granularity the different tuples of nodes that elements come from.

        Where an operand is a constant for some elements of a channel only, such as at a padded border, those belong to
        the channel all the same. Elements that come from no node at all stay constants, unless a learned ``bias`` is
        added to them: then each entry of it is a node.
        """
        if self.by_position:
            return self.new_by_element(operands[0].shape)
        if bias is not None and any(True for _ in bias.parameters()):
            value = bias.detached(self.expressions.weights)
            entries = torch.arange(value.numel()).view(value.shape).expand(operands[0].shape)
            nowhere = torch.stack([operand < 0 for operand in operands]).all(0)
            # numbers beyond all node ids stand for the entries
            operands = tuple(torch.where(nowhere, self.count + entries, operand) for operand in operands)
        tuples, which = distinct(*operands)
        same = completed(tuples)
        nodes = torch.unique(same[(tuples >= 0).any(1)])
        local = torch.full((len(tuples),), NO_NODE)
        local[nodes] = torch.arange(len(nodes))
        return local[same][which]

    def link(self, kind: str, source: Ids, target: Ids, geometry: Any, weight: Expression) -> None:
        """Add links; where a shared module is folded, the same links are not added twice."""
        if not source.numel() or not target.numel():
            return
        ends = Nodes(_array(source, geometry.in_shape)), Nodes(_array(target, geometry.out_shape))
        links = Links(kind, *ends, geometry, weight)
        if self.folded:
            if any(_same(links, other) for other in self.links):
                return
            if int(source.max()) >= int(target.min()):  # it leads back
                links = replace(links, kind="recurrent")
        self.links.append(links)

    def output(self, result: Any) -> Output:
        """Turn what the model returned into nodes and constants."""
        leaves, structure = tree_flatten(result)
        for place, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor) and storage_key(leaf) in self._decided:
                self.notes[f"output {place} of the model is a choice, the graph has what the example gave"] = None
        return Output(
            tuple(Nodes(self.ids(leaf).numpy()) if self.is_neuron(leaf) else leaf for leaf in leaves), structure
        )


def _draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation draws random numbers: one that may, such as attention with dropout, need not."""
    may = torch.Tag.nondeterministic_seeded in func.tags
    return may and Operation(func, args, kwargs, None).argument("dropout_p") != 0


def _is_decision(out: Any) -> bool:
    """Whether an operation gave nothing but whole numbers, truth values or plain Python numbers."""
    return all(not (t.is_floating_point() or t.is_complex()) for t in tree_leaves(out) if isinstance(t, Tensor))


def completed(tuples: Tensor) -> Tensor:
    """For each tuple of nodes, the number of the complete one that it is part of; else its own."""
    present = tuples >= 0
    same, whole = torch.arange(len(tuples)), present.all(1).nonzero()[:, 0]
    for part in (present.any(1) & ~present.all(1)).nonzero()[:, 0].tolist():
        there = present[part]
        fits = (tuples[whole][:, there] == tuples[part][there]).all(1).nonzero()
        if len(fits):
            same[part] = whole[fits[0, 0]]
    return same


def _array(ids: Ids, shape: tuple[int, ...]) -> Any:
    return ids.reshape(shape).contiguous().numpy()


def _same(one: Links, other: Links) -> bool:
    return (
        one.map.kernel_shape == other.map.kernel_shape
        and tuple(one.weight.parameters()) == tuple(other.weight.parameters())
        and np.array_equal(one.source_nodes.ids, other.source_nodes.ids)
        and np.array_equal(one.target_nodes.ids, other.target_nodes.ids)
    )

