"""Recurrent layers, one time step after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..registry import operator
from .settings import numbers

if TYPE_CHECKING:
    from ..module import Step

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]

ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
}
DIRECTIONS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
DEFAULT = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


class Cell(nn.Module):
    """One direction of a layer: called once for each time step, with the same weights each time.

    Attributes
    ----------
    weights : tuple of Parameter
        Those of its step. A module with parameters is the same neurons each time it is called.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.weights: tuple[nn.Parameter, ...] = ()
        self.function = CELLS[step.node.operator]

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Iterate over the weights, which belong to the step."""
        return iter(self.weights)

    def forward(self, *args: Any) -> State:
        """Compute the next state."""
        return self.function(*args)


@operator("RNN", "GRU", "LSTM")
def recurrent(step: Step, x: Tensor, w: Tensor, r: Tensor, *rest: Tensor | None) -> tuple[Tensor, ...]:
    """One or both directions; the results of all time steps, and the last states."""
    b, lengths, hidden, cell, peepholes = (list(rest) + [None] * 5)[:5]
    directions = DIRECTIONS[step.get("direction", "forward")]
    _check(step, x, numbers(step, 4, lengths) if len(step.node.inputs) > 4 else None, peepholes)
    by_sample = step.get("layout", 0)
    x = x.transpose(0, 1) if by_sample else x  # (time, samples, features)
    states = [_initial(step, x, t, len(directions), r.shape[-1]) for t in (hidden, cell)]
    outputs, last = [], []
    for place, backwards in enumerate(directions):
        gates = r.shape[1]
        input_bias, state_bias = (None, None) if b is None else (b[place, :gates], b[place, gates:])
        state = tuple(each[place] for each in (states if step.node.operator == "LSTM" else states[:1]))
        weights = (w[place], r[place], input_bias, state_bias)
        functions, found = _functions(step, place), []
        cell_at = step.cells[place]
        for time in reversed(range(len(x))) if backwards else range(len(x)):
            state = cell_at(step, x[time], state, weights, functions)
            found.append(state[0])
        outputs.append(torch.stack(found[::-1] if backwards else found))
        last.append(state)
    every = torch.stack(outputs, 1)  # (time, directions, samples, units)
    finals = [torch.stack(same) for same in zip(*last, strict=True)]  # (directions, samples, units)
    if by_sample:
        every, finals = every.permute(2, 0, 1, 3), [final.transpose(0, 1) for final in finals]
    return (every, *finals)


def _check(step: Step, x: Tensor, lengths: list[int] | None, peepholes: Tensor | None) -> None:
    times = x.shape[1 if step.get("layout", 0) else 0]
    if lengths and set(lengths) != {times}:
        raise step.refuse(f"samples of different lengths, {lengths}")
    if peepholes is not None or step.get("clip") or step.get("input_forget", 0):
        raise step.refuse("peepholes, clip and input_forget")


def _initial(step: Step, x: Tensor, given: Tensor | None, directions: int, units: int) -> Tensor:
    """Return the states at the start, (directions, samples, units)."""
    if given is None:
        return torch.zeros(directions, x.shape[1], units, dtype=x.dtype)
    given = given.transpose(0, 1) if step.get("layout", 0) else given
    return given[:, : x.shape[1]]  # a file may hold as many copies as it was made for samples


def _functions(step: Step, place: int) -> list[Activation]:
    """Return the activations of one direction."""
    default = DEFAULT[step.node.operator]
    names = step.get("activations") or default * 2
    names = [name.lower() for name in names[place * len(default) : (place + 1) * len(default)]]
    if unknown := [name for name in names if name not in ACTIVATIONS]:
        raise step.refuse(f"the activation '{unknown[0]}' of a recurrent layer")
    return [ACTIVATIONS[name] for name in names]


def _rnn(step: Step, x: Tensor, state: State, weights: Any, functions: list[Activation]) -> State:
    w, r, input_bias, state_bias = weights
    return (functions[0](F.linear(x, w, input_bias) + F.linear(state[0], r, state_bias)),)


def _lstm(step: Step, x: Tensor, state: State, weights: Any, functions: list[Activation]) -> State:
    w, r, input_bias, state_bias = weights
    hidden, cell = state
    gate, candidate, result = functions
    i, o, f, c = (F.linear(x, w, input_bias) + F.linear(hidden, r, state_bias)).chunk(4, -1)
    cell = gate(f) * cell + gate(i) * candidate(c)
    return gate(o) * result(cell), cell


def _gru(step: Step, x: Tensor, state: State, weights: Any, functions: list[Activation]) -> State:
    w, r, input_bias, state_bias = weights
    (hidden,) = state
    gate, candidate = functions
    z, t, n = F.linear(x, w, input_bias).chunk(3, -1)
    bias_zr, bias_n = (None, None) if state_bias is None else state_bias.split([2 * hidden.shape[-1], hidden.shape[-1]])
    r_zr, r_n = r.split([2 * hidden.shape[-1], hidden.shape[-1]])
    from_z, from_r = F.linear(hidden, r_zr, bias_zr).chunk(2, -1)
    update, reset = gate(z + from_z), gate(t + from_r)
    if step.get("linear_before_reset", 0):
        new = candidate(n + reset * F.linear(hidden, r_n, bias_n))
    else:
        new = candidate(n + F.linear(reset * hidden, r_n, bias_n))
    return ((1 - update) * new + update * hidden,)


CELLS: dict[str, Callable[..., State]] = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
