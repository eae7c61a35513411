"""Recurrent modules, run as loops of plain operations: gates become neurons, and steps of time can be folded.

torch computes whole sequences in one operation that nothing can be seen of. While a model is watched, its recurrent
modules compute the same with the operations of their definition, one step of time after the other. Every gate is a
part of the module by a name of its own, so that its neurons are the same at each step where steps are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

if TYPE_CHECKING:
    from .modules import ModuleStack

State = tuple[Tensor, ...]  # hidden values, and with LSTMs those of the cells
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
Weights = tuple[Tensor | None, ...]  # in that order: input to hidden, hidden to hidden, both biases, projection


@contextmanager
def stepwise(model: nn.Module, stack: ModuleStack) -> Iterator[None]:
    """Let the recurrent modules of a model run step by step; put everything back at the end."""
    changed = []
    try:
        for module in model.modules():
            run = _forward_of(module)
            if run is not None:
                module.__dict__["forward"] = _bound(run, module, stack)
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.__dict__["forward"]


def _forward_of(module: nn.Module) -> Callable[..., Any] | None:
    """Choose how a module runs; None where it is no recurrent one, or has a forward of its own."""
    for kind, run in ((nn.RNNBase, sequence_forward), (nn.RNNCellBase, cell_forward)):
        if isinstance(module, kind) and type(module).__module__ == nn.LSTM.__module__ and "forward" not in vars(module):
            return run
    return None


def _bound(run: Callable[..., Any], module: nn.Module, stack: ModuleStack) -> Callable[..., Any]:
    return lambda *args, **kwargs: run(module, stack, *args, **kwargs)


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


def sequence_forward(module: Any, stack: ModuleStack, input: Any, hx: Any = None) -> Any:
    """Run the stacked layers of ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` in both directions, if it has both."""
    packed = input if isinstance(input, PackedSequence) else None
    batched = packed is not None or input.dim() == 3
    if packed is not None:
        steps = list(packed.data.split(packed.batch_sizes.tolist()))
    else:
        x = input if batched else input.unsqueeze(1)
        steps = list((x.transpose(0, 1) if module.batch_first and batched else x).unbind(0))
    directions = 2 if module.bidirectional else 1
    given = _given_states(module, hx, packed, batched)
    last: list[State] = []
    for layer in range(module.num_layers):
        results = []
        for direction in range(directions):
            name = f"l{layer}" + ("_reverse" if direction else "")
            weights = tuple(getattr(module, f"{each}_{name}", None) for each in WEIGHTS)
            state = None if given is None else tuple(part[layer * directions + direction] for part in given)
            with stack.part(name):
                width, backwards = module.hidden_size, bool(direction)
                outputs, state = run_layer(stack, module.mode, steps, state, weights, width, backwards)
            results.append(outputs)
            last.append(state)
        steps = results[0] if directions == 1 else [torch.cat(pair, -1) for pair in zip(*results, strict=True)]
    states: Any = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
    if packed is not None:
        if packed.unsorted_indices is not None:
            states = tuple(part.index_select(1, packed.unsorted_indices) for part in states)
        order = packed.sorted_indices, packed.unsorted_indices
        output: Any = PackedSequence(torch.cat(steps), packed.batch_sizes, *order)
    else:
        output = torch.stack(steps, 1 if module.batch_first and batched else 0)
        if not batched:
            output, states = output.squeeze(1), tuple(part.squeeze(1) for part in states)
    return output, (states if module.mode == "LSTM" else states[0])


def _given_states(module: Any, hx: Any, packed: PackedSequence | None, batched: bool) -> State | None:
    """Bring given initial states to (layers * directions, samples, features) each."""
    if hx is None:
        return None
    states = hx if isinstance(hx, tuple) else (hx,)
    if packed is not None and packed.sorted_indices is not None:
        return tuple(part.index_select(1, packed.sorted_indices) for part in states)
    return states if batched else tuple(part.unsqueeze(1) for part in states)


def run_layer(
    stack: ModuleStack,
    mode: str,
    steps: list[Tensor],
    state: State | None,
    weights: Weights,
    hidden_size: int,
    reverse: bool,
) -> tuple[list[Tensor], State]:
    """Run one layer in one direction over the steps of time; the samples of a packed sequence end one by one.

    Returns
    -------
    outputs : list of tensor (samples of that step, features)
    state
        Of every sample, after its last step.
    """
    samples = max(len(x) for x in steps)
    if state is None:
        features = hidden_size if weights[4] is None else len(weights[4])
        state = (steps[0].new_zeros(samples, features),)
        if mode == "LSTM":
            state += (steps[0].new_zeros(samples, hidden_size),)
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
