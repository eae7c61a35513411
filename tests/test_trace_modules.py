"""Models that hide what they do: parametrised weights, precision, control flow, compiled and scripted parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import dnn2graph as dg
from dnn2graph.verify import check_dependency
from tests.networks import overwritten_in_place
from tests.oracles import assert_represented, random
from tests.strategies import Net
from tests.test_trace import between, edges, linear, names


def pruned():
    from torch.nn.utils import prune

    model = linear([[1, 2], [3, 4]])
    prune.custom_from_mask(model, "weight", torch.tensor([[1, 0], [1, 1]]))
    return model


def test_what_is_pruned_is_no_edge():
    graph = dg.from_torch(pruned(), torch.zeros(1, 2))
    assert edges(graph) == {(0, 2): 1, (0, 3): 3, (1, 3): 4}
    assert set(graph.parameters()) == {"weight_orig", "weight_mask"}


def test_a_normalised_weight_is_an_expression_of_its_parts():
    model = nn.utils.parametrizations.weight_norm(nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model.parametrizations.weight.original0.fill_(10)
        model.parametrizations.weight.original1.copy_(torch.tensor([[3.0, 4.0]]))
    graph = dg.from_torch(model, torch.zeros(1, 2))
    assert list(edges(graph).values()) == pytest.approx([6, 8])
    assert len(graph.parameters()) == 2


PARAMETRISED = {
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 2)),
    "old weight norm": lambda: nn.utils.weight_norm(nn.Linear(2, 3)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 3)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(3, 3)),
    "pruned": pruned,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", PARAMETRISED)
@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_parametrised_weights_are_verified(case, granularity):
    model = PARAMETRISED[case]().double()
    x = random(3, 2, 4) if isinstance(model, nn.Conv1d) else random(3, 3 if case == "orthogonal" else 2)
    graph = dg.from_torch(model, x, granularity)
    assert dg.verify(model, graph, x).ok
    if granularity == "channel":
        assert check_dependency(model, graph, x, draws=1).ok


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_that_computes_in_half_precision_is_verified_within_it(dtype):
    def forward(self, x):
        with torch.autocast("cpu", dtype):
            return self.b(self.a(x).relu()).float()

    model, x = Net(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3)), torch.randn(3, 4)
    graph = dg.from_torch(model, x)
    assert graph.dtype == torch.float32  # of the parameters
    found = dg.verify(model, graph, x)
    assert found.ok, found
    assert found.tolerance == 2e-2


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


HIDDEN = {
    "checkpointed": lambda: Net(lambda self, x: checkpoint(self.a, x, use_reentrant=False), a=nn.Linear(4, 3)),
    "with a function of its own": lambda: Net(lambda self, x: Doubled.apply(self.a(x)), a=nn.Linear(4, 3)),
    "scripted": lambda: Net(
        lambda self, x: self.a(x), a=torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).double())
    ),
    "compiled": lambda: Net(
        lambda self, x: self.a(x), a=torch.compile(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), backend="eager")
    ),
    "without gradients": lambda: Net(lambda self, x: torch.no_grad()(self.a)(x), a=nn.Linear(4, 3)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", HIDDEN)
def test_parts_that_hide_their_operations_are_represented(case):
    assert_represented(HIDDEN[case](), random(3, 4), exactly=case != "without gradients")


def test_a_conditional_takes_the_branch_of_the_example():
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: self.a(x), lambda x: self.b(x), (x,))

    model = Net(forward, a=linear([[1, 2], [3, 4]]), b=linear([[5, 6], [7, 8]]))
    for sign, weights in ((1, [[1, 3], [2, 4]]), (-1, [[5, 7], [6, 8]])):
        x = sign * torch.ones(1, 2)
        graph = dg.from_torch(model, x)
        assert between(graph, *names(graph)[-2:]).tolist() == weights
        assert "Net: torch.cond depends on the input's values, the graph shows what the example gave" in graph.notes
        assert dg.verify(model, graph, x).ok


def test_what_stands_in_for_functions_of_torch_is_taken_away_again():
    from torch.nn.attention import flex_attention as flexible

    before = torch.cond, torch.batch_norm, nn.functional.one_hot, flexible.flex_attention_hop
    dg.from_torch(nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(dg.ModelError):
        dg.from_torch(nn.Linear(2, 2), torch.zeros(1, 3))
    assert (torch.cond, torch.batch_norm, nn.functional.one_hot, flexible.flex_attention_hop) == before


def test_in_place_operations_and_views_are_represented():
    def forward(self, x):
        y = overwritten_in_place(self.a(x))
        return self.b(y.view(len(x), 2, -1).transpose(1, 2).flatten(1))

    assert_represented(Net(forward, a=nn.Linear(4, 8), b=nn.Linear(8, 3)), random(3, 4))


def test_views_of_nothing_are_views():
    model = Net(lambda self, x: self.a(x) + sum(x[:, :0].unbind(1)), a=nn.Linear(3, 2))
    assert not dg.from_torch(model, random(1, 3).float()).notes


def test_a_loop_that_depends_on_values_runs_as_often_as_for_the_example():
    def forward(self, x):
        while x.norm() > 1:
            x = self.a(x) * 0.1
        return x

    model = Net(forward, a=linear([[1, 2], [3, 4]]))
    graph = dg.from_torch(model, torch.full((1, 2), 20.0), shared="unfold")
    steps = 6  # each shortens by the largest eigenvalue: 28.3 * 0.54 ** 6 < 1
    assert sum(links.kind == "weight" for links in graph.links) == steps
    assert dg.verify(model, graph, torch.full((1, 2), 20.0)).ok


def doubled_after_a_view(self):
    b = self.b.bias.clone()
    view = b[1:]
    b.mul_(2)
    return b + torch.cat([view, view[:1]])


def in_part(self):
    b = self.b.bias.clone()
    b[1:].zero_()
    return b


def among_numbers(self):
    z = torch.zeros(3, dtype=self.b.bias.dtype)
    z[1:] = self.b.bias[:2]
    z[2] = 5.0
    z[0] = self.b.weight[0, 0]
    return z


def onto_numbers(self):
    z = torch.full((3,), 2.0, dtype=self.b.bias.dtype)
    z.mul_(self.b.bias)
    z[:2] += self.b.bias[1:]
    return z


def transposed(self):
    w = (self.b.weight * 2).t()
    w[::2, 1].add_(self.b.bias[:2])
    return w[0]


@pytest.mark.parametrize("shift", [doubled_after_a_view, in_part, among_numbers, onto_numbers, transposed])
def test_what_is_written_in_place_among_parameters_follows_other_weights(shift):
    def make():
        return Net(lambda self, x: F.linear(x, self.b.weight, shift(self)), b=nn.Linear(3, 3)).double()

    model, other, x = make(), make(), random(4, 3)
    assert_represented(model, x)
    for granularity in ("channel", "position"):
        graph = dg.from_torch(model, x, granularity)
        found = dg.verify(other, graph.with_weights(other.state_dict()), x)
        assert found.ok, found
    with torch.device("meta"):
        hollow = make()
    graph = dg.from_torch(hollow, x, "position").with_weights(model.state_dict())
    torch.testing.assert_close(graph.replay(x), model(x))


def part_is_assigned(self, x):
    h = self.start.expand(len(x), 4).clone()
    h[:, 1:3] = self.a(x)
    return h * 2


def part_is_added_to(self, x):
    h = (self.start.expand(len(x), 4) * 3).clone()
    h[:, 1:3] += self.a(x)
    return h


def both_are_assigned(self, x):
    h = x.new_zeros(len(x), 4)
    h[:, 0] = self.start[0, 2]
    h[:, 1:3] = self.a(x)
    return h


def learned_is_assigned_last(self, x):
    h = self.a(x).repeat(1, 2)
    h[:, 3:] = self.start[:, :1]
    return h


@pytest.mark.parametrize(
    "forward", [part_is_assigned, part_is_added_to, both_are_assigned, learned_is_assigned_last]
)
def test_neurons_that_are_written_in_place_among_parameters_leave_those_that_stay(forward):
    def make():
        return Net(forward, a=nn.Linear(3, 2), start=nn.Parameter(torch.randn(1, 4))).double()

    model, other, x = make(), make(), random(1, 3)
    assert_represented(model, x)
    for granularity in ("channel", "position"):
        graph = dg.from_torch(model, x, granularity)
        found = dg.verify(other, graph.with_weights(other.state_dict()), random(5, 3))
        assert found.ok, found
    with torch.device("meta"):
        hollow = make()
    graph = dg.from_torch(hollow, x, "position").with_weights(model.state_dict())
    torch.testing.assert_close(graph.replay(x), model(x))


def test_numbers_in_the_shape_of_a_parameter_are_no_parameter():
    def forward(self, x):
        h = torch.zeros_like(self.a.weight[:1])
        h[:, 1:] = self.a(x)
        return h

    graph = dg.from_torch(Net(forward, a=nn.Linear(3, 2)), random(1, 3).float(), "position")
    assert graph.number_of_nodes() == 5
