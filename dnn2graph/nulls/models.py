"""Null models: the same layers and nodes with other weights, drawn so that some of the graph's properties are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..graph import NeuralGraph
from ..links import Links, Listed, Scaled
from ..weights import Call, Constant, Expression, transposed
from .exchange import carried, meeting
from .initialisation import Model, initialised
from .rewiring import can_be_rewired, rewired
from .shuffles import normal, resigned, shuffled
from .streams import Seed, stream


@dataclass(frozen=True)
class Kind:
    """What a kind of null model keeps, in words, and what a graph drawn from it is called."""

    adjective: str
    keeps: str


KINDS = {
    "weight-shuffle": Kind("weight-shuffled", "the edges, and the weights of each links as a whole"),
    "in-weight-shuffle": Kind("in-weight-shuffled", "the edges, and the in-strength of every node"),
    "out-weight-shuffle": Kind("out-weight-shuffled", "the edges, and the out-strength of every node"),
    "sign-shuffle": Kind("sign-shuffled", "the edges, their |w|, and the number of negative weights of each links"),
    "rewire": Kind("rewired", "the degrees, in and out, and the out-strength of every node"),
    "initialisation": Kind("freshly initialised", "the architecture"),
    "gaussian": Kind("Gaussian", "the edges, and the mean and standard deviation of each links' weights"),
}
Shuffle = Callable[[Tensor, tuple[int, ...], Tensor | None, tuple[int, ...]], Tensor]


def null_model(
    graph: NeuralGraph,
    kind: str,
    seed: Seed,
    *,
    kinds: Collection[str] = ("weight",),
    model: Model | None = None,
    initialisation: str | None = None,
    support: float | None = None,
) -> NeuralGraph:
    r"""Draw a graph from a null model: the same layers and nodes, other weights.

    Nothing is unrolled: a null model is a graph whose weight expressions permute, or draw anew, what the graph's give.
    It follows the parameters as the graph does, and takes :meth:`.NeuralGraph.with_weights`. Each links is drawn apart
    from the others; tied weights, the same expression in several links, stay tied (also transposed, unless in- or
    out-strengths or degrees are kept). Biases are left as they are. A weight of exactly zero is no edge, and stays.

    Parameters
    ----------
    graph : NeuralGraph
    kind : str
        ``"weight-shuffle"``: the weights of each links are permuted, which keeps their distribution and nothing of
        who has which. Entries of a convolution's kernel are permuted as a whole, with all the edges that carry them,
        among those that equally many edges carry (at a border fewer do).

        ``"in-weight-shuffle"``: each node's in-weights are permuted among its sources, which keeps its in-strength up
        to the rounding of a sum in another order. In position granularity, taps are exchanged only if the same
        positions meet them.

        ``"out-weight-shuffle"``: the same of out-weights among targets.

        ``"sign-shuffle"``: the signs of each links' weights are permuted.

        ``"rewire"``: the configuration model within each links of a pruned or sparsified graph: edges between other
        nodes, by the curveball algorithm [1]_, no pair twice. In- and out-degree of every node are kept; a weight stays
        with its source. Links with no other wiring, such as dense ones, stay as they are.

        ``"initialisation"``: fresh parameters (all of them, biases too).

        ``"gaussian"``: normally distributed weights with exactly the mean and the standard deviation of each links'
        weights.
    seed : int or sequence of int
        The same graph, kind and seed give the same graph, in every process and on every machine.
    kinds : collection of str
        Kinds of links that are drawn; the others stay.
    model : Module or callable, optional
        Of "initialisation": the model, of which a copy has every ``reset_parameters()`` called, or a function without
        arguments that builds a fresh one. Default: by the parameters' shapes, as torch initialises linear and
        convolutional layers (uniform within ``1 / sqrt(fan_in)``), and normalisation (weight 1, bias 0, mean 0,
        variance 1). Masks of pruning are kept.
    initialisation, support : str and float, optional
        Of "initialisation": one of the paper's instead, ``"normal"``, ``"uniform"``, ``"truncated"`` or
        ``"variance-scaling"``; see :func:`dnn2graph.population.initialisation.draw`.

    Returns
    -------
    NeuralGraph

    Raises
    ------
    InputError
        If an option is unknown, no links are of these kinds, or nothing can be rewired.
    WeightsError
        If weights are NaN or infinite; the message names the layer.

    References
    ----------
    .. [1] Strona et al. 2014, "A fast and unbiased procedure to randomize ecological binary matrices with fixed row and
       column totals", Nature Communications 5, 4114.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.nulls import null_model
    >>> layer = torch.nn.Linear(3, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[1.0, 2.0, 4.0]])
    >>> graph = dg.from_torch(layer, torch.zeros(1, 3))
    >>> null = null_model(graph, "weight-shuffle", seed=1)
    >>> sorted(null.links[0].kernel()[0].tolist()), dg.strength(null)[3]
    ([1.0, 2.0, 4.0], np.float64(7.0))
    """
    check(graph, kind, kinds, model=model, initialisation=initialisation, support=support)
    return draw(graph, kind, seed, kinds, model=model, initialisation=initialisation, support=support)


def check(graph: NeuralGraph, kind: str, kinds: Collection[str], **options: Any) -> None:
    """Refuse what no null model can be drawn from; see :func:`null_model`."""
    if kind not in KINDS:
        raise InputError(f"kind={kind!r} is unknown: choose from {', '.join(KINDS)}")
    graph.check_finite()
    given = [name for name, value in options.items() if value is not None]
    if kind == "initialisation":
        return
    if given:
        raise InputError(f"{given[0]}= belongs to kind='initialisation', the kind is {kind!r}: leave it out")
    links = graph.select(kinds)
    if not links:
        raise InputError(f"the graph has no links of kinds {', '.join(kinds)}: there is nothing to draw")
    for each in links:
        if isinstance(each.map, Scaled):
            name = each.target.name if each.target else "?"
            raise InputError(
                f"the weights of links to layer {name!r} are scaled by what flows along them: draw from the graph of "
                "the network, and scale what was drawn"
            )
    if kind == "rewire" and not any(each.is_irregular or can_be_rewired(each) for each in links):
        names = ", ".join(dict.fromkeys(repr(each.target.name) for each in links if each.target))
        raise InputError(
            f"nothing can be rewired: no other edges give the links to {names} the same degrees, since every pair of "
            "nodes is linked, or the pairs are nested; prune the model or sparsify the graph first"
        )


def draw(graph: NeuralGraph, kind: str, seed: Seed, kinds: Collection[str], **options: Any) -> NeuralGraph:
    """Draw from a null model; see :func:`null_model`, which checks first."""
    if kind == "initialisation":
        return initialised(graph, seed, **options)
    chosen = {id(each) for each in graph.select(kinds)}
    return replace(graph, links=tuple(_drawn(each, kind, seed) if id(each) in chosen else each for each in graph.links))


def _drawn(links: Links, kind: str, seed: Seed) -> Links:
    match kind:
        case "weight-shuffle":
            weight = _with(shuffled, links, carried(links), kind, seed)
        case "in-weight-shuffle":
            weight = _with(shuffled, links, meeting(links, "target"), kind, seed)
        case "out-weight-shuffle":
            weight = _with(shuffled, links, meeting(links, "source"), kind, seed)
        case "sign-shuffle":
            weight = _with(resigned, links, carried(links), kind, seed)
        case "gaussian":
            weight = _with(normal, links, carried(links), kind, seed)
        case _:
            return rewired(links, stream(seed, kind, links.weight, links.map.kernel_shape))
    return replace(links, weight=weight)


def _with(function: Shuffle, links: Links, table: np.ndarray | None, kind: str, seed: Seed) -> Expression:
    """Put a function around the weight expression, inside of transpositions that do not matter to it."""
    shape, turned, inner = links.map.kernel_shape, False, links.weight
    while table is None and len(shape) == 2 and isinstance(inner, Call) and transposed(inner) is inner.args[0]:
        shape, turned, inner = shape[::-1], not turned, inner.args[0]
    given = None if table is None else torch.from_numpy(np.ascontiguousarray(table))
    made = Call(function, (inner, shape, given, stream(seed, kind, inner, shape)))
    return transposed(made) if turned else made


def as_drawn(graph: NeuralGraph, kinds: Collection[str]) -> NeuralGraph:
    """Evaluate what was drawn, once and for all: measures that follow read it several times."""
    chosen = {id(each) for each in graph.select(kinds)}
    links = (replace(each, weight=Constant(each.kernel())) if id(each) in chosen else each for each in graph.links)
    return replace(graph, links=tuple(links))


def unchanged(graph: NeuralGraph, null: NeuralGraph) -> list[str]:
    """Name the layers that are entered by links which a null model left as they are."""
    names = [
        before.target.name
        for before, after in zip(graph.links, null.links, strict=True)
        if before is not after and before.target is not None and _same(before, after)
    ]
    return list(dict.fromkeys(names))


def _same(before: Links, after: Links) -> bool:
    one, other = before.map, after.map
    if isinstance(one, Listed) and isinstance(other, Listed) and not np.array_equal(one.target, other.target):
        return False  # both are in the order of their sources
    return bool(torch.equal(before.kernel(), after.kernel()))


def kinds_of(kinds: Sequence[str] | str) -> tuple[str, ...]:
    """Take one kind of links for a collection of one."""
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)
