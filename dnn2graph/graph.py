"""The noun that everything speaks of: a neural network as layers of nodes and the links between them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from .errors import InputError, WeightsError
from .links import KINDS, EdgeBlock, Links
from .nodes import Nodes
from .weights import Expression, Weights

if TYPE_CHECKING:
    import igraph
    import networkit
    import networkx
    import scipy.sparse
    import torch_geometric.data

    from .activity import FunctionalGraph
    from .estimate import Estimate

GRANULARITIES = ("channel", "position")


@dataclass(frozen=True, eq=False)
class Layer:
    """A group of nodes made by one operation.

    Attributes
    ----------
    name : str
        Path of the module that made it; unique in the graph.
    kind : str
        "input", "linear", "conv", "norm", "activation", "scale", "sum", "product", "function", "pool" or "constant".
    shape : tuple of int
        Shape of one sample's output; the nodes are its elements in row-major order. In channel granularity
        ``(channels,)``.
    activation : str or None
        Name of the function that the layer's nodes apply to their sum, such as "relu".
    start, stop : int
        The layer's nodes are ``start, …, stop - 1``.
    channel_axis : int
        Which axis of ``shape`` counts channels; the others are positions.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    activation: str | None
    start: int
    stop: int
    channel_axis: int = 0
    tensor_shape: tuple[int, ...] = ()  # as the operation made it, with the batch axis of one sample
    bias: Expression | None = None
    activate: Expression | None = None  # of one operand: the layer's sum
    function: Expression | None = None  # where the layer is no sum: of all operands
    operands: tuple[Nodes, ...] = ()  # that the function reads
    origin: int = 0  # which operation of the traced run made the final values

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.stop - self.start

    @property
    def nodes(self) -> Nodes:
        """The layer's nodes, laid out in its shape."""
        return Nodes(range(self.start, self.stop), self.shape)

    def __repr__(self) -> str:
        function = f", activation={self.activation!r}" if self.activation else ""
        return f"Layer({self.name!r}, {self.kind}, shape={self.shape}, nodes {self.start}…{self.stop - 1}{function})"


@dataclass(frozen=True, eq=False)
class Output:
    """What the model returns: tensors made of nodes, or constants, in a nesting of Python containers."""

    leaves: tuple[Nodes | Any, ...]
    structure: Any  # torch.utils._pytree.TreeSpec

    def nodes(self) -> Iterator[Nodes]:
        """Yield the leaves that are made of nodes."""
        return (leaf for leaf in self.leaves if isinstance(leaf, Nodes))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the nesting as an example of it: torch is about to change how it pickles its own description."""
        return {"leaves": self.leaves, "example": tree_unflatten(range(len(self.leaves)), self.structure)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(leaves=state["leaves"], structure=tree_flatten(state["example"])[1])


@dataclass(frozen=True, eq=False)
class NeuralGraph:
    """A trained network as the weighted directed graph that computes it.

    Made by :func:`dnn2graph.from_torch` or :func:`dnn2graph.load`. The adjacency convention is that of
    scipy's csgraph, networkx and igraph: ``A[i, j]`` is the weight of the edge from ``i`` to ``j``. An edge is a pair
    of nodes whose weight is not exactly zero.

    The graph refers to the parameters that it was traced from and copies none: if the model is trained further, its
    graph follows. :meth:`with_weights` binds the same structure to other parameters.

    Attributes
    ----------
    layers : tuple of Layer
        In topological order; node ids ascend.
    links : tuple of Links
    granularity : {"channel", "position"}
    aggregate : {"sum", "mean", "l1", "l2", "maxabs"}
    weights : mapping from parameter name to tensor
    buffers : frozenset of str
        Which of them were no parameters of the model: other weights need not hold them.
    options : mapping
        How the graph was traced: the keyword arguments of :func:`dnn2graph.from_torch`.
    notes : tuple of str
        What of the graph holds for the example input only: branches, places and choices that depend on values.
    """

    layers: tuple[Layer, ...]
    links: tuple[Links, ...]
    output: Output
    weights: Weights
    granularity: str = "channel"
    aggregate: str = "sum"
    inputs: tuple[Layer, ...] = ()
    folded: bool = False  # a shared module was called more than once and its nodes are reused
    buffers: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    notes: tuple[str, ...] = ()

    # ------------------------------------------------------------------ structure

    def number_of_nodes(self) -> int:
        """Count the nodes."""
        return self.layers[-1].stop if self.layers else 0

    def number_of_edges(self, kinds: Collection[str] | None = None) -> int:
        """Count the edges, without unrolling. Edges of parallel links are counted for each link."""
        return sum(links.nnz for links in self.select(kinds))

    def __len__(self) -> int:
        return self.number_of_nodes()

    def select(self, kinds: Collection[str] | None = None) -> tuple[Links, ...]:
        """Return the links of the given kinds; all of them by default.

        Raises
        ------
        InputError
            If a kind is unknown.
        """
        if kinds is None:
            return self.links
        wanted = {kinds} if isinstance(kinds, str) else set(kinds)
        if unknown := wanted.difference(KINDS):
            raise InputError(f"unknown link kind(s) {sorted(unknown)}: choose from {', '.join(KINDS)}")
        return tuple(links for links in self.links if links.kind in wanted)

    def layer(self, name: str) -> Layer:
        """Return the layer of that name.

        Raises
        ------
        InputError
            If there is none; the message lists near names.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        from difflib import get_close_matches

        near = get_close_matches(name, [layer.name for layer in self.layers])
        raise InputError(f"no layer {name!r}" + (f": did you mean {', '.join(map(repr, near))}?" if near else ""))

    def layer_of(self) -> np.ndarray:
        """Return the index of each node's layer, int64 (nodes,)."""
        return np.repeat(np.arange(len(self.layers)), [layer.size for layer in self.layers])

    def bias(self) -> np.ndarray:
        """Return the bias of each node, float64 (nodes,); zero where a node has none."""
        bias = np.zeros(self.number_of_nodes())
        for layer in self.layers:
            if layer.bias is not None:
                value = layer.bias.detached(self.weights).double().cpu()
                bias[layer.start : layer.stop] = value.expand(layer.tensor_shape).reshape(-1).numpy()
        return bias

    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters and buffers that the graph represents: in links, biases or layer functions."""
        names: dict[str, None] = {}
        for links in self.links:
            names.update(dict.fromkeys(links.weight.parameters()))
        for layer in self.layers:
            for expression in (layer.bias, layer.activate, layer.function):
                if expression is not None:
                    names.update(dict.fromkeys(expression.parameters()))
        return tuple(names)

    # ------------------------------------------------------------------ weights

    def with_weights(self, state_dict: Weights) -> NeuralGraph:
        """Return the same graph with other weights; nothing is traced or copied.

        Parameters
        ----------
        state_dict : mapping from parameter name to tensor
            Of the same architecture. Buffers that a state dict does not hold keep their values. Of a mapping that is no
            dict, such as :class:`dnn2graph.LazyTensors`, tensors are read each time that they are used.

        Raises
        ------
        WeightsError
            If a parameter that the graph needs is missing or has another shape; all of them are named.
        """
        wrong, tied = [], {}
        for name in self.parameters():
            known = self.weights[name]
            if name not in state_dict:
                other = next((each for each in state_dict if self.weights.get(each) is known), None)
                if other is not None:  # files hold tied parameters by one of their names
                    tied[name] = state_dict[other]
                elif name not in self.buffers or known.is_meta:
                    wrong.append(f"{name} is missing")
            elif state_dict[name].shape != known.shape:
                wrong.append(f"{name} is {tuple(state_dict[name].shape)} instead of {tuple(known.shape)}")
        if wrong:
            raise WeightsError("these weights do not fit the graph: " + "; ".join(wrong))
        weights = _laid_over(_laid_over(self.weights, tied), state_dict)
        dtype = common_dtype([weights[name] for name in self.parameters()], self.dtype)
        return replace(
            self, weights=weights, dtype=dtype, links=tuple(links.with_weights(weights, dtype) for links in self.links)
        )

    def check_finite(self) -> None:
        """Raise if a weight is NaN or infinite.

        Raises
        ------
        WeightsError
            With the layer, how many weights are affected, and the place of the first.
        """
        for links in self.links:
            kernel = links.kernel()
            finite = torch.isfinite(kernel)
            if not bool(finite.all()):
                bad = (~finite).reshape(-1).nonzero().reshape(-1)
                name = links.target.name if links.target else "?"
                raise WeightsError(
                    f"layer {name!r} has {len(bad)} non-finite weight(s), the first at index {int(bad[0])} of its "
                    f"{tuple(kernel.shape)} kernel: clean the checkpoint before you measure or export it"
                )

    # ------------------------------------------------------------------ edges and other forms

    def blocks(self, kinds: Collection[str] | None = None) -> Iterator[tuple[Links, EdgeBlock]]:
        """List the edges in blocks, links by links, in constant memory."""
        for links in self.select(kinds):
            for block in links.blocks():
                yield links, block

    def replay(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph itself, never the model, on a batch of samples; see :func:`dnn2graph.replay.replay`."""
        from .replay import replay

        return replay(self, args, kwargs)

    def functional(self, loader: Any, **options: Any) -> FunctionalGraph:
        """Weigh every edge by the activation of its source on data; see :func:`dnn2graph.activity.functional_graph`."""
        from .activity import functional_graph

        return functional_graph(self, loader, **options)

    def estimate(self, kinds: Collection[str] | None = None) -> Estimate:
        """Predict nodes, edges and bytes of every form of the graph, before building any."""
        from .estimate import estimate

        return estimate(self, kinds)

    def adjacency(self, kinds: Collection[str] | None = None, *, memory: float | None = None) -> scipy.sparse.csr_array:
        """Unroll into a sparse matrix (n, n) of signed weights; see :func:`dnn2graph.export.adjacency`."""
        from .export.matrix import adjacency

        return adjacency(self, kinds, memory=memory)

    def to_igraph(self, weight: str = "signed", kinds: Collection[str] | None = None, **options: Any) -> igraph.Graph:
        """Build an igraph graph; see :func:`dnn2graph.export.to_igraph`."""
        from .export.memory import to_igraph

        return to_igraph(self, weight, kinds, **options)

    def to_networkx(
        self, weight: str = "signed", kinds: Collection[str] | None = None, **options: Any
    ) -> networkx.DiGraph:
        """Build a networkx graph; see :func:`dnn2graph.export.to_networkx`."""
        from .export.memory import to_networkx

        return to_networkx(self, weight, kinds, **options)

    def to_networkit(
        self, weight: str = "signed", kinds: Collection[str] | None = None, **options: Any
    ) -> networkit.Graph:
        """Build a NetworKit graph; see :func:`dnn2graph.export.memory.to_networkit`."""
        from .export.memory import to_networkit

        return to_networkit(self, weight, kinds, **options)

    def to_pyg(
        self, weight: str = "signed", kinds: Collection[str] | None = None, **options: Any
    ) -> torch_geometric.data.Data:
        """Build a graph of PyTorch Geometric; see :func:`dnn2graph.export.memory.to_pyg`."""
        from .export.memory import to_pyg

        return to_pyg(self, weight, kinds, **options)

    def write(self, path: str | Path, **options: Any) -> None:
        """Write a file in the format that its name says; see :func:`dnn2graph.write`."""
        from .export.formats import write

        write(self, path, **options)

    def write_graphml(self, path: str | Path, **options: Any) -> None:
        """Write a GraphML file; see :func:`dnn2graph.write_graphml`."""
        from .export.graphml import write_graphml

        write_graphml(self, path, **options)

    def write_gexf(self, path: str | Path, run: Any = None, **options: Any) -> None:
        """Write a GEXF file, of a training run if one is given; see :func:`dnn2graph.write_gexf`."""
        from .export.gexf import write_gexf

        write_gexf(self, path, run, **options)

    def __repr__(self) -> str:
        return (
            f"NeuralGraph({len(self.layers)} layers, {self.number_of_nodes():,} nodes, {len(self.links)} links, "
            f"granularity={self.granularity!r})"
        )


def _laid_over(known: Weights, others: Weights) -> Weights:
    """Put weights over others of the same names; what is read only when it is used stays so."""
    if isinstance(known, dict) and isinstance(others, dict):
        return {**known, **others}
    return ChainMap(others, known)  # type: ignore[arg-type]  # nothing is written to them


def assemble(
    layers: Sequence[Layer], links: Sequence[Links], default: torch.dtype = torch.float32, **fields: Any
) -> NeuralGraph:
    """Bind links to their layers and to the weights, and make the graph.

    Its precision is that of the parameters; ``default`` where there are none.
    """
    starts = np.array([layer.start for layer in layers])
    weights: Weights = fields["weights"]
    graph = NeuralGraph(tuple(layers), tuple(links), **fields)
    dtype = common_dtype([weights[name] for name in graph.parameters()], default)

    def touched(nodes: Nodes) -> tuple[Layer, ...]:
        return tuple(layers[place] for place in nodes.owners(starts))

    bound = [
        replace(
            each,
            sources=touched(each.source_nodes),
            target=next(iter(touched(each.target_nodes)), None),
            weights=weights,
            dtype=dtype,
        )
        for each in links
    ]
    return replace(graph, links=tuple(bound), dtype=dtype)


def common_dtype(tensors: Sequence[Tensor], default: torch.dtype = torch.float32) -> torch.dtype:
    """Return the widest floating-point type among tensors."""
    found = {tensor.dtype for tensor in tensors if tensor.dtype.is_floating_point}
    dtype: torch.dtype | None = None
    for each in found:
        dtype = each if dtype is None else torch.promote_types(dtype, each)
    return dtype or default


