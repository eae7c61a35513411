"""The unrolled graph as a measure sees it: with the weights that the measure is defined on, and no others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import numpy as np

from ..errors import InputError
from ..estimate import check_memory
from ..export.matrix import adjacency
from ..graph import NeuralGraph

if TYPE_CHECKING:
    import igraph
    import scipy.sparse

BYTES_PER_EDGE = 700  # of the matrices in every convention, their transposes, and the graphs of libraries; measured
BYTES_PER_NODE = 1000
LEAST_WEIGHT = 1e-300  # whose distance is finite, and so are sums of many
BACKBONE = 200_000  # edges of the sparser graph that an error message recommends

Found = TypeVar("Found")


class Unrolled:
    """A graph unrolled once, for all measures of a profile.

    Parameters
    ----------
    graph : NeuralGraph
    kinds : collection of str, optional
        Kinds of links; default all.
    sample : int, optional
        From how many nodes measures of shortest paths start; default all of them, where that is quick.
    seed : int
        Of everything random.
    memory : float, optional
        How many bytes the profile may take; default half of what is free.

    Raises
    ------
    InputError
        If ``sample`` is not a positive whole number.
    MemoryBudgetError
        Before anything is unrolled.
    WeightsError
        If weights are NaN or infinite.
    """

    def __init__(
        self,
        graph: NeuralGraph,
        kinds: Collection[str] | None = None,
        *,
        sample: int | None = None,
        seed: int = 0,
        memory: float | None = None,
    ) -> None:
        if sample is not None and (isinstance(sample, bool) or not isinstance(sample, Integral) or sample < 1):
            raise InputError(f"sample={sample!r} is no number of nodes to start from: give 1 or more, or None for all")
        graph.check_finite()
        _check_memory(graph, kinds, memory)
        self.graph, self.kinds, self.sample, self.seed = graph, kinds, sample, seed
        self.signed = adjacency(graph, kinds, memory=float("inf")).astype(np.float64)
        self._forms: dict[str, Form] = {}
        self.found: dict[str, Any] = {}  # what several measures describe

    def form(self, weight: str) -> Form:
        """Give the graph in one of the conventions of weights; made once."""
        if weight not in self._forms:
            self._forms[weight] = Form(self.signed, weight)
        return self._forms[weight]


def reweighted(matrix: scipy.sparse.csr_array, weights: np.ndarray) -> scipy.sparse.csr_array:
    """Give the same edges other weights."""
    import scipy.sparse

    return scipy.sparse.csr_array((weights, matrix.indices, matrix.indptr), shape=matrix.shape)


class Form:
    """The adjacency matrix in one convention of weights, and what libraries make of it."""

    def __init__(self, signed: scipy.sparse.csr_array, weight: str) -> None:
        convert: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "unweighted": lambda w: np.ones_like(w),
            "signed": lambda w: w,
            "abs": np.abs,
            "distance": lambda w: 1 / np.maximum(np.abs(w), LEAST_WEIGHT),
        }
        self.matrix = reweighted(signed, convert[weight](signed.data))

    @cached_property
    def transposed(self) -> scipy.sparse.csr_array:
        """Rows are targets: the edges into each node."""
        return self.matrix.T.tocsr()

    @cached_property
    def igraph(self) -> igraph.Graph:
        """Directed, vertex i is node i, edges in the matrix's order with their ``weight``."""
        import igraph

        from ..export.memory import paused_collector

        matrix = self.matrix
        sources = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        with paused_collector():
            made = igraph.Graph(
                matrix.shape[0],
                edges=zip(sources.tolist(), matrix.indices.tolist(), strict=True),
                directed=True,
            )
            made.es["weight"] = matrix.data.tolist()
        return made


def _check_memory(graph: NeuralGraph, kinds: Collection[str] | None, memory: float | None) -> None:
    """Raise if the unrolled graph, in all its forms, takes more memory than allowed."""
    edges = graph.number_of_edges(kinds)
    sparser = f"a backbone of the graph (dnn2graph.sparsify(graph, max_edges={BACKBONE}))"
    needed = edges * BYTES_PER_EDGE + len(graph) * BYTES_PER_NODE
    check_memory(graph, needed, "a profile", memory, sparser, kinds)


class View:
    r"""What one measure is given.

    Attributes
    ----------
    graph : NeuralGraph
        For its layers and links. Weights are to be taken from :attr:`matrix`.
    matrix : csr_array (nodes, nodes), float64
        ``matrix[i, j]`` is the weight of the edge from i to j in the measure's convention: 1, w, \|w\| or 1/\|w\|.
        Links between the same two nodes are one edge, whose weight w is their sum.
    sample : int or None
        From how many nodes measures of shortest paths start; None leaves it to them.
    notes : list of str
        What a reader must know of the values: that they are sampled, and how good they are; why they are missing.
    """

    def __init__(self, unrolled: Unrolled, weight: str, name: str) -> None:
        self.graph = unrolled.graph
        self.kinds = unrolled.kinds
        self.sample = unrolled.sample
        self.weight = weight
        self.notes: list[str] = []
        self._unrolled = unrolled
        self._form = unrolled.form(weight)
        self._name = name

    @property
    def matrix(self) -> scipy.sparse.csr_array:
        """The adjacency matrix."""
        return self._form.matrix

    @property
    def transposed(self) -> scipy.sparse.csr_array:
        """The transpose of :attr:`matrix`, by rows: the edges into each node."""
        return self._form.transposed

    @property
    def igraph(self) -> igraph.Graph:
        """The same graph for igraph, with the edge attribute ``weight``; not to be changed."""
        return self._form.igraph

    @cached_property
    def layer_of(self) -> np.ndarray:
        """Index of each node's layer, int64 (nodes,)."""
        return self.graph.layer_of()

    @cached_property
    def inputs(self) -> np.ndarray:
        """Nodes of the input layers, int64."""
        layers = self.graph.inputs
        return np.concatenate([np.zeros(0, np.int64), *(np.arange(layer.start, layer.stop) for layer in layers)])

    @cached_property
    def outputs(self) -> np.ndarray:
        """Nodes that the network returns, int64, in order."""
        from ..sparsify.reach import output_nodes

        return output_nodes(self.graph)

    @cached_property
    def random(self) -> np.random.Generator:
        """Random numbers of this measure's own: the same whichever measures run beside it."""
        return np.random.default_rng([self._unrolled.seed, crc32(self._name.encode())])

    def once(self, name: str, weight: str, compute: Callable[[View], Found]) -> Found:
        """Compute what several measures of a profile describe, with weights and random numbers of its own, once."""
        found = self._unrolled.found
        if name not in found:
            found[name] = compute(View(self._unrolled, weight, name))
        result: Found = found[name]
        return result

    def note(self, text: str) -> None:
        """Tell the reader something about the values."""
        self.notes.append(text)
