"""Recurrent modules, run as loops of plain operations: gates become neurons, and steps of time can be folded.

torch computes whole sequences in one operation that nothing can be seen of. While a model is watched, its recurrent
modules compute the same with the operations of their definition, one step of time after the other. Every gate is a
part of the module by a name of its own, so that its neurons are the same at each step where steps are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from .modules import ModuleStack

State = tuple[Tensor, ...]  # hidden values, and with LSTMs those of the cells
Weights = tuple[Tensor | None, ...]  # input to hidden, hidden to hidden, both biases, projection
SEQUENCES = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN_TANH", "rnn_relu": "RNN_RELU"}  # functions of torch._VF


@contextmanager
def stepwise(model: nn.Module, stack: ModuleStack) -> Iterator[None]:
    """Let recurrent cells, and torch's functions of whole sequences, run step by step; put everything back at the end.

    Modules such as ``nn.LSTM``, and programs that were exported from them, call these functions.
    """
    cells = [module for module in model.modules() if _is_cell(module)]
    functions = [(place, name, getattr(place, name)) for place in (torch, torch._VF) for name in SEQUENCES]
    try:
        for module in cells:
            module.__dict__["forward"] = partial(cell_forward, module, stack)
        for place, name, function in functions:
            setattr(place, name, partial(run_sequence, stack, SEQUENCES[name], function))
        yield
    finally:
        for module in cells:
            del module.__dict__["forward"]
        for place, name, function in functions:
            setattr(place, name, function)


def _is_cell(module: nn.Module) -> bool:
    """Whether a module is one of torch's cells, without a forward of its own."""
    own = type(module).__module__ != nn.LSTM.__module__ or "forward" in vars(module)
    return isinstance(module, nn.RNNCellBase) and not own


def cell_forward(module: Any, stack: ModuleStack, input: Tensor, hx: Any = None) -> Any:
    """Run a cell once."""
    mode = {nn.LSTMCell: "LSTM", nn.GRUCell: "GRU"}.get(type(module)) or f"RNN_{module.nonlinearity.upper()}"
    weights = (module.weight_ih, module.weight_hh, module.bias_ih, module.bias_hh, None)
    given = hx if isinstance(hx, tuple) else (hx,)
    zeros = input.new_zeros(*input.shape[:-1], module.hidden_size)
    if hx is None:
        given = (zeros, zeros.clone()) if mode == "LSTM" else (zeros,)
    since = stack.number_of_links()
    begin = _begin(stack, given)
    state = stack.on_step(partial(step, stack, mode, input, begin, weights), (input, *begin))
    if hx is None:  # what is given may come from elsewhere each time; a cell that feeds itself leads back by itself
        _close(stack, begin, state, since)
    return state if mode == "LSTM" else state[0]


def run_sequence(stack: ModuleStack, mode: str, function: Callable[..., Any], *args: Any) -> tuple[Tensor, ...]:
    """Run stacked layers, in both directions if there are two, over steps of time.

    The arguments are those of torch's own functions: (input, states, weights, has_biases, layers, dropout, training,
    bidirectional, batch_first), or those of packed samples, (data, samples of each step, states, weights, …).
    """
    packed = not isinstance(args[3], bool)
    x, *counts = args[:2] if packed else args[:1]
    states, flat, has_biases, layers, dropout, training, bidirectional, *batch_first = args[len(counts) + 1 :]
    if training and dropout and layers > 1:
        return tuple(function(*args))  # between its layers are random numbers
    first = bool(batch_first and batch_first[0])
    steps = list(x.split(counts[0].tolist()) if packed else (x.transpose(0, 1) if first else x).unbind(0))
    names = [f"l{layer}{ending}" for layer in range(layers) for ending in ("", "_reverse")[: 1 + bidirectional]]
    weights = _by_direction(flat, len(names), has_biases)
    given = list(zip(*(states if mode == "LSTM" else (states,)), strict=True))
    results: list[list[Tensor]] = []
    last: list[State] = []
    for place, name in enumerate(names):
        with stack.part(name):
            outputs, state = run_layer(stack, mode, steps, given[place], weights[place], name.endswith("_reverse"))
        results.append(outputs)
        last.append(state)
        if len(results) == 1 + bidirectional:
            steps = [torch.cat(each, -1) if bidirectional else each[0] for each in zip(*results, strict=True)]
            results = []
    output = torch.cat(steps) if packed else torch.stack(steps, 1 if first else 0)
    return output, *(torch.stack(parts) for parts in zip(*last, strict=True))


def _by_direction(flat: Sequence[Tensor], directions: int, has_biases: bool) -> list[Weights]:
    """Divide a list of all weights among the directions of all layers."""
    count = len(flat) // directions
    found: list[Weights] = []
    for start in range(0, len(flat), count):
        w_ih, w_hh, *others = flat[start : start + count]
        biases = others[:2] if has_biases else [None, None]
        projection = others[-1] if len(others) % 2 else None
        found.append((w_ih, w_hh, *biases, projection))
    return found


def run_layer(
    stack: ModuleStack,
    mode: str,
    steps: list[Tensor],
    state: State,
    weights: Weights,
    reverse: bool,
) -> tuple[list[Tensor], State]:
    """Run one layer in one direction over the steps of time; the samples of a packed sequence end one by one.

    Returns
    -------
    outputs : list of tensor (samples of that step, features)
    state
        Of every sample, after its last step.
    """
    since = stack.number_of_links()
    begin = state = _begin(stack, state)
    outputs: list[Tensor] = []
    for x in reversed(steps) if reverse else steps:
        running = tuple(part[: len(x)] for part in state)
        after = stack.on_step(partial(step, stack, mode, x, running, weights), (x, *running))
        outputs.append(after[0])
        rest = tuple(part[len(x) :] for part in state)  # of samples that have ended, or not begun
        state = tuple(torch.cat(both) if len(both[1]) else both[0] for both in zip(after, rest, strict=True))
    _close(stack, begin, after, since)
    return outputs[::-1] if reverse else outputs, state


def _begin(stack: ModuleStack, state: State) -> State:
    """Let initial values that are no neurons be told from others, until the loop is closed."""
    return tuple(stack.on_initial_state(part) for part in state)


def _close(stack: ModuleStack, begin: State, end: State, since: int) -> None:
    for before, after in zip(begin, end, strict=True):
        stack.on_final_state(before, after, since)


def step(stack: ModuleStack, mode: str, x: Tensor, state: State, weights: Weights) -> State:
    """Compute the next state (samples, features) from the input and the state before."""
    if mode == "LSTM":
        return _lstm_step(stack, x, state, weights)
    if mode == "GRU":
        return _gru_step(stack, x, state, weights)
    function = torch.relu if mode == "RNN_RELU" else torch.tanh
    return (_gate(stack, "hidden", x, state[0], weights, (0, 1), function),)


def _lstm_step(stack: ModuleStack, x: Tensor, state: State, weights: Weights) -> State:
    h, c = state
    gates = [("input_gate", torch.sigmoid), ("forget_gate", torch.sigmoid), ("candidate", torch.tanh)]
    gates.append(("output_gate", torch.sigmoid))
    i, f, g, o = (_gate(stack, name, x, h, weights, (k, 4), fn) for k, (name, fn) in enumerate(gates))
    with stack.part("kept"):
        kept = f * c
    with stack.part("written"):
        written = i * g
    with stack.part("cell"):
        c = kept + written
    with stack.part("cell.tanh"):
        seen = torch.tanh(c)
    with stack.part("hidden"):
        h = o * seen
    if weights[4] is not None:
        with stack.part("projected"):
            h = F.linear(h, weights[4])
    return h, c


def _gru_step(stack: ModuleStack, x: Tensor, state: State, weights: Weights) -> State:
    (h,) = state
    r = _gate(stack, "reset_gate", x, h, weights, (0, 3), torch.sigmoid)
    z = _gate(stack, "update_gate", x, h, weights, (1, 3), torch.sigmoid)
    w_ih, w_hh, b_ih, b_hh = (_part(w, (2, 3)) for w in weights[:4])
    with stack.part("candidate.hidden"):
        past = F.linear(h, w_hh, b_hh)
    with stack.part("candidate.reset"):
        past = r * past
    with stack.part("candidate.input"):
        new = F.linear(x, w_ih, b_ih)
    with stack.part("candidate"):
        new = new + past
    with stack.part("candidate.tanh"):
        new = torch.tanh(new)
    with stack.part("update_gate.rest"):
        rest = 1 - z
    with stack.part("written"):
        written = rest * new
    with stack.part("kept"):
        kept = z * h
    with stack.part("hidden"):
        return (written + kept,)


def _gate(
    stack: ModuleStack,
    name: str,
    x: Tensor,
    h: Tensor,
    weights: Weights,
    place: tuple[int, int],
    function: Callable[[Tensor], Tensor],
) -> Tensor:
    """Compute ``function(W x + V h + b)`` with one of the equal parts that the weights are stacked from."""
    w_ih, w_hh, b_ih, b_hh = (_part(w, place) for w in weights[:4])
    bias = None if b_ih is None or b_hh is None else b_ih + b_hh
    with stack.part(f"{name}.from_input"):
        from_input = F.linear(x, w_ih, bias)
    with stack.part(f"{name}.from_hidden"):
        from_hidden = F.linear(h, w_hh)
    with stack.part(name):
        total = from_input + from_hidden
    with stack.part(f"{name}.function"):
        return function(total)


def _part(weight: Tensor | None, place: tuple[int, int]) -> Any:
    """Take one of several equal parts along the first axis."""
    if weight is None or place[1] == 1:
        return weight
    size = len(weight) // place[1]
    return weight.narrow(0, place[0] * size, size)
