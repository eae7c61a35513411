"""Norms by a sample's own statistics: the learned scale is a diagonal of weights, the normaliser gates beside it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net
from tests.test_trace import between, link_kinds, names, put

EVERY = ("sum", "mean", "l1", "l2", "maxabs")


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_a_norm_of_tokens_by_hand(kind):
    model = kind(3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([2.0, 3.0, 5.0]))
    graph = dg.from_torch(model, torch.zeros(1, 4, 3))
    if kind is nn.RMSNorm:  # which torch writes out on this device
        assert between(graph, *names(graph)[-2:]).tolist() == [[2, 0, 0], [0, 3, 0], [0, 0, 5]]
        assert [layer.shape for layer in graph.layers] == [(3,), (3,), (1,), (3,), (3,)]
        return
    start, gate, norm = names(graph)
    assert [layer.shape for layer in graph.layers] == [(3,), (1,), (3,)]
    assert between(graph, start, norm).tolist() == [[2, 0, 0], [0, 3, 0], [0, 0, 5]]
    assert between(graph, start, gate).tolist() == [[1], [1], [1]]
    assert between(graph, gate, norm).tolist() == [[1, 1, 1]]
    assert link_kinds(graph) == {(start, norm): "weight", (start, gate): "gate", (gate, norm): "gate"}
    assert graph.number_of_edges(["weight"]) == 3


def test_each_position_has_a_normaliser_of_its_own():
    graph = dg.from_torch(nn.LayerNorm(3), torch.zeros(1, 4, 3), "position")
    start, gate, norm = names(graph)
    assert [layer.size for layer in graph.layers] == [12, 4, 12]
    joined = torch.eye(4).repeat_interleave(3, 0)
    assert between(graph, start, gate).tolist() == joined.tolist()
    assert between(graph, gate, norm).T.tolist() == joined.tolist()


def test_each_group_of_channels_shares_a_normaliser():
    model = put(nn.GroupNorm(2, 4), [2, 3, 5, 7], [1])
    graph = dg.from_torch(model, torch.zeros(1, 4, 3, 3))
    start, gate, norm = names(graph)
    assert between(graph, start, gate).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert between(graph, gate, norm).tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    assert between(graph, start, norm).diagonal().tolist() == [2, 3, 5, 7]


def test_an_instance_norm_keeps_channels_apart():
    graph = dg.from_torch(nn.InstanceNorm2d(3), torch.zeros(1, 3, 4, 4))
    start, gate, norm = names(graph)
    for ends in ((start, gate), (gate, norm), (start, norm)):
        assert between(graph, *ends).tolist() == torch.eye(3).tolist()
    assert graph.notes == ()


NATIVE = {
    "layer": (lambda: nn.LayerNorm(4), (3, 5, 4)),
    "layer of vectors": (lambda: nn.LayerNorm(4), (3, 4)),
    "layer of images": (lambda: nn.LayerNorm((2, 3, 3)), (3, 2, 3, 3)),
    "layer without weights": (lambda: nn.LayerNorm(4, elementwise_affine=False), (3, 5, 4)),
    "layer without bias": (lambda: nn.LayerNorm(4, bias=False), (3, 5, 4)),
    "group": (lambda: nn.GroupNorm(2, 4), (3, 4, 5)),
    "one group": (lambda: nn.GroupNorm(1, 4), (3, 4, 3, 2)),
    "group without weights": (lambda: nn.GroupNorm(4, 4, affine=False), (3, 4, 5)),
    "instance": (lambda: nn.InstanceNorm1d(3, affine=True), (2, 3, 4)),
    "instance in the plane": (lambda: nn.InstanceNorm2d(3), (2, 3, 3, 3)),
    "instance in space": (lambda: nn.InstanceNorm3d(2, affine=True), (2, 2, 2, 2, 3)),
    "instance by running statistics": (lambda: nn.InstanceNorm1d(3, track_running_stats=True), (2, 3, 4)),
    "root mean square": (lambda: nn.RMSNorm(4), (3, 5, 4)),
    "root mean square without weights": (lambda: nn.RMSNorm(4, elementwise_affine=False), (3, 5, 4)),
    "local response": (lambda: nn.LocalResponseNorm(2), (3, 4, 3, 3)),
    "behind a convolution": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 1)),
        (3, 2, 5, 5),
    ),
    "of a flattened image": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten(), nn.LayerNorm(12), nn.Linear(12, 2)),
        (3, 2, 2, 2),
    ),
}


@pytest.mark.parametrize("case", NATIVE)
def test_every_norm_of_torch_is_represented(case):
    build, shape = NATIVE[case]
    assert_represented(build(), random(*shape), aggregates=EVERY)


CONDITIONED = {
    "layer": lambda self, x: F.layer_norm(self.a(x), (4,), self.s(x.mean(1))[0], self.b),
    "layer, shifted": lambda self, x: F.layer_norm(self.a(x), (4,), self.b, self.s(x.mean(1))[0]),
    "root mean square": lambda self, x: F.rms_norm(self.a(x), (4,), self.s(x.mean(1))[0]),
    "group": lambda self, x: F.group_norm(self.a(x).mT, 2, self.s(x.mean(1))[0], self.s(x.amax(1))[0]),
    "batch": lambda self, x: F.batch_norm(self.a(x).mT, self.mean, self.spread, self.s(x.mean(1))[0], self.b),
}


@pytest.mark.parametrize("case", CONDITIONED)
def test_a_norm_whose_scale_is_computed_from_the_input_is_represented(case):
    model = Net(CONDITIONED[case], a=nn.Linear(3, 4), s=nn.Linear(3, 4), b=parameter(4))
    model.mean, model.spread = nn.Buffer(random(4)), nn.Buffer(random(4).abs() + 1)
    assert_represented(model, random(1, 5, 3), batch_axis=None, aggregates=EVERY)


def test_running_statistics_that_depend_on_the_input_are_refused():
    model = Net(lambda self, x: F.batch_norm(x, x[0, :, 0], x.new_ones(3)))
    with pytest.raises(dg.UnsupportedOperation, match="running statistics that depend on the input"):
        dg.from_torch(model, torch.ones(1, 3, 2), batch_axis=None)


WRITTEN = {
    "layer": lambda self, x: (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, correction=0) + 1e-5),
    "root mean square": lambda self, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "length": lambda self, x: F.normalize(x, dim=-1),
    "response": lambda self, x: x * (lambda g: g / (g.mean(-1, keepdim=True) + 1e-6))(x.norm(p=2, dim=1, keepdim=True)),
    "deviation": lambda self, x: (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_norms_that_are_written_out_are_represented(case):
    model = Net(lambda self, x: WRITTEN[case](self, self.start(x)) * self.w + self.b, start=nn.Linear(3, 4))
    model.w, model.b = parameter(4), parameter(4, seed=2)
    graph = assert_represented(model, random(3, 5, 3), aggregates=EVERY)
    assert {"w", "b"} < set(graph.parameters())


def test_a_small_number_in_the_code_keeps_its_double_precision():
    graph = dg.from_torch(Net(lambda self, x: x + 0.1), random(1, 2), "position")
    assert graph.bias()[-2:].tolist() == [0.1, 0.1]
