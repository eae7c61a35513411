"""The dependency oracle: paths are where derivatives are not zero, and every parameter that matters is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.verify import check_dependency
from tests.memory import tensors_peak_of
from tests.networks import NETWORKS, mlp_2_2_1, overwritten_in_place
from tests.strategies import Net


def grouped():
    return nn.Sequential(nn.Conv1d(4, 4, 3, groups=2, padding=1), nn.ReLU(), nn.Conv1d(4, 6, 1, groups=2))


def test_channels_of_different_groups_do_not_depend_on_each_other():
    model, x = grouped(), torch.randn(2, 4, 5)
    graph = dg.from_torch(model, x)
    found = check_dependency(model, graph, x)
    assert found.ok
    assert found.spurious == ()
    assert found.pairs == 4 * 6
    assert found.draws == 3
    assert str(found) == "the graph joins all that the model joins: 24 pairs of input and output channels compared"


def test_links_that_are_missing_are_found():
    model, x = grouped(), torch.randn(2, 4, 5)
    graph = dg.from_torch(model, x)
    cut = replace(graph, links=graph.links[:1])
    found = check_dependency(model, cut, x)
    assert not found
    assert [str(pair) for pair in found.missing[:2]] == ["input[0] → output 0[0]", "input[0] → output 0[1]"]
    assert len(found.missing) == 4 * 3
    assert "and 4 more" in str(found)
    assert found.unrepresented == ("2.weight",)


def test_links_that_join_too_much_are_told_apart():
    model = Net(lambda self, x: x @ (self.w * self.mask), w=nn.Parameter(torch.ones(3, 3)))
    model.mask = torch.ones(3, 3)
    graph = dg.from_torch(model, torch.zeros(1, 3))
    model.mask = torch.ones(3, 3).triu()  # from each input to itself and to those behind it
    found = check_dependency(model, graph, torch.zeros(1, 3))
    assert found.ok
    assert [(pair.channel, pair.output_channel) for pair in found.spurious] == [(1, 0), (2, 0), (2, 1)]


def test_a_bias_that_is_missing_is_found():
    model = mlp_2_2_1()
    graph = dg.from_torch(model, torch.zeros(1, 2))
    bare = replace(graph, layers=tuple(replace(layer, bias=None) for layer in graph.layers))
    assert check_dependency(model, graph, torch.zeros(1, 2)).ok
    assert check_dependency(model, bare, torch.zeros(1, 2)).unrepresented == ("0.bias", "2.bias")


def test_parameters_under_several_names_count_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x).tanh())

    model = Tied()
    assert check_dependency(model, dg.from_torch(model, torch.zeros(1, 3)), torch.zeros(1, 3)).ok


def test_parameters_that_move_nothing_need_not_be_there():
    model = Net(lambda self, x: self.a(x) + 0 * self.b(x), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    found = check_dependency(model, dg.from_torch(model, torch.zeros(1, 2)), torch.zeros(1, 2))
    assert found.ok
    assert found.unrepresented == ()


def test_a_unit_that_rests_in_one_draw_is_no_break():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].bias.fill_(-100)  # all rest at the model's own weights
    found = check_dependency(model, dg.from_torch(model, torch.zeros(1, 3)), torch.zeros(1, 3), draws=6)
    assert found.ok
    assert found.spurious == ()


def test_weights_modes_and_gradients_are_put_back():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(), nn.BatchNorm1d(2)).train()
    model[0].bias.requires_grad_(False)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    assert check_dependency(model, dg.from_torch(model, torch.zeros(1, 3)), torch.zeros(1, 3)).ok
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in model.parameters())


def test_the_gradients_of_a_training_are_left_alone():
    model = mlp_2_2_1()
    model(torch.ones(1, 2)).sum().backward()
    before = [p.grad.clone() for p in model.parameters()]
    check_dependency(model, dg.from_torch(model, torch.zeros(1, 2)), torch.zeros(1, 2))
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(model.parameters(), before, strict=True))


def test_no_more_is_held_at_once_than_the_weights_and_a_copy_of_them():
    model = nn.Sequential(nn.Linear(2, 64), *(nn.Linear(64, 64) for _ in range(15)))
    graph = dg.from_torch(model, torch.zeros(1, 2))
    found, peak = tensors_peak_of(check_dependency, model, graph, torch.zeros(1, 2))
    assert found.ok
    assert peak < 2.5 * sum(p.nbytes for p in model.parameters())


def test_weights_are_put_back_where_the_model_raises():
    def forward(self, x):
        if not torch.equal(self.a.weight, self.start):
            raise RuntimeError("other weights")
        return self.a(x)

    model = Net(forward, a=nn.Linear(2, 2))
    model.start = model.a.weight.detach().clone()
    graph = dg.from_torch(model, torch.zeros(1, 2))
    with pytest.raises(dg.ModelError, match="other weights"):
        check_dependency(model, graph, torch.zeros(1, 2))
    assert torch.equal(model.a.weight, model.start)


def test_tokens_are_followed_from_the_features_of_their_embedding():
    model = nn.Sequential(nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    tokens = torch.tensor([[1, 2, 3]])
    found = check_dependency(model, dg.from_torch(model, tokens), tokens)
    assert found.ok
    assert found.pairs == 4 * 2
    assert found.unchecked == ()
    forgotten = nn.Sequential(nn.Embedding(7, 4), Net(lambda self, x: x[..., :2] * 2))
    found = check_dependency(forgotten, dg.from_torch(forgotten, tokens), tokens)
    assert found.ok
    assert found.spurious == ()


def test_whole_numbers_that_no_embedding_reads_are_named():
    model = Net(lambda self, x, n: self.a(x) * n, a=nn.Linear(2, 2))
    example = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.long)
    found = check_dependency(model, dg.from_torch(model, example), example)
    assert found.ok
    assert found.unchecked == ("input2",)


def test_a_derivative_that_the_model_cuts_is_a_spurious_path():
    model = Net(lambda self, x: self.a(x.detach()) + x, a=nn.Linear(2, 2))
    found = check_dependency(model, dg.from_torch(model, torch.zeros(1, 2)), torch.zeros(1, 2))
    assert found.ok
    assert [(pair.channel, pair.output_channel) for pair in found.spurious] == [(0, 1), (1, 0)]


def test_a_derivative_that_is_no_number_is_no_dependence():
    model, x = Net(lambda self, x: x.sqrt() + self.shift, shift=nn.Parameter(torch.zeros(3))), torch.ones(1, 3)
    found = check_dependency(model, dg.from_torch(model, x), x)  # inputs are drawn, and half of them are negative
    assert found.ok
    assert found.missing == ()


def test_a_model_without_derivatives_is_told():
    model, x = Net(lambda self, x: torch.floor_divide(self.a(x), 0.5), a=nn.Linear(2, 2)), torch.ones(1, 2)
    with pytest.raises(dg.ModelError, match=r"has no derivatives to compare paths with.*floor_divide"):
        check_dependency(model, dg.from_torch(model, x), x)


def test_a_graph_that_holds_for_the_example_is_compared_at_the_example():
    model = Net(lambda self, x: self.a(x) if x.sum() > 0 else self.b(x), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    x = torch.ones(1, 2)
    found = check_dependency(model, dg.from_torch(model, x), x)
    assert found.ok
    assert found.draws == 0


def test_of_many_outputs_some_are_compared():
    model = nn.Linear(3, 100)
    found = check_dependency(model, dg.from_torch(model, torch.zeros(1, 3)), torch.zeros(1, 3), outputs=10)
    assert found.ok
    assert found.pairs == 3 * 10


def test_a_position_graph_is_refused():
    model = nn.Linear(3, 2)
    with pytest.raises(dg.InputError, match="granularity='channel'"):
        check_dependency(model, dg.from_torch(model, torch.zeros(1, 3), "position"), torch.zeros(1, 3))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("simplify", [True, False])
def test_usual_networks_have_exactly_the_paths_of_their_derivatives(network, simplify):
    model, x = NETWORKS[network](), torch.randn(1, 2, 6, 6)
    found = check_dependency(model, dg.from_torch(model, x, simplify=simplify), x)
    assert found.ok, found
    assert found.spurious == ()


def test_values_that_are_overwritten_in_place_are_followed():
    model = Net(lambda self, x: overwritten_in_place(self.a(x)), a=nn.Linear(8, 8))
    found = check_dependency(model, dg.from_torch(model, torch.ones(1, 8)), torch.ones(1, 8), draws=8)
    assert found.ok, found
    assert found.pairs == 8 * 6  # what is overwritten is no neuron
    assert found.spurious == ()


@pytest.mark.parametrize(
    "kept_as", [nn.Parameter, nn.Buffer, torch.Tensor.detach], ids=["parameter", "buffer", "attribute"]
)
def test_sparse_tensors_are_compared_at_their_own_values(kept_as):
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = kept_as(torch.tensor([[1.0, 0, 2], [0, 0, 3]]).to_sparse())

        def forward(self, x):
            return torch.sparse.mm(self.weight, x.t()).t()

    model, x = Sparse(), torch.randn(2, 3)
    found = check_dependency(model, dg.from_torch(model, x), x)
    assert found.ok
    assert found.spurious == ()
    assert found.pairs == 3 * 2
