"""What of a model its graph represents, told by hand for small ones; and graphs without gates."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.coverage import Coverage, Met, coverage
from tests.commands import run
from tests.strategies import Net


def test_everything_of_a_plain_network_is_represented():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    found = coverage(model, torch.zeros(1, 4))
    assert found.ok
    assert found.share == 1.0
    assert found.represented == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert found.operations == (
        Met("aten.addmm.default", 2, "linear.biased_product"),
        Met("aten.relu.default", 1, "pointwise.elementwise"),
    )
    assert (found.missing, found.unread, found.unused, found.unsupported, found.cut) == ((),) * 5


def test_parameters_that_are_not_represented_are_told_apart():
    def forward(self, x):
        self.aside(x)
        return self.a(x)

    model = Net(forward, a=nn.Linear(3, 2, bias=False), aside=nn.Linear(3, 5), idle=nn.Linear(2, 2))
    found = coverage(model, torch.zeros(1, 3))
    assert found.represented == ("a.weight",)
    assert found.unread == ("aside.weight", "aside.bias")
    assert found.unused == ("idle.weight", "idle.bias")
    assert found.share == 6 / (6 + 20)
    assert found.missing == ()


def test_a_parameter_that_leaves_torch_is_missing():
    model = Net(lambda self, x: x * float(self.a.weight.sum()), a=nn.Linear(1, 1, bias=False))
    found = coverage(model, torch.zeros(1, 3))
    assert found.missing == ("a.weight",)
    assert found.share == 0.0
    assert not found.ok


def test_operations_without_a_rule_are_named_and_do_not_raise():
    def forward(self, x):
        return self.b(torch.geqrf(self.a(x)).a)

    found = coverage(Net(forward, a=nn.Linear(4, 4), b=nn.Linear(4, 3)), torch.zeros(1, 4))
    assert not found.ok
    assert len(found.unsupported) == 1
    assert "aten.geqrf.default on (1, 4)" in found.unsupported[0]
    assert next(each for each in found.operations if each.rule is None).operation == "aten.geqrf.default"
    assert found.share == 1.0


def test_outputs_that_no_input_reaches_are_named_by_their_place():
    def forward(self, x):
        return {"y": self.a(x), "more": [torch.ones(2), 3, self.table.weight[0] * 2]}

    found = coverage(Net(forward, a=nn.Linear(3, 2), table=nn.Embedding(4, 5)), torch.zeros(1, 3))
    assert found.cut == ("output['more'][0] (a constant)", "output['more'][2] (a constant)")


def test_choices_of_the_example_are_told():
    model = Net(lambda self, x: self.a(x) if x.sum() > 0 else x, a=nn.Linear(3, 3))
    found = coverage(model, torch.ones(1, 3))
    assert len(found.notes) == 1
    assert "depends on the input's values" in found.notes[0]
    assert found.notes == dg.from_torch(model, torch.ones(1, 3)).notes


def test_a_rule_of_the_user_is_named_by_its_module():
    from dnn2graph.trace.registry import RULES

    operation = torch.ops.aten.special_erfcx.default

    @dg.rule(operation)
    def mine(watch, each):
        from dnn2graph.trace.build import activation

        activation(watch, each)

    try:
        found = coverage(Net(lambda self, x: torch.special.erfcx(self.a(x)), a=nn.Linear(2, 2)), torch.zeros(1, 2))
    finally:
        del RULES[operation]
    assert Met("aten.special_erfcx.default", 1, f"{__name__}.mine") in found.operations


def test_models_without_weights_are_covered():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 2))
    found = coverage(model, torch.zeros(1, 1, 6, 6))
    assert found.ok
    assert len(found.represented) == 6


def test_the_text_and_the_dictionary_hold_it_all():
    met = (Met("aten.mm.default", 2, None),)
    found = Coverage({"a": 3, "b": 1}, ("a",), ("b",), (), (), met, ("x",), ("n",), ("o",))
    assert str(found).splitlines() == [
        "parameters: 1 of 2 in use are represented, 3 of 4 elements (75.00%)",
        "  missing: b",
        "operations: 1 kinds, 2 calls",
        "  aten.mm.default      2  —",
        "operations without a rule:",
        "  x",
        "choices of the example:",
        "  n",
        "outputs that no input reaches:",
        "  o",
    ]
    assert repr(found) == "Coverage(75.00% of the parameters, 1 unsupported, ok=False)"
    assert found.as_dict()["operations"] == ({"operation": "aten.mm.default", "count": 2, "rule": None},)
    assert json.loads(json.dumps(found.as_dict()))["share"] == 0.75


def test_inspect_shows_coverage():
    shown = run("inspect", "data/digits_cnn.pt2", "--coverage")
    assert shown.exit_code == 0
    assert "(100.00%)" in shown.stdout
    found = json.loads(run("inspect", "data/digits_cnn.pt2", "--coverage", "--json").stdout)
    assert found["ok"]
    assert found["missing"] == []


# --- graphs without gates --------------------------------------------------------------------------------------------


def kinds(graph):
    return {links.kind for links in graph.links}


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_without_gates_a_normaliser_has_no_node(granularity):
    model, x = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)), torch.randn(2, 4)
    whole = dg.from_torch(model, x, granularity)
    graph = dg.from_torch(model, x, granularity, gates=False)
    assert [layer.name for layer in whole.layers] == ["input", "0", "1.normaliser", "1", "2"]
    assert [layer.name for layer in graph.layers] == ["input", "0", "1", "2"]
    assert kinds(whole) == {"weight", "gate"}
    assert kinds(graph) == {"weight"}
    assert graph.number_of_edges() == 12 + 3 + 6 == whole.number_of_edges("weight")
    if granularity == "position":
        assert dg.verify(model, graph, x).ok


def test_layers_whose_values_a_function_reads_stay_as_nodes():
    model = Net(lambda self, x: self.c(self.a(x) * self.b(x)), **{name: nn.Linear(2, 2) for name in "abc"})
    x = torch.randn(3, 2)
    graph = dg.from_torch(model, x, "position", gates=False)
    assert [layer.name for layer in graph.layers] == ["input", "a", "b", "mul", "c"]
    assert kinds(graph) == {"weight"}
    torch.testing.assert_close(graph.replay(x), model(x))


def test_attention_without_gates_keeps_its_projections():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attend(x, x, x, need_weights=False)[0]

    model, x = Block().eval(), torch.randn(2, 5, 8)
    whole, graph = dg.from_torch(model, x), dg.from_torch(model, x, gates=False)
    assert graph.number_of_edges("weight") == whole.number_of_edges("weight") == 4 * 64
    assert graph.number_of_edges("gate") == 0 < whole.number_of_edges("gate")
    assert dg.verify(model, graph, x).ok
