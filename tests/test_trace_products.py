"""Products of neurons with parameters in every form, of neurons with neurons, and gates made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.networks import dense_matrix
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net
from tests.test_trace import between, edges, linear, names

EVERY = ("sum", "mean", "l1", "l2", "maxabs")


def test_the_halves_of_a_gated_linear_unit_gate_each_other():
    model = nn.Sequential(linear([[1], [2], [3], [4]]), nn.GLU())
    graph = dg.from_torch(model, torch.zeros(1, 1))
    start, dense, gate, product = names(graph)
    assert graph.layer(gate).activation == "sigmoid"
    assert between(graph, start, dense).tolist() == [[1, 2, 3, 4]]
    assert between(graph, dense, gate).T.tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert between(graph, dense, product).T.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert between(graph, gate, product).tolist() == [[1, 0], [0, 1]]
    assert {(each.sources[0].name, each.target.name) for each in graph.links if each.kind == "gate"} == {
        (dense, product),
        (gate, product),
    }


def test_a_product_of_tokens_with_tokens_reads_both():
    graph = dg.from_torch(Net(lambda self, x: x @ x.transpose(1, 2)), torch.zeros(1, 2, 3), "position")
    first, second = (dense_matrix(replace(graph, links=(each,)))[:6, 6:].reshape(2, 3, 2, 2) for each in graph.links)
    here = torch.eye(2).numpy()
    assert (first == here[:, None, :, None]).all()  # the rows of the result,
    assert (second == here[:, None, None, :]).all()  # and its columns


def test_a_bilinear_layer_joins_each_input_by_what_the_other_gives():
    model = nn.Bilinear(2, 2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    graph = dg.from_torch(model, (torch.zeros(1, 2), torch.zeros(1, 2)))
    assert edges(graph) == {(0, 4): 1 + 2, (1, 4): 3 + 4, (2, 4): 1 + 3, (3, 4): 2 + 4}


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.less, self.more = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return x * torch.sigmoid(self.more(F.silu(self.less(x.mean((2, 3), keepdim=True)))))


GATED = {
    "squeeze and excite": (SqueezeExcite, (2, 3, 4, 4)),
    "gated linear unit": (lambda: nn.Sequential(nn.Linear(3, 8), nn.GLU()), (2, 3)),
    "of convolutions": (lambda: nn.Sequential(nn.Conv1d(3, 8, 2), nn.GLU(1)), (2, 3, 5)),
    "swish": (
        lambda: Net(
            lambda self, x: self.d(F.silu(self.g(x)) * self.u(x)),
            g=nn.Linear(3, 4),
            u=nn.Linear(3, 4),
            d=nn.Linear(4, 3),
        ),
        (2, 5, 3),
    ),
    "mixture by softmax": (
        lambda: Net(
            lambda self, x: (self.l(x).softmax(-1)[..., None] * self.e).sum(-2), l=nn.Linear(3, 4), e=parameter(4, 2)
        ),
        (2, 3),
    ),
}


@pytest.mark.parametrize("case", GATED)
def test_gates_are_represented(case):
    build, shape = GATED[case]
    assert_represented(build(), random(*shape), aggregates=EVERY)


SOFTMAX = {
    "softmax": nn.Softmax(-1),
    "softmin": nn.Softmin(-1),
    "log": nn.LogSoftmax(-1),
    "tokens": nn.Softmax(1),
}


@pytest.mark.parametrize("case", SOFTMAX)
@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3)])
def test_softmax_anywhere_is_represented(case, shape):
    assert_represented(nn.Sequential(nn.Linear(3, 4), SOFTMAX[case]), random(*shape))


def test_softmax_is_an_activation_of_the_whole_layer():
    graph = assert_represented(nn.Softmax(-1), random(2, 3))  # each output depends on each input, without a link
    assert graph.layers[-1].activation == "softmax"
    assert graph.number_of_edges() == 3


PARAMETERS = {
    "einsum": (lambda self, x: torch.einsum("bsd,hde->bhse", x, self.w), (2, 4, 3)),
    "einsum from the left": (lambda self, x: torch.einsum("ts,bsd->btd", self.w, x), (3, 5)),
    "tensordot": (lambda self, x: torch.tensordot(x, self.w, dims=([1, 2], [0, 1])), (5, 4, 3)),
    "a matrix for each token": (lambda self, x: torch.bmm(x.transpose(0, 1), self.w).transpose(0, 1), (5, 4, 3)),
    "from the left": (lambda self, x: self.w @ x, (3, 5)),
    "stacked, from the left": (lambda self, x: self.w @ x.unflatten(-1, (2, 2)), (5, 3, 2)),
    "a vector": (lambda self, x: x @ self.w, (4,)),
    "a vector from the left": (lambda self, x: self.w @ x, (5,)),
    "scaled and shifted": (
        lambda self, x: torch.baddbmm(self.w[:1, :1], x, self.w.expand(len(x), 4, 3), beta=0.5, alpha=2.0),
        (1, 4, 3),
    ),
    "added to neurons": (lambda self, x: torch.addmm(x[:, 0, :3], x[:, 1], self.w, beta=0.5, alpha=2.0), (4, 3)),
    "elementwise": (lambda self, x: torch.addcmul(x, x, self.w, value=0.5), (4,)),
    "a product of parameters": (lambda self, x: F.linear(x, self.w @ self.w.t()), (4, 2)),
    "a low-rank update": (lambda self, x: x + (x @ self.w @ self.w.t()) * 0.5, (4, 2)),
    "rotations": (lambda self, x: x * self.w.cos() + torch.cat([-x[..., 2:], x[..., :2]], -1) * self.w.sin(), (5, 4)),
    "distances": (lambda self, x: torch.cdist(x, self.w.expand(len(x), 3, 4)), (3, 4)),
    "angles": (lambda self, x: F.cosine_similarity(x[:, :, None], self.w, dim=-1), (3, 4)),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters_on_either_side_of_every_product_are_represented(case):
    function, shape = PARAMETERS[case]
    model = Net(lambda self, x: function(self, self.start(x)), start=nn.Linear(3, 4), w=parameter(*shape))
    graph = assert_represented(model, random(2, 5, 3), aggregates=EVERY)
    assert "w" in graph.parameters()


NEURONS = {
    "matmul": lambda self, x: self.a(x) @ x.transpose(1, 2),
    "einsum": lambda self, x: torch.einsum("bqd,bkd->bqk", self.a(x), x),
    "itself": lambda self, x: x @ x.transpose(1, 2),
    "outer": lambda self, x: x[:, 0, :, None] * x[:, 1, None],
    "added": lambda self, x: torch.baddbmm(x @ x.transpose(1, 2), x, x.transpose(1, 2), beta=0.5, alpha=2.0),
    "dot": lambda self, x: (x * self.a(x)).sum(-1),
    "interpolated": lambda self, x: torch.lerp(x, self.a(x), 0.25),
    "a matrix made of neurons": lambda self, x: torch.bmm(self.a(x[:, :4]), x.transpose(1, 2)),
}


@pytest.mark.parametrize("case", NEURONS)
def test_products_of_neurons_are_represented(case):
    assert_represented(Net(NEURONS[case], a=nn.Linear(4, 4)), random(2, 5, 4))


def test_a_kernel_made_of_neurons_is_represented():
    def forward(self, x):
        kernel = self.a(x.mean(-1)).view(4, 1, 3)
        return F.conv1d(x, kernel, self.a(x.amax(-1))[0, :4], stride=2, padding=1, groups=2)

    assert_represented(Net(forward, a=nn.Linear(2, 12)), random(1, 2, 5), batch_axis=None, exactly=False)


@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": (2, 0), "stride": (1, 2)}, {"dilation": 2}], ids=str)
def test_a_kernel_made_of_neurons_slides_over_the_plane(options):
    def forward(self, x):
        return F.conv2d(x, self.a(x.mean((2, 3))).view(3, 2, 3, 2), **options)

    assert_represented(Net(forward, a=nn.Linear(2, 36)), random(1, 2, 5, 6), batch_axis=None, exactly=False)


@pytest.mark.parametrize("shape", [(2,), (2, 5)])
def test_a_bilinear_layer_is_represented(shape):
    assert_represented(nn.Bilinear(4, 3, 2), random(*shape, 4), random(*shape, 3), aggregates=EVERY)
