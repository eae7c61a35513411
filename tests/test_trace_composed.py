"""Operations that are made of others, by this package's definitions or by torch's own; functions of whole matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from dnn2graph.trace.rules import composed
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net

TARGET = torch.tensor([1, 0])

DEFINED = {
    "elements behind a mask": lambda self, x: x.masked_select(torch.tensor([True, False, True])).view(-1, 2),
    "pairs of rows": lambda self, x: F.pdist(x.mT),
    "sum of products": lambda self, x: torch.addbmm(self.w[:, :3], x.mT[None], x[None], beta=0.5),
    "segments": lambda self, x: torch.segment_reduce(x, "mean", lengths=torch.tensor([1, 1])),
    "segments by offsets": lambda self, x: torch.segment_reduce(x.mT, "max", offsets=torch.tensor([0, 2, 3])),
    "reduced slices": lambda self, x: x.new_zeros(2, 2).index_reduce(1, torch.tensor([0, 1, 0]), x, "mean"),
    "one row": lambda self, x: x.put(torch.tensor([1, 4]), self.w[0, :2]),
    "index in one row": lambda self, x: x.take(torch.tensor([[0, 5], [2, 2]])),
    "trace": lambda self, x: (x.mT @ x).trace(),
    "deviation and mean": lambda self, x: torch.cat(torch.std_mean(x, 1)),
    "blocks": lambda self, x: torch.block_diag(x, self.w),
    "cross product": lambda self, x: torch.linalg.cross(x, self.w[:2, :3]),
    "rows of a limited norm": lambda self, x: x.renorm(2, 0, 0.5),
    "sum without what is no number": lambda self, x: x.nansum(1),
    "outer product": lambda self, x: torch.addr(self.w[:2, :3], x[:, 0], x[0]),
    "cross entropy": lambda self, x: F.cross_entropy(x, TARGET, reduction="none"),
    "smoothed cross entropy": lambda self, x: F.cross_entropy(x, TARGET, label_smoothing=0.1),
    "squared error": lambda self, x: F.mse_loss(x, self.w[:2, :3]),
    "Huber's loss": lambda self, x: F.huber_loss(x, self.w[:2, :3], reduction="none"),
}


@pytest.mark.parametrize("case", DEFINED)
def test_what_is_made_of_other_operations_is_represented(case):
    model = Net(lambda self, x: DEFINED[case](self, self.a(x)), a=nn.Linear(4, 3), w=parameter(3, 4))
    assert_represented(model, random(2, 4), batch_axis=None, exactly=False)


def test_a_definition_of_torch_that_gives_other_values_is_refused(monkeypatch):
    """As that of ``multilabel_margin_loss`` does in torch 2.13."""
    monkeypatch.setitem(composed.decomposition_table, torch.ops.aten.trace.default, lambda x: x.sum())
    with pytest.raises(dg.UnsupportedOperation, match=r"aten\.trace.*gives other values"):
        dg.from_torch(Net(lambda self, x: x.trace()), random(3, 3), batch_axis=None)


def _matrix(x):
    return x.unsqueeze(-1) * x.unsqueeze(-2) + 3 * torch.eye(3, dtype=x.dtype)


MATRICES = {
    "inverse": lambda self, x: torch.linalg.inv(_matrix(x)),
    "determinant": lambda self, x: torch.linalg.det(_matrix(x)),
    "logarithm of the determinant": lambda self, x: torch.logdet(_matrix(x)),
    "exponential": lambda self, x: torch.matrix_exp(_matrix(x)),
    "solution": lambda self, x: torch.linalg.solve(_matrix(x), x),
    "triangular solution": lambda self, x: torch.linalg.solve_triangular(_matrix(x), x.unsqueeze(-1), upper=True),
    "Cholesky": lambda self, x: torch.linalg.cholesky(_matrix(x)),
    "orthogonal": lambda self, x: torch.linalg.qr(_matrix(x)).Q,
    "singular values": lambda self, x: torch.linalg.svdvals(_matrix(x) + torch.diag(torch.arange(3.0))),
    "pseudoinverse": lambda self, x: torch.linalg.pinv(_matrix(x)),
}


@pytest.mark.parametrize("case", MATRICES)
def test_a_function_of_a_matrix_reads_all_of_it(case):
    model = Net(lambda self, x: MATRICES[case](self, self.a(x)), a=nn.Linear(2, 3), w=parameter(3, 4))
    graph = assert_represented(model, random(2, 2), exactly=False)
    assert any(links.kind == "gate" for links in graph.links)


def test_vectors_of_a_batch_are_solved_each_by_its_own_matrix():
    model = Net(lambda self, x, y: torch.linalg.solve(_matrix(x), y))
    graph = dg.from_torch(model, (random(2, 3), random(2, 3)), "position", batch_axis=None)
    solution = graph.layers[-1]
    assert solution.shape == (2, 3)
    (read,) = (links for links in graph.links if links.target == solution and links.sources[0].name == "input2")
    pairs = {
        ((int(source) - 6) // 3, (int(target) - solution.start) // 3)
        for block in read.blocks()
        for source, target in zip(block.sources, block.targets, strict=True)
    }
    assert pairs == {(0, 0), (1, 1)}


SOLVED = {
    "vectors": lambda self, x: torch.linalg.solve(self.m, x.mT).mT,
    "one vector": lambda self, x: torch.linalg.solve(self.m, x[0]),
    "from the right": lambda self, x: torch.linalg.solve(self.m, x, left=False),
    "triangular": lambda self, x: torch.linalg.solve_triangular(self.m, x.mT, upper=False),
    "triangular, from the right": lambda self, x: torch.linalg.solve_triangular(
        self.m, x, upper=True, left=False, unitriangular=True
    ),
}


@pytest.mark.parametrize("case", SOLVED)
def test_equations_of_a_learned_matrix_are_solved_by_weights(case):
    model = Net(lambda self, x: SOLVED[case](self, self.a(x)), a=nn.Linear(2, 3), m=parameter(3, 3))
    graph = assert_represented(model, random(2, 2), batch_axis=None)
    assert "m" in graph.parameters()
    assert {links.kind for links in graph.links} == {"weight"}


ONE_NUMBER = {
    "function": lambda self, t: t.exp(),
    "sum": lambda self, t: t.sum(0),
    "mean": lambda self, t: self.a(t.mean().view(1, 1)),
    "norm": lambda self, t: t.norm(),
    "largest": lambda self, t: t.amax(),
    "sorted": lambda self, t: t.cumsum(0),
    "added at a place": lambda self, t: t.index_add(0, torch.tensor([0]), self.w[0, 0]),
    "reduced at a place": lambda self, t: t.index_reduce(0, torch.tensor([0]), self.w[0, 0], "prod"),
    "bias": lambda self, t: torch.addmv(t, self.w, self.w[0]),
}


@pytest.mark.parametrize("case", ONE_NUMBER)
def test_an_input_of_one_number_is_represented(case):
    model = Net(ONE_NUMBER[case], a=nn.Linear(1, 2), w=parameter(3, 4))
    assert_represented(model, random(1)[0], batch_axis=None)


DRAWN = {
    "like neurons": lambda self, x: x + torch.randn_like(x),
    "of a shape": lambda self, x: x + torch.randn(x.shape),
    "by chances that are neurons": lambda self, x: torch.bernoulli(x.sigmoid()),
    "dropout": lambda self, x: F.dropout(x, training=True),
}


@pytest.mark.parametrize("case", DRAWN)
def test_random_numbers_are_named_as_the_reason(case):
    with pytest.raises(dg.UnsupportedOperation, match="random numbers enter the activations"):
        dg.from_torch(Net(DRAWN[case]), torch.ones(1, 3))
