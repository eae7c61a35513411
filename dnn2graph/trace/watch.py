"""Watch one forward pass: every operation on neurons becomes a layer with links, or moves node ids about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_iter, tree_leaves

from ..errors import ModelError
from ..graph import Layer, Output
from ..links import Links
from ..nodes import NO_NODE, Nodes
from ..weights import Call, Constant, Expression, mean_over_nodes
from .expressions import Expressions
from .hollow import REMEDY, Run
from .ids import NodeIds, changes_along, collapse, completed, distinct, has_gaps, storage_key, unexpanded
from .loops import Loops
from .modules import ModuleStack
from .overwriting import Overwriting, overwrites
from .registry import Rule, name_of, rule_for

Ids = Tensor
# What torch puts off until numbers are read, and the same done at once: else there were numbers that are not in memory.
AT_ONCE = {
    torch.ops.aten._conj.default: torch.ops.aten._conj_physical.default,
    torch.ops.aten._neg_view.default: torch.ops.aten.neg.default,
}


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
    gates: bool = True


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
    met : mapping from (operation, rule) to int
        How often each operation on neurons was met; the rule is None where it was refused, and "view" where the
        storage tells all.
    touched : set of int
        Storages of all tensors that operations were given.
    """

    model: nn.Module
    options: Options
    keep_values: bool = False
    run: Run = field(default_factory=Run)
    dtype: torch.dtype = torch.float32  # of the inputs
    layers: list[Layer] = field(default_factory=list)
    links: list[Links] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    unsupported: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    folded: bool = False
    met: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    touched: set[int | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.node_ids = NodeIds()
        self.expressions = Expressions(self.model, self.run)
        self.modules = ModuleStack(self.model)
        self.count = 0
        self._resting = False
        self._by_key: dict[Hashable, Layer] = {}
        self._identities: set[Hashable] = set()  # of the first so many links
        self._counted = 0
        self.loops = Loops(self)
        self.modules.on_choice = self.note
        if self.options.shared == "fold":
            self.modules.on_initial_state, self.modules.on_final_state = self.loops.begin, self.loops.end
            self.modules.on_step, self.modules.number_of_links = self.loops.step, lambda: len(self.links)
        # By storage; the tensors are kept alive, so that the storage stays theirs.
        self._random: dict[int | None, Tensor] = {}  # their use is refused
        self._decided: dict[int | None, Tensor] = {}  # whole numbers and truth values that depend on the input

    # ------------------------------------------------------------------ dispatch

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Let operations run without being recorded."""
        self._resting = True
        try:
            yield
        finally:
            self._resting = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # asks for a property, such as the device
            return func(*args, **kwargs)
        if self._resting:
            return self.run(func, args, kwargs)
        func = AT_ONCE.get(func, func)
        tensors = [t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
        keys = [storage_key(t) for t in tensors]
        self.touched.update(keys)
        if any(map(self.node_ids.knows_storage, keys)):
            return self._run_on_neurons(func, args, kwargs, tensors)
        return self._run_beside_neurons(func, args, kwargs, tensors)

    def _run_beside_neurons(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: Sequence[Tensor]
    ) -> Any:
        """Run what becomes part of how weights are computed, or is computed from constants alone."""
        self.expressions.prepare(func, args, kwargs)
        out = self.run(func, args, kwargs)
        operation = Operation(func, args, kwargs, out)
        drawn = _draws(func, args, kwargs) or self._is_random(tensors)
        unseen = overwrites(func) and not drawn and Overwriting.of(func, args, kwargs) is None
        if unseen and self.expressions.depends_on_parameters(tensors):
            self._refuse(operation, tensors, "it overwrites what parameters give, and has no form that does not")
        self.expressions.record(func, args, kwargs, out)
        if drawn and not _is_decision(out):
            self._random.update((storage_key(t), t) for t in tree_leaves(out) if isinstance(t, Tensor))
        elif drawn or self._are_decided(tensors):
            self._decide(operation)
        return out

    def _run_on_neurons(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: Sequence[Tensor]
    ) -> Any:
        """Run what makes layers, or moves nodes about."""
        overwriting = Overwriting.of(func, args, kwargs) if overwrites(func) else None
        if overwriting is None:
            out = self.run(func, args, kwargs)
            if self._is_view(func, out, tensors):  # the ids belong to the storage: nothing to do
                self.met[str(func), "view"] += 1
            else:
                self._represent(Operation(func, args, kwargs, out), tensors)
            return out
        target = overwriting.target
        operation = Operation(overwriting.form, overwriting.args, overwriting.kwargs, None)
        operation.out = out = self.run(operation.func, operation.args, operation.kwargs)
        self._represent(operation, tensors)
        if target.shape != out.shape:  # given as ``out=``, it takes the shape of the result
            target.resize_(out.shape)
        if self.node_ids.knows(out) or self.node_ids.knows_storage(storage_key(target)):
            self._write(target, self.node_ids.read(out) if self.node_ids.knows(out) else torch.tensor(NO_NODE))
            return self.run.write(target, out)
        self.expressions.prepare(func, args, kwargs)
        self.run.write(target, out)
        self.expressions.record(func, args, kwargs, target)
        self._decide(replace(operation, out=target))
        return target

    def _write(self, part: Tensor, ids: Ids) -> None:
        """Note which nodes are written into a tensor; what they are written beside, if it is learned, becomes nodes."""
        beside = None if self.node_ids.knows(part) else self.expressions.beside(part)
        if beside is not None:
            whole, places, values = beside
            layer = self.add_layer("parameter", "constant", (len(places),), len(places), bias=values)
            new = torch.arange(layer.start, layer.stop)
            self.node_ids.write(whole, torch.full(whole.shape, NO_NODE).scatter(0, places, new))
        self.node_ids.write(part, ids)

    def _is_view(self, func: Any, out: Any, tensors: Sequence[Tensor]) -> bool:
        """Whether all outputs share storage with an input: those of ``_unsafe_view`` do, of ``reshape`` not always."""
        if overwrites(func):
            return False
        outputs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        storages = {storage_key(t) for t in tensors} - {None}
        return all(storage_key(t) in storages for t in outputs) if outputs else func.is_view

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
        results = [t for t in tree_leaves(operation.out) if isinstance(t, Tensor)]
        is_complex = any(t.is_complex() for t in (*tensors, *results))
        rule: Rule | None = rule_for(operation.func, is_complex) if results else None
        try:
            if is_complex and rule is None:
                raise Refused("complex numbers")
            if self._is_random(tensors):
                raise Refused("random numbers enter the activations")
            if rule is None and overwrites(operation.func):
                raise Refused("it overwrites activations, and has no form that does not")
            if rule is None and not _is_decision(operation.out):
                drawn = _draws(operation.func, operation.args, operation.kwargs)
                raise Refused("random numbers enter the activations" if drawn else "")
            if self._are_decided(tensors):
                self.note(operation.func)
            if rule is not None:
                rule(self, operation)
            if not operation.constant:
                self._decide(operation)
            self._follow_constants(operation)
            self.met[str(operation.func), None if rule is None else name_of(rule)] += 1
        except Refused as reason:
            self.met[str(operation.func), None] += 1
            self._refuse(operation, tensors, str(reason))

    def _follow_constants(self, operation: Operation) -> None:
        """Without weights, keep the values of constants that move among neurons."""
        if not self.run.hollow:
            return
        outs = [t for t in tree_leaves(operation.out) if isinstance(t, Tensor)]
        known = [t for t in outs if self.node_ids.knows(t) and self.run.lacks_values(t) and not t.is_complex()]
        if any(has_gaps(self.node_ids.read(t)) for t in known):
            self.run.follow_constants(operation.func, operation.args, operation.kwargs, outs)

    def _refuse(self, operation: Operation, tensors: Sequence[Tensor], reason: str) -> None:
        """Note the operation and go on with fresh nodes, so that one run names everything unsupported."""
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        where = self.modules.name or type(self.model).__name__
        self.unsupported[f"{where}: {operation.func} on {shapes}" + (f" ({reason})" if reason else "")] = None
        for out in tree_leaves(operation.out):
            if isinstance(out, Tensor) and out.layout is torch.strided and not self.node_ids.knows(out):
                self.node_ids.write(out, torch.full((), self.count))
                self.count += 1

    def refuse_name(self, name: str) -> None:
        """Note an operation that torch does not let a watcher see, such as ``torch.cond``."""
        self.unsupported[f"{self.modules.name or type(self.model).__name__}: {name}"] = None

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
        if not has_gaps(ids):
            return ids
        known = self.run.values(tensor)
        different = (ids < 0) & (known != 0)
        if bool(different.any()):
            values = known[different].to(tensor.dtype)
            if bool(values.isnan().any()) and self.run.lacks_values(tensor):
                raise ModelError(f"constants among the activations depend on the values of weights, and {REMEDY}")
            levels, which = torch.unique(values, return_inverse=True)
            layer = self.add_layer("constant", "constant", levels.shape, len(levels), bias=Constant(levels))
            ids = ids.masked_scatter(different, which + layer.start)
            self.node_ids.write(tensor, ids)
        return ids

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
        if isinstance(value, Tensor):
            expression = self.expressions.of(value)
            return expression if value.layout is torch.strided else Call(torch.Tensor.to_dense, (expression,))
        # Python's real numbers are doubles
        return Constant(torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None))

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
        shape = self.expressions.shape(bias)
        shape = torch.Size([1] * (ids.dim() - len(shape)) + list(shape))
        alike = [axis for axis, length in enumerate(shape) if length > 1 and not changes_along(ids, axis)]
        if alike:  # every node meets all entries along these axes
            bias = Call(torch.mean, (Call(torch.reshape, (bias, tuple(shape))), alike, True))
            shape = torch.Size(1 if axis in alike else length for axis, length in enumerate(shape))
            for axis in alike:
                ids = ids.narrow(axis, 0, 1)
        pairs, _ = distinct(ids, self.new_by_element(shape).expand(ids.shape))
        pairs = pairs[pairs[:, 0] >= 0]
        if len(pairs) == size == shape.numel():  # each node has one entry
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
        if bias is not None and all(map(has_gaps, operands)) and any(True for _ in bias.parameters()):
            entries = self.new_by_element(self.expressions.shape(bias)).expand(operands[0].shape)
            nowhere = torch.stack([operand < 0 for operand in operands]).all(0)
            # numbers beyond all node ids stand for the entries
            operands = tuple(torch.where(nowhere, self.count + entries, operand) for operand in operands)
        tuples, which = distinct(*operands)
        same = completed(tuples)
        nodes = torch.unique(same[(tuples >= 0).any(1)])
        local = torch.full((len(tuples),), NO_NODE)
        local[nodes] = torch.arange(len(nodes))
        return local[same][unexpanded(which)].expand(which.shape)

    def link(self, kind: str, source: Ids, target: Ids, geometry: Any, weight: Expression) -> None:
        """Add links; where a shared module is folded, the same links are not added twice."""
        if not source.numel() or not target.numel():
            return
        ends = Nodes(_array(source, geometry.in_shape)), Nodes(_array(target, geometry.out_shape))
        links = Links(kind, *ends, geometry, weight)
        if self.folded:
            if self.has_same(links):
                return
            if int(source.max()) >= int(target.min()):  # it leads back
                links = replace(links, kind="recurrent")
        self.links.append(links)

    def has_same(self, links: Links) -> bool:
        """Whether there are the same links already."""
        for each in self.links[self._counted :]:
            self._identities.add(_identity(each))
        self._counted = len(self.links)
        return _identity(links) in self._identities

    def output(self, result: Any) -> Output:
        """Turn what the model returned into nodes and constants."""
        leaves, structure = tree_flatten(result)
        for place, leaf in enumerate(leaves):
            if self.is_neuron(leaf) and leaf.is_complex():
                what = f"output {place}: complex numbers (let the model return torch.view_as_real of them)"
                self.unsupported[what] = None
            if isinstance(leaf, Tensor) and storage_key(leaf) in self._decided:
                self.notes[f"output {place} of the model is a choice, the graph has what the example gave"] = None
        return Output(tuple(map(self._output_leaf, leaves)), structure)

    def _output_leaf(self, leaf: Any) -> Any:
        if self.is_neuron(leaf) and not leaf.is_complex():
            return Nodes(self.ids(leaf).numpy())
        if isinstance(leaf, Tensor) and self.run.lacks_values(leaf):
            return torch.empty_like(leaf, device="meta")
        return leaf


def _draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation draws random numbers: one that may, such as attention with dropout, need not."""
    may = torch.Tag.nondeterministic_seeded in func.tags
    return may and Operation(func, args, kwargs, None).argument("dropout_p") != 0


def _is_decision(out: Any) -> bool:
    """Whether an operation gave nothing but whole numbers, truth values or plain Python numbers."""
    return all(not (t.is_floating_point() or t.is_complex()) for t in tree_leaves(out) if isinstance(t, Tensor))


def _array(ids: Ids, shape: tuple[int, ...]) -> Any:
    return ids.reshape(shape).contiguous().numpy()


def _identity(links: Links) -> Hashable:
    """Tell links by what they join and by which parameters; their kind is left out."""
    ends = links.source_nodes, links.target_nodes
    joined = [(nodes.shape, nodes.start if nodes.is_range else hash(nodes.flat.tobytes())) for nodes in ends]
    return links.map.kernel_shape, tuple(links.weight.parameters()), *joined
