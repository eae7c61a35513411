"""Communities: groups of neurons that are linked more strongly among themselves than chance would have it.

Their number, their quality, and their agreement with the layers and with the outputs that neurons support.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from ..errors import InputError
from ..export.memory import paused_collector
from .effective import strongest_outputs
from .measure import Columns, measure
from .partitions import agreement, layered_modularity, modularity, signed_modularity
from .undefined import undefined
from .view import View

MOST_EDGES = {"leiden": 1_000_000, "infomap": 300_000, "layered_community": 1_000_000}  # some seconds each
TRIALS = 10  # of Infomap
SWEEPS = 100  # through the layers, at most; a handful is the rule
LEIDEN = "Traag, Waltman & van Eck 2019, doi:10.1038/s41598-019-41695-z"
INFOMAP = "Rosvall & Bergstrom 2008, doi:10.1073/pnas.0706851105"
LAYERED = "Barber 2007, doi:10.1103/PhysRevE.76.066102"
SIGNED = "Gómez, Jensen & Arenas 2009, doi:10.1103/PhysRevE.80.016114"


# ---------------------------------------------------------------------- measures


@measure("node", weight="abs", source=LEIDEN)
def leiden(view: View) -> Columns:
    """Community of a node by the Leiden algorithm: high modularity on undirected |weight|. 0 is the largest."""
    return _memberships(view, "leiden")


@measure("graph", weight="abs", source=LEIDEN)
def leiden_partition(view: View) -> Columns:
    """Communities of the Leiden algorithm: how many of two or more nodes, how many nodes alone, the share of nodes in
    the largest; modularity on undirected |weight|; and modularity under the layered null model, by which only layers
    that are linked can share communities by chance.
    """
    return _described(view, "leiden", "leiden_partition", ("modularity", "layered_modularity"))


@measure("node", weight="abs", source=INFOMAP)
def infomap(view: View) -> Columns:
    """Community of a node by Infomap: the shortest description of a random walk along directed |weight|. 0 is the
    largest.
    """
    return _memberships(view, "infomap")


@measure("graph", weight="abs", source=INFOMAP)
def infomap_partition(view: View) -> Columns:
    """Communities of Infomap on directed |weight|: how many of two or more nodes, how many nodes alone, the share of
    nodes in the largest; the description length of a step of the random walk in bits; and modularity.
    """
    return _described(view, "infomap", "infomap_partition", ("codelength", "modularity"))


@measure("node", weight="abs", source=LAYERED)
def layered_community(view: View) -> Columns:
    """Community of a node under the layered null model, where chance links only layers that are linked: Leiden's
    communities, improved layer by layer (each node of a layer joins the community where it adds most) until nothing
    changes. 0 is the largest.
    """
    return _memberships(view, "layered_community")


@measure("graph", weight="abs", source=LAYERED)
def layered_community_partition(view: View) -> Columns:
    """Communities under the layered null model: how many of two or more nodes, how many nodes alone, the share of nodes
    in the largest; modularity under that null model, and under the usual one.
    """
    return _described(
        view, "layered_community", "layered_community_partition", ("layered_modularity", "modularity")
    )


@measure("graph", weight="signed", source=SIGNED)
def leiden_signed_modularity(view: View) -> Columns:
    """Signed modularity of Leiden's communities (which are found on |weight|): high if positive weights lie within
    communities and negative ones between them; and its parts, the modularity of positive and of negative weights alone.
    """
    names = tuple(f"leiden_signed_modularity{part}" for part in ("", "_positive", "_negative"))
    found = _found(view, "leiden")
    if isinstance(found, str):
        return undefined(view, found, names)
    values = signed_modularity(view.matrix, found.community)
    if np.isnan(values).any():
        view.note("undefined for a sign that no weight has")
    return dict(zip(names, values, strict=True))


@measure("graph", weight="signed", source="Vinh, Epps & Bailey 2010, JMLR 11")
def community_agreement(view: View) -> Columns:
    """Agreement of Leiden's communities (found on |weight|) with layers, and with the output that each node supports
    most by the sum over its paths: normalised (nmi) and adjusted (ami) mutual information, adjusted Rand index (ari); 1
    if they are the same, 0 for ami and ari if they agree as chance would. And the number of communities among outputs.
    """
    kinds = ("nmi", "ami", "ari")
    layers = tuple(f"community_agreement_layers_{kind}" for kind in kinds)
    outputs = tuple(f"community_agreement_outputs_{kind}" for kind in kinds)
    count = "community_agreement_outputs_communities"
    found = _found(view, "leiden")
    if isinstance(found, str):
        return undefined(view, found, (*layers, *outputs, count))
    columns: dict[str, float] = dict(zip(layers, agreement(found.community, view.layer_of), strict=True))
    supported, why = _supported(view)
    if why:
        columns.update(undefined(view, why, outputs))  # type: ignore[arg-type]
    else:
        some = supported >= 0
        columns.update(zip(outputs, agreement(found.community[some], supported[some]), strict=True))
    return {**columns, count: len(np.unique(found.community[view.outputs]))}


def _supported(view: View) -> tuple[np.ndarray, str]:
    """Tell which output each node supports most, or why that is undefined."""
    nothing = np.zeros(0, np.int64)
    if len(view.outputs) < 2:
        return nothing, "the network has fewer than two outputs to support"
    try:
        supported = strongest_outputs(view.graph, view.kinds)[0]
    except InputError as error:
        return nothing, str(error)
    return supported, "" if (supported >= 0).any() else "no path leads to an output"


def _memberships(view: View, algorithm: str) -> Columns:
    found = _found(view, algorithm)
    if isinstance(found, str):
        return undefined(view, found, (algorithm,), len(view.graph))
    return {algorithm: found.community}


def _described(view: View, algorithm: str, name: str, qualities: tuple[str, ...]) -> Columns:
    """Describe a division in numbers; of its qualities, those that are named."""
    names = tuple(f"{name}_{what}" for what in ("communities", "alone", "largest", *qualities))
    found = _found(view, algorithm)
    if isinstance(found, str):
        return undefined(view, found, names)
    sizes = np.bincount(found.community)
    known = {
        "modularity": lambda: modularity(view.matrix, found.community),
        "layered_modularity": lambda: layered_modularity(view.matrix, found.community, view.layer_of),
        "codelength": lambda: found.codelength,
    }
    values = [int((sizes > 1).sum()), int((sizes == 1).sum()), float(sizes.max() / sizes.sum())]
    return dict(zip(names, [*values, *(known[quality]() for quality in qualities)], strict=True))


# ---------------------------------------------------------------------- algorithms


class Division(NamedTuple):
    """Communities of nodes."""

    community: np.ndarray  # int64 (nodes,), 0 for the largest
    codelength: float = float("nan")


def _found(view: View, algorithm: str) -> Division | str:
    """Divide the nodes by an algorithm, on |weight| whichever the view shows, or say why not."""
    return view.once(algorithm, "abs", partial(_divided, algorithm))


def _divided(algorithm: str, view: View) -> Division | str:
    if not view.matrix.nnz:
        return "the graph has no edges"
    if view.matrix.nnz > MOST_EDGES[algorithm]:
        return f"left out: communities among {view.matrix.nnz:,} edges take long"
    return ALGORITHMS[algorithm](view)


def _leiden(view: View) -> Division:
    import igraph

    both = scipy.sparse.triu(view.matrix + view.matrix.T).tocoo()
    with paused_collector(), _seeded(view):
        made = igraph.Graph(len(view.graph), zip(both.row.tolist(), both.col.tolist(), strict=True))
        found = made.community_leiden("modularity", weights=both.data.tolist(), n_iterations=-1)
    return Division(by_size(np.array(found.membership)))


def _infomap(view: View) -> Division:
    with _seeded(view):
        found = view.igraph.community_infomap(edge_weights="weight", trials=TRIALS)
    return Division(by_size(np.array(found.membership)), float(found.codelength))


def _layered(view: View) -> Division:
    start = _found(view, "leiden")
    assert isinstance(start, Division)
    return Division(by_size(improve_layered(view.matrix, start.community, view.layer_of)))


ALGORITHMS: dict[str, Callable[[View], Division]] = {
    "leiden": _leiden,
    "infomap": _infomap,
    "layered_community": _layered,
}


def by_size(community: np.ndarray) -> np.ndarray:
    """Number communities by size, 0 for the largest; the one with the first node before others of its size."""
    _, first, place, sizes = np.unique(community, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return rank[place]


def improve_layered(edges: scipy.sparse.csr_array, community: np.ndarray, layer_of: np.ndarray) -> np.ndarray:
    """Raise the layered modularity of a division as Barber's BRIM does: one layer at a time, the others held fixed.

    No edge joins two nodes of a layer, so that its nodes can all choose at once, and no choice lowers the modularity.
    (Where links lead back into the same layer, a sweep that lowers it is undone, and is the last.)

    Parameters
    ----------
    edges : csr_array (nodes, nodes)
        Weights that are not negative.
    community, layer_of : int arrays (nodes,)

    Returns
    -------
    int64 array (nodes,)
    """
    sizes = np.bincount(community)
    taken = np.flatnonzero(sizes > 1)  # a node alone may join others, but none joins it
    if not len(taken):
        return community
    place = np.full(len(sizes), -1)
    place[taken] = np.arange(len(taken))
    best, quality = community.astype(np.int64), layered_modularity(edges, community, layer_of)
    current, layers = best.copy(), [np.flatnonzero(layer_of == layer) for layer in range(layer_of.max() + 1)]
    sides = _sides(edges, layers)
    for _ in range(SWEEPS):
        for nodes, linked in zip(layers, sides, strict=True):
            if not linked:
                continue
            gain = sum((_gain(block, current[others], taken) for others, block in linked), np.zeros(1))
            own, at, choice = place[current[nodes]], np.arange(len(nodes)), gain.argmax(1)
            stays = np.where(own >= 0, gain[at, own], 0.0)
            moves = gain[at, choice] > stays + 1e-12 * np.abs(stays)  # else rounding could go round in circles
            current[nodes[moves]] = taken[choice[moves]]
        found = layered_modularity(edges, current, layer_of)
        if not found > quality + 1e-12:
            break
        best, quality = current.copy(), found
    return best


if TYPE_CHECKING:
    Linked = list[tuple[np.ndarray, scipy.sparse.csr_array]]  # nodes of another layer, and the edges from or to them


def _sides(edges: scipy.sparse.csr_array, layers: list[np.ndarray]) -> list[Linked]:
    """Cut the edges into blocks between two layers; give each layer its blocks, with its own nodes as rows."""
    found: list[Linked] = [[] for _ in layers]
    for place, nodes in enumerate(layers):
        part = edges[nodes].tocsc()
        for other, others in enumerate(layers):
            block = part[:, others].tocsr()
            if block.nnz:
                found[place].append((others, block))
                found[other].append((nodes, block.T.tocsr()))
    return found


def _gain(block: scipy.sparse.csr_array, community: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Weight from each row to the columns of each community, less the expected one: float64 (rows, communities)."""
    members = (community[:, None] == taken).astype(float)
    into, out_of = block.sum(0), block.sum(1)
    return block @ members - np.outer(out_of, into @ members) / out_of.sum()


@contextmanager
def _seeded(view: View) -> Iterator[None]:
    """Let igraph draw from random numbers of the view's; afterwards from Python's again, as it does by default."""
    import igraph

    igraph.set_random_number_generator(random.Random(int(view.random.integers(2**63))))
    try:
        yield
    finally:
        igraph.set_random_number_generator(random)
