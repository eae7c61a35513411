"""Tensors that are overwritten, in place or as ``out=``, and views that are taken in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net
from tests.test_trace import edges

MASK = torch.tensor([False, True, False])

IN_PLACE = {
    "power": lambda self, x: self.b(self.a(x).pow_(2)),
    "power of a tensor": lambda self, x: self.b(self.a(x).sigmoid_().pow_(self.v)),
    "chained": lambda self, x: self.b(self.a(x).exp_().reciprocal_().sqrt_().neg_().abs_().log1p_()),
    "transposed": lambda self, x: self.b(self.a(x).unsqueeze_(1).transpose_(0, 1).squeeze_(0)),
    "part of it": lambda self, x: self.b(_relu_first(self.a(x))),
    "filled places": lambda self, x: self.b(self.a(x).index_fill_(1, torch.tensor([1]), 2.0)),
    "copied places": lambda self, x: self.b(self.a(x).index_copy_(1, torch.tensor([0, 1]), x[:, 2:])),
    "masked": lambda self, x: self.b(self.a(x).masked_fill_(MASK, 3.0)),
    "masked by a parameter": lambda self, x: self.b(self.a(x).masked_fill_(MASK, self.v[0])),
    "into zeros": lambda self, x: self.b(x.new_zeros(len(x), 3).copy_(self.a(x))),
    "a product": lambda self, x: self.a(x).addmm_(x, self.w.t()),
    "weights": lambda self, x: x @ (self.w * 2).pow_(2).t(),
    "weights, turned": lambda self, x: x @ (self.w * 2).t_(),
    "weights, transposed": lambda self, x: x @ (self.w * 2).transpose_(0, 1),
    "weights, unsqueezed": lambda self, x: x @ (self.w * 2).unsqueeze_(0).squeeze_(0).transpose_(0, 1),
    "weights, added to": lambda self, x: F.linear(x, (2 * self.w).add_(1).mul_(self.v[:, None])),
}


def _relu_first(hidden):
    hidden[:, :2].relu_()
    hidden[:, 2:].mul_(2).add_(hidden[:, :1])
    return hidden


def build(forward):
    return Net(forward, a=nn.Linear(4, 3), b=nn.Linear(3, 2), w=parameter(3, 4), v=parameter(3))


@pytest.mark.parametrize("case", IN_PLACE)
def test_what_is_overwritten_is_represented(case):
    assert_represented(build(IN_PLACE[case]), random(2, 4), exactly=False)


LAYERS = {"v", "a.weight", "a.bias", "b.weight", "b.bias"}
GIVEN_OUT = {  # and the parameters that take part
    "sum": (lambda self, x: self.b(torch.add(self.a(x), self.v, out=x.new_empty(len(x), 3))), LAYERS),
    "product": (lambda self, x: torch.matmul(x, self.w.t(), out=x.new_empty(len(x), 3)), {"w"}),
    "of another shape": (lambda self, x: self.b(torch.add(self.a(x), self.v, out=x.new_empty(0))), LAYERS),
    "weights": (lambda self, x: F.linear(x, torch.mul(self.w, 2, out=torch.empty_like(self.w))), {"w"}),
}


@pytest.mark.parametrize("granularity", ["channel", "position"])
@pytest.mark.parametrize("case", GIVEN_OUT)
def test_a_result_that_is_written_elsewhere_is_represented(case, granularity):
    forward, names = GIVEN_OUT[case]
    model, x = build(forward).double(), random(2, 4)  # autograd does not take ``out=``
    graph = dg.from_torch(model, x, granularity)
    found = dg.verify(model, graph, x)
    assert found.ok, found
    assert set(graph.parameters()) == names


UNSEEN = {
    "neurons": lambda self, x: _doubled(self.a(x)),
    "weights": lambda self, x: F.linear(x, _doubled(self.w * 1)),
}


def _doubled(x):
    torch._foreach_mul_([x], 2.0)
    return x


@pytest.mark.parametrize("case", UNSEEN)
def test_what_is_overwritten_by_an_operation_without_another_form_is_refused(case):
    with pytest.raises(dg.UnsupportedOperation, match=r"_foreach_mul_.* has no form that does not"):
        dg.from_torch(build(UNSEEN[case]).double(), random(1, 4))


def test_several_results_that_are_written_elsewhere_are_refused():
    def forward(self, x):
        return torch.max(x, 1, keepdim=True, out=(x.new_empty(0), torch.empty(0, dtype=torch.long)))[0] + x

    with pytest.raises(dg.UnsupportedOperation, match=r"max\.dim_max"):
        dg.from_torch(Net(forward), torch.ones(1, 3))


def test_constants_written_to_places_that_the_input_names_stay_constants():
    def forward(self, x, places):
        counts = x.new_zeros(3).index_add_(0, places, x.new_ones(len(places))).add_(1)
        return x / counts[:, None]

    graph = dg.from_torch(
        Net(forward), (random(3, 2), torch.tensor([0, 2, 2])), "position", batch_axis=None, simplify=False
    )
    assert [layer.kind for layer in graph.layers] == ["input", "input", "scale"]
    assert edges(graph) == {(0, 9): 0.5, (1, 10): 0.5, (2, 11): 1, (3, 12): 1, (4, 13): 1 / 3, (5, 14): 1 / 3}
    assert "depends on the input's values" in graph.notes[0]
