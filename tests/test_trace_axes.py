"""Functions of all neurons along an axis, and interpolation between positions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net
from tests.test_trace import between, both, edges, names

EVERY = ("sum", "mean", "l1", "l2", "maxabs")


def test_interpolation_weighs_neighbours_by_their_nearness():
    model = nn.Upsample(scale_factor=2, mode="linear")
    graph = dg.from_torch(model, torch.zeros(1, 1, 2), "position")
    assert between(graph, *names(graph)).T.tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert graph.links[0].kind == "pool"
    aligned = dg.from_torch(nn.Upsample(size=3, mode="linear", align_corners=True), torch.zeros(1, 1, 2), "position")
    assert between(aligned, *names(aligned)).T.tolist() == [[1, 0], [0.5, 0.5], [0, 1]]
    channels = dg.from_torch(model, torch.zeros(1, 3, 2))
    assert between(channels, *names(channels)).tolist() == torch.eye(3).tolist()


def test_the_nearest_neighbour_is_no_layer():
    graph = dg.from_torch(
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(1, 1, 1)), torch.zeros(1, 1, 2), "position"
    )
    weight = float(edges(graph)[0, 2])
    assert edges(graph) == {(0, 2): weight, (0, 3): weight, (1, 4): weight, (1, 5): weight}


def test_a_norm_reads_all_that_it_measures():
    graph = dg.from_torch(Net(lambda self, x: x.norm(dim=1)), torch.zeros(1, 3))
    assert edges(graph) == {(0, 3): 1, (1, 3): 1, (2, 3): 1}
    assert [links.kind for links in graph.links] == ["gate"]


def test_what_is_sorted_may_come_from_anywhere():
    graph = dg.from_torch(Net(lambda self, x: x.sort(1)[0]), torch.zeros(1, 2), "position")
    assert edges(graph) == {(0, 2): 1, (0, 3): 1, (1, 2): 1, (1, 3): 1}


UPSAMPLED = {
    "nearest": (nn.Upsample(scale_factor=2, mode="nearest"), (2, 3, 4)),
    "nearest exact": (nn.Upsample(scale_factor=2, mode="nearest-exact"), (2, 3, 4)),
    "linear": (nn.Upsample(scale_factor=2, mode="linear"), (2, 3, 4)),
    "bilinear": (nn.Upsample(size=(5, 3), mode="bilinear"), (2, 2, 4, 4)),
    "bilinear, corners": (nn.Upsample(size=(5, 3), mode="bilinear", align_corners=True), (2, 2, 4, 4)),
    "bicubic": (nn.Upsample(size=(5, 3), mode="bicubic"), (2, 2, 4, 4)),
    "bicubic, corners": (nn.Upsample(size=(5, 3), mode="bicubic", align_corners=True), (2, 2, 4, 4)),
    "trilinear": (nn.Upsample(scale_factor=2, mode="trilinear"), (2, 2, 2, 3, 2)),
    "smoothed": (Net(lambda self, x: F.interpolate(x, size=(2, 3), mode="bilinear", antialias=True)), (2, 2, 4, 4)),
    "smoothed cubes": (
        Net(lambda self, x: F.interpolate(x, size=(2, 3), mode="bicubic", antialias=True)),
        (2, 2, 4, 4),
    ),
    "area": (Net(lambda self, x: F.interpolate(x, size=(2, 3), mode="area")), (2, 2, 4, 4)),
    "halves": (nn.Upsample(size=2, mode="linear"), (2, 3, 4)),
    "features as positions": (Net(lambda self, x: _of_features(x, "bilinear")), (2, 4)),
    "features, cubic": (Net(lambda self, x: _of_features(x, "bicubic")), (2, 4)),
    "features along one axis": (
        Net(lambda self, x: F.interpolate((x * self.w).mT[:, None], size=(5, 3), mode="bilinear"), w=parameter(4)),
        (2, 5, 4),
    ),
    "padded with zeros": (
        Net(lambda self, x: F.interpolate(F.pad(x, (1, 1)), size=4, mode="linear")),
        (2, 3, 4),
    ),
}


def _of_features(x, mode):
    return F.interpolate(x.view(len(x), 1, 2, 2), size=(3, 3), mode=mode)


def test_a_border_of_zeros_belongs_to_its_channel():
    model = Net(lambda self, x: F.interpolate(F.pad(x, (1, 1)), size=4, mode="linear"))
    assert dg.from_torch(model, torch.zeros(1, 3, 4)).number_of_nodes() == 3 + 3


@pytest.mark.parametrize("case", UPSAMPLED)
def test_every_interpolation_is_represented(case):
    layer, shape = UPSAMPLED[case]
    assert_represented(layer, random(*shape), aggregates=EVERY)


ALONG = {
    "cumsum": lambda self, x: x.cumsum(1),
    "cumsum from the end": lambda self, x: x.flip(1).cumsum(1).flip(1),
    "cumprod": lambda self, x: x.cumprod(1),
    "logcumsumexp": lambda self, x: x.logcumsumexp(1),
    "variance": lambda self, x: x.var(1),
    "deviation": lambda self, x: x.std((1, 2), keepdim=True),
    "variance and mean": lambda self, x: torch.var_mean(x, 1),
    "product": lambda self, x: x.prod(1),
    "norm": lambda self, x: x.norm(dim=1),
    "one-norm": lambda self, x: x.norm(p=1, dim=-1),
    "logsumexp": lambda self, x: x.logsumexp(-1),
    "differences": lambda self, x: x.diff(dim=1),
    "pooled by power": lambda self, x: F.lp_pool1d(x, 2.0, 2),
    "pairwise": lambda self, x: (x[:, :, None] - x[:, None]).square().sum(-1),
}


@both
def test_a_difference_of_neighbours_reads_both(granularity):
    graph = dg.from_torch(Net(lambda self, x: x.diff(dim=2)), torch.zeros(1, 1, 2), granularity)
    read = sorted((block.sources[0], block.weights[0]) for _, block in graph.blocks())
    assert read == ([(0, -1), (0, 1)] if granularity == "channel" else [(0, -1), (1, 1)])


@pytest.mark.parametrize("case", ALONG)
def test_functions_along_an_axis_are_represented(case):
    # A channel that is summed along its positions is one node: that later positions see earlier ones only is not seen.
    assert_represented(nn.Sequential(nn.Linear(3, 4), Net(ALONG[case])), random(2, 5, 3), aggregates=EVERY)


CHOSEN = {
    "sort": lambda self, x: x.sort(1)[0],
    "topk": lambda self, x: x.topk(2)[0],
    "kth value": lambda self, x: x.kthvalue(2, 1)[0],
    "median": lambda self, x: x.median(1)[0],
    "cummax": lambda self, x: x.cummax(1)[0],
    "maximum": lambda self, x: torch.maximum(x, x.flip(1)),
    "extremes": lambda self, x: torch.stack([x.amax(1), x.amin(1)], 1),
    "clamped": lambda self, x: x.clamp(-0.5, 0.5),
    "where": lambda self, x: torch.where(x > 0, x, -2 * x.flip(1)),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_choices_of_values_are_represented(case):
    # each draw chooses anew
    exactly = case not in ("cummax",)
    assert_represented(Net(CHOSEN[case]), random(3, 4), exactly=exactly, draws=40)


def test_a_norm_of_everything_is_one_node():
    graph = assert_represented(Net(lambda self, x: x.norm()), random(4), batch_axis=None)
    assert graph.layers[-1].size == 1
