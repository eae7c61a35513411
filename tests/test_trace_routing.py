"""Neurons that are moved, sent to places and added there."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net
from tests.test_trace import edges

EVERY = ("sum", "mean", "l1", "l2", "maxabs")
PLACES = torch.tensor([0, 2, 2])


def test_what_is_added_at_a_place_is_a_sum_of_unit_links():
    model = Net(lambda self, x: x.new_zeros(len(x), 3).index_add(1, PLACES, x, alpha=2))
    graph = dg.from_torch(model, torch.ones(1, 3), "position")
    assert edges(graph) == {(0, 3): 2, (1, 5): 2, (2, 5): 2}
    assert [links.kind for links in graph.links] == ["unit"]


def test_overlapping_windows_are_added_up():
    graph = dg.from_torch(
        nn.Sequential(nn.Unfold((1, 2)), nn.Fold((1, 3), (1, 2))), torch.zeros(1, 1, 1, 3), "position"
    )
    assert edges(graph) == {(0, 3): 1, (1, 4): 2, (2, 5): 1}


def test_moving_operations_add_no_nodes():
    def forward(self, x):
        x = torch.rot90(x.roll(1, 2), 1, (2, 3)).flip(1).tril().diagonal(dim1=2, dim2=3)
        return x.repeat_interleave(2, 1)[:, ::2].contiguous().view(len(x), -1)

    graph = dg.from_torch(Net(forward), torch.zeros(1, 2, 3, 3), "position")
    assert [layer.kind for layer in graph.layers] == ["input"]
    x = random(2, 2, 3, 3)
    assert torch.equal(graph.replay(x), forward(None, x))


ADDED = {
    "along tokens": (lambda self, x: x.new_zeros(len(x), 3, 4).index_add(1, PLACES, x), (2, 3, 4)),
    "to neurons": (lambda self, x: (x * 3).index_add(1, PLACES, x, alpha=2.0), (2, 3, 4)),
    "scattered": (lambda self, x: x.new_zeros(len(x), 3).scatter_add(1, PLACES.expand(len(x), 3), x), (2, 3)),
    "largest": (
        lambda self, x: x.new_zeros(len(x), 3).scatter_reduce(
            1, PLACES.expand(len(x), 3), x, "amax", include_self=False
        ),
        (2, 3),
    ),
    "mean with itself": (lambda self, x: (2 * x).scatter_reduce(1, PLACES.expand(len(x), 3), x, "mean"), (2, 3)),
    "windows": (nn.Sequential(nn.Unfold(2), nn.Fold((3, 3), 2)), (2, 2, 3, 3)),
}


@pytest.mark.parametrize("case", ADDED)
def test_neurons_added_at_places_are_represented(case):
    what, shape = ADDED[case]
    model = what if isinstance(what, nn.Module) else Net(what)
    assert_represented(model, random(*shape), aggregates=EVERY, draws=20)


def windows(self, x):
    """Apply a layer within windows of two by two."""
    n = len(x)
    parts = x.view(n, 2, 2, 2, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(4 * n, 4, 3)
    return self.l(parts).reshape(n, 2, 2, 2, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(n, 4, 4, 3)


MOVED = {
    "gather": (lambda self, x: self.l(x.gather(1, PLACES.expand(len(x), 3))), (2, 3)),
    "scatter": (lambda self, x: x.scatter(1, PLACES[:2].expand(len(x), 2), self.l(x)[:, :2]), (2, 3)),
    "roll": (lambda self, x: self.l(x.roll(1, 1)), (2, 3)),
    "repeated": (lambda self, x: self.l(x.repeat_interleave(torch.tensor([1, 0, 2]), 1)), (2, 3)),
    "masked": (lambda self, x: torch.stack([each.masked_scatter(PLACES == 2, self.l(each)) for each in x]), (2, 3)),
    "on a diagonal": (lambda self, x: torch.diag_embed(self.l(x)), (2, 3)),
    "windows": (windows, (2, 4, 4, 3)),
    "sliding windows": (lambda self, x: self.l(x.unfold(1, 3, 1)), (2, 5, 4)),
    "shuffled pixels": (lambda self, x: F.pixel_shuffle(self.l(x).transpose(1, 3).repeat(1, 4, 1, 1), 2), (2, 2, 2, 3)),
    "a learned token in front": (lambda self, x: self.l(torch.cat([self.c.expand(len(x), 1, 3), x], 1)), (2, 4, 3)),
}


@pytest.mark.parametrize("case", MOVED)
def test_neurons_that_are_moved_are_represented(case):
    forward, shape = MOVED[case]
    model = Net(forward, l=nn.Linear(3, 3))
    if case == "a learned token in front":
        model.c = parameter(1, 1, 3)
    assert_represented(model, random(*shape), aggregates=EVERY)


def test_pooled_values_are_put_back_where_they_were():
    def forward(self, x):
        return F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2)

    x = torch.tensor([[[1.0, 3.0, 2.0, 0.0]]])
    graph = dg.from_torch(Net(forward), x, "position", batch_axis=None)
    assert graph.replay(x).tolist() == [[[0, 3, 2, 0]]]
    assert len(graph.notes) == 1
