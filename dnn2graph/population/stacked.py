"""A population: many networks of one topology, their parameters stacked, measured all at once.

Nothing is unrolled and no network is taken out of the stack. N networks side by side are one network with N times the
groups: their kernels, stacked along the out-channels, are the kernel of one grouped convolution, and its strengths in
closed form are those of all members.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, WeightsError
from ..graph import Layer, NeuralGraph
from ..links import Convolution, Links
from ..links.sums import as_numpy
from ..measures.strength import check_options
from ..weights import Constant, Weights

if TYPE_CHECKING:
    import pandas as pd


class Population:
    """Networks of one topology.

    Parameters
    ----------
    graph : NeuralGraph
        Of any of them: layers and links are the same for all.
    weights : mapping from parameter name to tensor (members, *shape)
        The graph's parameters and buffers; those that are left out are the same for all, as ``graph`` has them.
    members : DataFrame, optional
        One row for each member: what is known of it, such as ``network``, ``step``, ``accuracy``.

    Raises
    ------
    WeightsError
        If the weights do not fit the graph, or not each other.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> models = [torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)) for _ in range(5)]
    >>> graph = dg.from_torch(models[0], torch.zeros(1, 4))
    >>> population = dg.Population.of(graph, [model.state_dict() for model in models])
    >>> population.strength().shape, population.fluctuation().shape
    ((5, 9), (5, 3))
    """

    def __init__(self, graph: NeuralGraph, weights: Weights, members: pd.DataFrame | None = None) -> None:
        names = graph.parameters()
        self.weights = {name: weights[name] for name in names if name in weights}
        if not names:
            raise WeightsError("the graph has no parameters: all networks of its topology are the same one")
        lengths = {len(tensor) if tensor.dim() else 0 for tensor in self.weights.values()}
        if len(lengths) != 1 or 0 in lengths:
            found = f"of {', '.join(map(str, sorted(lengths)))} members" if lengths else "that the graph does not need"
            raise WeightsError(
                f"a population needs weights stacked along a first axis, as many for each of {', '.join(names)}: "
                f"these are weights {found}"
            )
        (self._length,) = lengths
        self.members = members
        if members is not None and len(members) != len(self):
            raise InputError(f"the table of members has {len(members)} rows for the weights of {len(self)} networks")
        first = {name: tensor[0] for name, tensor in self.weights.items()}
        self.graph = graph.with_weights({**graph.weights, **first})

    @classmethod
    def of(
        cls, graph: NeuralGraph, state_dicts: Iterable[Weights], members: pd.DataFrame | None = None
    ) -> Population:
        """Stack state dicts of one architecture.

        Raises
        ------
        WeightsError
            If one of them does not fit the graph, or there is none.
        """
        fitting = [graph.with_weights(state_dict).weights for state_dict in state_dicts]
        if not fitting:
            raise WeightsError("there is no state dict to make a population of: give one at least")
        stacked = {name: torch.stack([weights[name].detach() for weights in fitting]) for name in graph.parameters()}
        return cls(graph, stacked, members)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, member: int) -> NeuralGraph:
        """Return the graph of one member."""
        if not -len(self) <= member < len(self):
            raise IndexError(f"there is no member {member} in a population of {len(self)}")
        own = {name: tensor[member] for name, tensor in self.weights.items()}
        return self.graph.with_weights({**self.graph.weights, **own})

    def __iter__(self) -> Iterator[NeuralGraph]:
        return (self[member] for member in range(len(self)))

    def __repr__(self) -> str:
        return f"Population({len(self):,} networks of {len(self.graph):,} nodes, {self.graph.granularity!r})"

    # ------------------------------------------------------------------ measures

    def strength(
        self,
        direction: str = "total",
        weight: str = "signed",
        kinds: Collection[str] | None = None,
        *,
        bias: bool = False,
    ) -> np.ndarray:
        """Strength of every node of every member, as :func:`dnn2graph.strength` gives it.

        Parameters
        ----------
        direction, weight, kinds, bias
            As of :func:`dnn2graph.strength`.

        Returns
        -------
        float64 array (members, nodes)
            Not finite where weights are not: a network that diverged in training is a member like any other.
        """
        check_options(direction, weight)
        totals = np.zeros((len(self), len(self.graph)))
        elsewhere = totals if direction == "total" else np.zeros_like(totals)
        into, out_of = (elsewhere, totals) if direction == "out" else (totals, elsewhere)
        with np.errstate(invalid="ignore", over="ignore"):
            for links in self.graph.select(kinds):
                self._add_strengths(links, into, out_of, weight)
            if bias:
                self._add_bias(into)
        return totals

    def fluctuation(
        self,
        direction: str = "total",
        weight: str = "signed",
        kinds: Collection[str] | None = None,
        *,
        bias: bool = False,
    ) -> np.ndarray:
        """Fluctuation of every layer of every member: float64 array (members, layers); see :meth:`strength`."""
        return layer_deviations(self.strength(direction, weight, kinds, bias=bias), self.graph.layers)

    def link_weights(self, kinds: Collection[str] | None = ("weight",)) -> dict[str, np.ndarray]:
        """Weights of the links that enter each layer, every entry of a kernel once, as the paper counts them.

        Returns
        -------
        dict of str to array (members, weights)
            By the names of the layers; those that no such links enter are absent. In the weights' own precision.
        """
        entering: dict[str, list[np.ndarray]] = {}
        for links in self.graph.select(kinds):
            assert links.target is not None
            values = as_numpy(self.kernels(links)).reshape(len(self), -1)
            entering.setdefault(links.target.name, []).append(values)
        return {name: values[0] if len(values) == 1 else np.hstack(values) for name, values in entering.items()}

    def kernels(self, links: Links) -> Tensor:
        """Evaluate the weight of some links for every member: (members, *map.kernel_shape)."""
        return self._stacked(links.kernel_of, links.weight.parameters())

    # ------------------------------------------------------------------ how

    def _stacked(self, evaluate: Callable[[Weights], Tensor], names: Iterable[str]) -> Tensor:
        """Evaluate something with the parameters of each member: (members, …)."""
        differing = {name: self.weights[name] for name in names if name in self.weights}
        with torch.no_grad():
            if not differing:
                alone = evaluate(self.graph.weights).detach()
                return alone.expand(len(self), *alone.shape)
            return torch.vmap(lambda own: evaluate({**self.graph.weights, **own}))(differing)

    def _add_strengths(self, links: Links, into: np.ndarray, out_of: np.ndarray, part: str) -> None:
        """Add the links' share to the in- and out-strengths of all nodes, float64 arrays (members, nodes)."""
        if links.is_irregular or not isinstance(links.map, Convolution):  # no stack of these has a closed form
            for member, kernel in enumerate(self.kernels(links)):
                replace(links, weight=Constant(kernel)).add_strengths(into[member], out_of[member], part)
            return
        if not any(name in self.weights for name in links.weight.parameters()):
            per_output, per_input = (sums.reshape(1, -1) for sums in links.sums(part))
        else:
            per_output, per_input = self._sums(links.map, self.kernels(links), part)
        links.target_nodes.add_to_each(into, per_output)
        links.source_nodes.add_to_each(out_of, per_input)

    def _sums(self, linear_map: Convolution, kernels: Tensor, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Sum the kernels (members, *kernel_shape) as those of one grouped convolution; (members, elements) each."""
        side_by_side = replace(
            linear_map,
            in_channels=len(self) * linear_map.in_channels,
            out_channels=len(self) * linear_map.out_channels,
            groups=len(self) * linear_map.groups,
        )
        per_output, per_input = side_by_side.sums(kernels.flatten(0, 1), part)
        return self._by_member(per_output), self._by_member(per_input)

    def _by_member(self, sums: np.ndarray) -> np.ndarray:
        """Bring (copies, members * channels, *positions) to (members, elements)."""
        apart = sums.reshape(len(sums), len(self), -1, *sums.shape[2:])
        return np.moveaxis(apart, 1, 0).reshape(len(self), -1)

    def _add_bias(self, into: np.ndarray) -> None:
        for layer in self.graph.layers:
            if layer.bias is not None:
                bias = self._stacked(partial(_bias, layer), layer.bias.parameters())
                into[:, layer.start : layer.stop] += as_numpy(bias)


def _bias(layer: Layer, weights: Weights) -> Tensor:
    assert layer.bias is not None
    return layer.bias.evaluate(weights).expand(layer.tensor_shape).reshape(-1)


def layer_deviations(values: np.ndarray, layers: Sequence[Layer]) -> np.ndarray:
    """Fluctuations, of the strengths (members, nodes) of several networks: float64 array (members, layers)."""
    with np.errstate(invalid="ignore", over="ignore"):
        parts = [values[:, layer.start : layer.stop] for layer in layers]
        return np.stack([part.std(1) if part.size else np.full(len(values), np.nan) for part in parts], 1)
