"""Who is tied to whom: assortativity, rich clubs, reciprocity."""

from __future__ import annotations

from math import ceil

import numpy as np

from .measure import Columns, measure
from .view import View

SIDES = ("in", "out")
CLUBS = (0.05, 0.1, 0.2)  # of all nodes

FOSTER = "Newman 2003, Phys. Rev. E 67:026126; Foster, Foster, Grassberger & Paczuski 2010, PNAS 107:10815"


@measure("graph", weight="unweighted", source=FOSTER)
def assortativity_degree(view: View) -> Columns:
    """Correlation, over all edges, of a degree of the source with a degree of the target; ``_out_in`` is that of the
    source's out-degree with the target's in-degree. Where layers are dense, their widths decide it.
    """
    return _assortativity(view, "assortativity_degree")


@measure("graph", weight="abs", source=FOSTER)
def assortativity_strength(view: View) -> Columns:
    """Correlation, over all edges, of a strength of the source with a strength of the target, both of |w|; ``_out_in``
    is that of the source's out-strength with the target's in-strength.
    """
    return _assortativity(view, "assortativity_strength")


@measure("graph", weight="unweighted", source="Newman 2003, Phys. Rev. E 67:026126, equation 2")
def assortativity_layer(view: View) -> Columns:
    """Whether edges join nodes of the same layer: 1 if all do; the share that does, less what chance would give,
    relative to the most it could be. Negative in a feed-forward graph, where none does.
    """
    source, target = _ends(view)
    layers = len(view.graph.layers)
    edges = max(1, len(source))
    left = np.bincount(view.layer_of[source], minlength=layers) / edges
    entered = np.bincount(view.layer_of[target], minlength=layers) / edges
    chance = float(left @ entered)
    within = float(np.count_nonzero(view.layer_of[source] == view.layer_of[target])) / edges
    if not len(source) or chance == 1:
        view.note("NaN: there are no edges" if not len(source) else "NaN: all edges are within one layer")
        return {"assortativity_layer": np.nan}
    return {"assortativity_layer": (within - chance) / (1 - chance)}


@measure("graph", weight="unweighted", source="Zhou & Mondragón 2004; Colizza et al. 2006, Nature Physics 2:110")
def rich_club(view: View) -> Columns:
    """Edges among the nodes of the highest degree (the best 5, 10 and 20 %, and all that equal the last of them), as a
    share of all ordered pairs of them; and ``_ratio``, relative to the edges that they would have among them if each
    pair of layers were wired at random with every node's degrees: the sum of k_out(i) k_in(j) / m over pairs.
    """
    columns = {}
    for name, members, among, ratio in _clubs(view, "rich_club"):
        count = np.count_nonzero(members)
        columns[name] = len(among) / (count * (count - 1)) if count > 1 else np.nan
        columns[f"{name}_ratio"] = ratio
    return _with_note(view, columns, "NaN: so few nodes, or none of them, have edges among them")


@measure("graph", weight="abs", source="Opsahl, Colizza, Panzarasa & Ramasco 2008, Phys. Rev. Lett. 101:168702")
def rich_club_weighted(view: View) -> Columns:
    """Weight |w| among the nodes of the highest strength (the best 5, 10 and 20 %), as a share of the most that so many
    edges of the graph weigh; and ``_ratio``, relative to the weight that would be among them if the weight between each
    pair of layers were spread by every node's strengths: the sum of s_out(i) s_in(j) / W over pairs.
    """
    heaviest = np.cumsum(np.sort(view.matrix.data)[::-1])
    columns = {}
    for name, _, among, ratio in _clubs(view, "rich_club_weighted"):
        columns[name] = float(among.sum() / heaviest[len(among) - 1]) if len(among) else np.nan
        columns[f"{name}_ratio"] = ratio
    return _with_note(view, columns, "NaN: so few nodes, or none of them, have edges among them")


@measure("graph", weight="unweighted", source="Newman, Forrest & Balthrop 2002, Phys. Rev. E 66:035101")
def reciprocity(view: View) -> Columns:
    """Share of the edges between different nodes for which there is one in the other direction: 0 in a feed-forward
    graph, where only recurrent links return.
    """
    return {"reciprocity": _returned(view)}


@measure("graph", weight="abs", source="Squartini, Picciolo, Ruzzenenti & Garlaschelli 2013, Sci. Rep. 3:2729")
def reciprocity_weighted(view: View) -> Columns:
    """Share of the weight |w| between different nodes that is returned: the sum of min(|w_ij|, |w_ji|) over the sum of
    |w_ij|. 0 in a feed-forward graph.
    """
    return {"reciprocity_weighted": _returned(view)}


def _ends(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Source and target of every edge, in the order of the matrix."""
    matrix = view.matrix
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices


def _assortativity(view: View, name: str) -> Columns:
    source, target = _ends(view)
    strength = {"in": view.matrix.sum(axis=0), "out": view.matrix.sum(axis=1)}
    columns = {
        f"{name}_{first}_{second}": _correlation(strength[first][source], strength[second][target])
        for first in SIDES
        for second in SIDES
    }
    return _with_note(view, columns, "NaN: all edges have the same value at one end, or there are none")


def _with_note(view: View, columns: dict[str, float], why: str) -> Columns:
    """Say why a value is missing, if one is."""
    if any(np.isnan(value) for value in columns.values()):
        view.note(why)
    return columns


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; NaN where a side is constant, but for rounding."""
    if not len(first) or np.ptp(first) <= 1e-12 * np.abs(first).max() or np.ptp(second) <= 1e-12 * np.abs(second).max():
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])


def _clubs(view: View, name: str) -> list[tuple[str, np.ndarray, np.ndarray, float]]:
    """For each club: the name of its column, its members, the weights among them, and these over what is expected."""
    source, target = _ends(view)
    weights, layers = view.matrix.data, len(view.graph.layers)
    pair = view.layer_of[source] * layers + view.layer_of[target]
    count = view.matrix.shape[0]
    richness = view.matrix.sum(axis=0) + view.matrix.sum(axis=1)

    def per_pair(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(pair[chosen], weights[chosen], layers**2).astype(float)  # of nothing, it is int

    total, found = per_pair(np.ones(len(source), bool)), []
    for share in CLUBS:
        least = np.sort(richness)[::-1][ceil(share * count) - 1] if count else 0
        members = (richness >= least) & (richness > 0)
        from_club, to_club = members[source], members[target]
        possible = per_pair(from_club) * per_pair(to_club)
        expected = float(np.divide(possible, total, out=np.zeros_like(total), where=total > 0).sum())
        among = weights[from_club & to_club]
        ratio = float(among.sum()) / expected if expected else np.nan
        found.append((f"{name}_{round(100 * share)}", members, among, ratio))
    return found


def _returned(view: View) -> float:
    """Share of the weight that goes both ways, self-loops apart."""
    source, target = _ends(view)
    others = float(view.matrix.data[source != target].sum())
    if not others:
        view.note("NaN: there are no edges between different nodes")
        return np.nan
    both = view.matrix.minimum(view.transposed)
    return float(both.sum() - both.diagonal().sum()) / others
