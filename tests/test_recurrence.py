"""Recurrent networks: a cyclic graph of constant size when folded, one copy for each step when unfolded."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import dnn2graph as dg
from dnn2graph.coverage import coverage
from dnn2graph.trace import watch
from dnn2graph.trace.registry import rule_for
from dnn2graph.verify import check_dependency
from tests.strategies import Net, fill
from tests.test_trace import edges


def x(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def weighted(module):
    """Number the weights of a module with one input and one hidden unit: 1, 2, … from the input, then from itself."""
    with torch.no_grad():
        count = module.weight_ih_l0.numel()
        module.weight_ih_l0.copy_(torch.arange(1.0, count + 1)[:, None])
        module.weight_hh_l0.copy_(torch.arange(count + 1.0, 2 * count + 1)[:, None])
        module.bias_ih_l0.copy_(torch.arange(10.0, 10 + count))
        module.bias_hh_l0.fill_(0.5)
    return module


def named(graph, kinds=None):
    """List edges of a graph of layers with one node each: {(source layer, target layer): weight}."""
    names = [layer.name.removeprefix("l0.") for layer in graph.layers for _ in range(layer.size)]
    return {(names[i], names[j]): w for (i, j), w in edges(graph, kinds).items()}


def layers(graph):
    return {layer.name: layer for layer in graph.layers}


# --- by hand ---------------------------------------------------------------------------------------------------------

GATES = ["input_gate", "forget_gate", "candidate", "output_gate"]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_folded_rnn_is_a_unit_that_feeds_itself(length):
    graph = dg.from_torch(weighted(nn.RNN(1, 1, batch_first=True)), torch.zeros(1, length, 1))
    assert edges(graph) == {(0, 1): 1, (1, 1): 2}
    assert edges(graph, "recurrent") == {(1, 1): 2}
    assert graph.bias().tolist() == [0, 10.5]
    assert graph.layers[1].activation == "tanh"


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_folded_lstm_has_its_gates_as_neurons_and_leads_back_where_its_state_is_read(length):
    graph = dg.from_torch(weighted(nn.LSTM(1, 1, batch_first=True)), torch.zeros(1, length, 1))
    expected = {("input", gate): place + 1 for place, gate in enumerate(GATES)}
    expected |= {("hidden", gate): place + 5 for place, gate in enumerate(GATES)}
    expected |= {("forget_gate", "kept"): 1, ("cell", "kept"): 1, ("input_gate", "written"): 1}
    expected |= {("candidate", "written"): 1, ("kept", "cell"): 1, ("written", "cell"): 1, ("cell", "cell.tanh"): 1}
    expected |= {("output_gate", "hidden"): 1, ("cell.tanh", "hidden"): 1}
    assert named(graph) == expected
    assert named(graph, "recurrent").keys() == {*(("hidden", gate) for gate in GATES), ("cell", "kept")}
    by_name = layers(graph)
    assert [by_name[f"l0.{gate}"].activation for gate in GATES] == ["sigmoid", "sigmoid", "tanh", "sigmoid"]
    assert [graph.bias()[by_name[f"l0.{gate}"].start] for gate in GATES] == [10.5, 11.5, 12.5, 13.5]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_folded_gru_resets_its_past_and_keeps_a_share_of_it(length):
    graph = dg.from_torch(weighted(nn.GRU(1, 1, batch_first=True)), torch.zeros(1, length, 1))
    expected = {("input", "reset_gate"): 1, ("input", "update_gate"): 2, ("input", "candidate"): 3}
    expected |= {("hidden", "reset_gate"): 4, ("hidden", "update_gate"): 5, ("hidden", "candidate.hidden"): 6}
    expected |= {("reset_gate", "candidate.reset"): 1, ("candidate.hidden", "candidate.reset"): 1}
    expected |= {("candidate.reset", "candidate"): 1, ("update_gate", "update_gate.rest"): -1}
    expected |= {("update_gate.rest", "written"): 1, ("candidate", "written"): 1}
    expected |= {("update_gate", "kept"): 1, ("hidden", "kept"): 1, ("written", "hidden"): 1, ("kept", "hidden"): 1}
    assert named(graph) == expected
    back = {("hidden", "reset_gate"), ("hidden", "update_gate"), ("hidden", "candidate.hidden"), ("hidden", "kept")}
    assert named(graph, "recurrent").keys() == back
    assert graph.bias()[layers(graph)["l0.update_gate.rest"].start] == 1


def test_an_unfolded_rnn_has_a_copy_for_each_step_and_leads_nowhere_back():
    model = weighted(nn.RNN(1, 1, batch_first=True))
    graph = dg.from_torch(model, torch.zeros(1, 3, 1), "position", shared="unfold")
    assert edges(graph) == {(0, 3): 1, (1, 4): 1, (2, 5): 1, (3, 4): 2, (4, 5): 2}
    assert edges(graph, "recurrent") == {}
    assert graph.bias().tolist() == [0, 0, 0, 10.5, 10.5, 10.5]


@pytest.mark.parametrize("length", [1, 3])
def test_a_given_state_is_an_input_beside_the_loop(length):
    model = weighted(nn.RNN(1, 1))
    graph = dg.from_torch(model, (torch.zeros(length, 1, 1), torch.zeros(1, 1, 1)), batch_axis=1)
    assert [layer.name for layer in graph.inputs] == ["input", "input2"]
    assert edges(graph) == {(0, 2): 1, (1, 2): 2, (2, 2): 2}
    assert edges(graph, "recurrent") == {(2, 2): 2}


@pytest.mark.parametrize("length", [1, 3])
def test_a_learned_state_is_a_constant_beside_the_loop(length):
    def forward(self, x):
        return self.rnn(x, self.start.expand(1, len(x), 1))[0]

    model = Net(forward, rnn=weighted(nn.RNN(1, 1, batch_first=True)), start=nn.Parameter(torch.full((1, 1, 1), 4.0)))
    graph = dg.from_torch(model, torch.zeros(1, length, 1))
    assert [layer.kind for layer in graph.layers] == ["input", "constant", "sum"]
    assert edges(graph) == {(0, 2): 1, (1, 2): 2, (2, 2): 2}
    assert graph.bias().tolist() == [0, 4, 10.5]
    assert "start" in graph.parameters()


def test_a_cell_in_a_loop_is_a_unit_that_feeds_itself():
    def forward(self, x):
        h = None
        for step in x.unbind(1):
            h = self.cell(step, h)
        return h

    cell = nn.RNNCell(1, 1, nonlinearity="relu", bias=False)
    with torch.no_grad():
        cell.weight_ih.fill_(3)
        cell.weight_hh.fill_(5)
    for length in (1, 4):
        graph = dg.from_torch(Net(forward, cell=cell), torch.zeros(1, length, 1))
        assert edges(graph) == {(0, 1): 3, (1, 1): 5}
        assert edges(graph, "recurrent") == {(1, 1): 5}


def test_a_cell_that_is_called_once_with_a_given_state_does_not_feed_itself():
    graph = dg.from_torch(nn.RNNCell(2, 3), (torch.zeros(1, 2), torch.zeros(1, 3)))
    assert {links.kind for links in graph.links} == {"weight"}
    assert graph.number_of_edges() == 3 * 2 + 3 * 3


def test_two_directions_are_two_loops_and_stacked_layers_read_both():
    graph = dg.from_torch(nn.RNN(2, 3, 2, bidirectional=True, batch_first=True), torch.zeros(1, 4, 2))
    assert [layer.shape for layer in graph.layers] == [(2,), (3,), (3,), (3,), (3,)]
    back = [each for each in graph.links if each.kind == "recurrent"]
    assert [(each.sources[0].name, each.target.name, each.nnz) for each in back] == [
        (name, name, 9) for name in ("l0.hidden", "l0_reverse.hidden", "l1.hidden", "l1_reverse.hidden")
    ]
    ahead = {each.target.name: each.nnz for each in graph.links if each.kind == "weight"}
    assert ahead == {"l0.hidden": 6, "l0_reverse.hidden": 6, "l1.hidden": 18, "l1_reverse.hidden": 18}


def test_the_size_of_a_folded_graph_does_not_depend_on_the_length():
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        model = kind(3, 4, 2, batch_first=True, bidirectional=True)
        graphs = [dg.from_torch(model, torch.zeros(1, length, 3)) for length in (1, 2, 9)]
        assert len({(len(graph), graph.number_of_edges(), len(graph.links)) for graph in graphs}) == 1
        assert graphs[0].folded
        assert [sorted(edges(graph, "recurrent")) for graph in graphs[1:]] == [
            sorted(edges(graphs[0], "recurrent"))
        ] * 2


def test_a_folded_loop_is_not_replayed():
    graph = dg.from_torch(nn.GRU(2, 3, batch_first=True), torch.zeros(1, 1, 2), "position")
    with pytest.raises(dg.InputError, match="unfold"):
        graph.replay(torch.zeros(1, 1, 2))


# --- oracles ---------------------------------------------------------------------------------------------------------


def stepping(self, sequence):
    state = None
    for step in sequence.unbind(1):
        state = self.cell(step, state)
    return state


def packed(self, sequence):
    lengths, in_order = torch.tensor([3, 1, 2])[: len(sequence)], len(sequence) < 3
    together = pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=in_order)
    result, last = self.inner(together)
    return pad_packed_sequence(result, batch_first=True)[0], last


def from_a_learned_state(self, sequence):
    return self.inner(sequence, self.start.expand(1, len(sequence), 2).contiguous())


CASES = {
    "lstm": (lambda: nn.LSTM(3, 2, batch_first=True), (4, 3, 3), {}),
    "one step": (lambda: nn.LSTM(3, 2, batch_first=True), (4, 1, 3), {}),
    "gru": (lambda: nn.GRU(3, 2, batch_first=True), (4, 3, 3), {}),
    "tanh": (lambda: nn.RNN(3, 2, batch_first=True), (4, 3, 3), {}),
    "relu": (lambda: nn.RNN(3, 2, nonlinearity="relu"), (3, 4, 3), {"batch_axis": 1}),
    "unbatched": (lambda: nn.GRU(3, 2), (3, 3), {"batch_axis": None}),
    "no bias": (lambda: nn.LSTM(3, 2, bias=False, batch_first=True), (4, 2, 3), {}),
    "stacked": (lambda: nn.GRU(3, 2, 3, batch_first=True, dropout=0.5), (4, 2, 3), {}),
    "both directions": (lambda: nn.LSTM(3, 2, 2, batch_first=True, bidirectional=True), (4, 3, 3), {}),
    "projected": (lambda: nn.LSTM(3, 4, 2, batch_first=True, proj_size=2), (4, 3, 3), {}),
    "packed": (lambda: Net(packed, inner=nn.LSTM(3, 2, batch_first=True)), (3, 3, 3), {"batch_axis": None}),
    "learned state": (
        lambda: Net(from_a_learned_state, inner=nn.GRU(3, 2, batch_first=True), start=nn.Parameter(x(1, 1, 2))),
        (4, 3, 3),
        {},
    ),
    "lstm cell": (lambda: Net(stepping, cell=nn.LSTMCell(3, 2)), (4, 3, 3), {}),
    "gru cell": (lambda: Net(stepping, cell=nn.GRUCell(3, 2)), (4, 3, 3), {}),
    "rnn cell": (lambda: Net(stepping, cell=nn.RNNCell(3, 2)), (4, 3, 3), {}),
}


@pytest.mark.parametrize("granularity", ["channel", "position"])
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_recurrence_is_verified_when_unfolded(case, granularity):
    build, shape, options = CASES[case]
    model, sequence = fill(build(), 0).double(), x(*shape)
    graph = dg.from_torch(model, sequence, granularity, shared="unfold", **options)
    assert "recurrent" not in {each.kind for each in graph.links}
    found = dg.verify(model, graph, sequence)
    assert found.ok, found
    assert found.max_rel_error < 1e-14


@pytest.mark.parametrize("shared", ["fold", "unfold"])
@pytest.mark.parametrize("case", CASES)
def test_paths_through_every_kind_of_recurrence_are_its_derivatives(case, shared):
    build, shape, options = CASES[case]
    model, sequence = build().double(), x(*shape)
    graph = dg.from_torch(model, sequence, shared=shared, **options)
    found = check_dependency(model, graph, sequence)
    assert found.ok, found
    # Samples that are packed together are one sample here; folded, they share the neurons that each step gives them.
    assert not found.spurious or (case, shared) == ("packed", "fold"), found


@pytest.mark.parametrize("case", CASES)
def test_the_weights_of_folded_recurrence_are_verified(case):
    build, shape, options = CASES[case]
    model, sequence = fill(build(), 0).double(), x(*shape)
    graph = dg.from_torch(model, sequence, **options)
    assert "recurrent" in {each.kind for each in graph.links}
    assert dg.verify(model, graph, sequence).ok
    # a state of zeros, from which the only step begins, passes through no weight
    wrong = next(name for name in graph.weights if ("weight_ih" if case == "one step" else "weight_hh") in name)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state[wrong] += 0.25
    assert not dg.verify(model, graph.with_weights(state), sequence).ok


def test_a_given_state_is_verified_and_followed():
    model = fill(nn.LSTM(3, 2), 0).double()
    example = x(3, 4, 3), (x(1, 4, 2), 0.5 * x(1, 4, 2))
    for shared in ("fold", "unfold"):
        graph = dg.from_torch(model, example, shared=shared, batch_axis=1)
        assert dg.verify(model, graph, example).ok
        found = check_dependency(model, graph, example)
        assert found.ok, found
        assert not found.spurious, found


def test_a_function_of_a_sequence_is_the_same_as_its_module():
    module = fill(nn.LSTM(3, 2, 2, bidirectional=True), 0).double()

    def forward(self, x):
        zeros = x.new_zeros(4, x.shape[1], 2)
        return torch.lstm(x, (zeros, zeros), self.layers._flat_weights, True, 2, 0.0, False, True, False)[0]

    model, sequence = Net(forward, layers=module), x(5, 2, 3)
    graph = dg.from_torch(model, sequence, batch_axis=1)
    assert "recurrent" in {links.kind for links in graph.links}
    assert dg.verify(model, graph, sequence).ok
    other = dg.from_torch(Net(lambda self, x: self.layers(x)[0], layers=module), sequence, batch_axis=1)
    assert graph.number_of_edges() == other.number_of_edges()


def test_a_subclass_of_a_recurrent_module_may_call_it():
    class Doubling(nn.GRU):
        def forward(self, sequence):
            return super().forward(2 * sequence)[0]

    model, sequence = fill(Doubling(3, 2, batch_first=True), 0).double(), x(2, 4, 3)
    graph = dg.from_torch(model, sequence)
    assert "recurrent" in {links.kind for links in graph.links}
    assert dg.verify(model, graph, sequence).ok


def test_torch_is_as_it_was_when_a_model_has_been_watched():
    before = [torch._VF.lstm, torch.lstm, torch._VF.rnn_relu]
    dg.from_torch(nn.LSTM(2, 2), torch.zeros(3, 1, 2), batch_axis=1)
    with pytest.raises(dg.ModelError):
        dg.from_torch(nn.LSTM(2, 2), torch.zeros(3, 1, 5), batch_axis=1)
    assert [torch._VF.lstm, torch.lstm, torch._VF.rnn_relu] == before


def test_random_numbers_between_layers_are_refused():
    def forward(self, x):
        zeros = x.new_zeros(2, x.shape[1], 2)
        return torch.gru(x, zeros, self.layers._flat_weights, True, 2, 0.5, True, False, False)[0]

    model = Net(forward, layers=nn.GRU(3, 2, 2))
    with pytest.raises(dg.UnsupportedOperation, match="random numbers enter the activations"):
        dg.from_torch(model, torch.ones(4, 1, 3), batch_axis=1)


def test_a_subclass_with_a_forward_of_its_own_is_left_to_it():
    class Doubling(nn.GRUCell):
        def forward(self, step, state):
            return 2 * step

    graph = dg.from_torch(Doubling(2, 2), (torch.zeros(1, 2), torch.zeros(1, 2)))
    assert edges(graph) == {(0, 4): 2, (1, 5): 2}


class CellInALoop(nn.Module):
    def __init__(self, features, hidden, **options):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(features, hidden), nn.Linear(hidden, 2)

    def forward(self, x):
        state = x.new_zeros(len(x), 3), x.new_zeros(len(x), 3)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0])


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, CellInALoop])
def test_steps_that_read_the_same_nodes_are_watched_once(kind, monkeypatch):
    def watched(length):
        seen = []
        monkeypatch.setattr(watch, "rule_for", lambda func, *others: seen.append(func) or rule_for(func, *others))
        found = coverage(model, torch.zeros(1, length, 2))
        counts = {met.operation: met.count for met in found.operations}
        return seen.count(torch.ops.aten.tanh.default), counts["aten.tanh.default"]

    model = kind(2, 3, batch_first=True, bidirectional=True)
    (few, ran), (many, ran_longer) = watched(4), watched(40)
    assert few == many
    assert ran_longer == 10 * ran
