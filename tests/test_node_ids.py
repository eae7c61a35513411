"""What travels beside activations: ids on windows of storages, and how equal ones are put together."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from dnn2graph.trace.ids import MANY, NodeIds, completed, distinct, distinct_rows, without_repeats
from tests.strategies import Net

VIEWS = [
    lambda t: t.transpose(0, -1),
    lambda t: t.reshape(-1) if t.is_contiguous() else t,
    lambda t: t[1:],
    lambda t: t[..., ::2],
    lambda t: t.unsqueeze(0),
    lambda t: t.unflatten(-1, (2, -1)) if t.shape[-1] % 2 == 0 else t,
    lambda t: t.select(0, 0) if t.dim() > 1 else t,
    lambda t: t[:, :1].expand(-1, 3, *t.shape[2:]) if t.dim() > 1 else t,
]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_ids_alias_as_the_tensors_do(data):
    """The ids of views and of what is written in place are those of a tensor of ids that is treated alike."""
    shape = data.draw(st.sampled_from([(4,), (2, 6), (2, 3, 4), (1, 4, 2, 2)]))
    expanded = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    small = torch.randint(0, 50, [1 if flat else n for flat, n in zip(expanded, shape, strict=True)])
    tensor, expected, ids = torch.zeros(shape), small.expand(shape).contiguous(), NodeIds()
    ids.write(tensor, small.expand(shape))
    window, oracle = tensor, expected
    for _ in range(data.draw(st.integers(0, 5))):
        view = data.draw(st.sampled_from(VIEWS))
        window, oracle = view(window), view(oracle)
        if not window.numel():
            return
        before = ids.read(window)
        kept = before.clone()
        torch.testing.assert_close(before, oracle, rtol=0, atol=0)
        if data.draw(st.booleans()) and 0 not in oracle.stride():
            new = torch.randint(50, 99, oracle.shape)
            ids.write(window, new)
            oracle.copy_(new)
            torch.testing.assert_close(ids.read(window), oracle, rtol=0, atol=0)
            torch.testing.assert_close(before, kept, rtol=0, atol=0)  # what was read stays as it was
    torch.testing.assert_close(ids.read(tensor), expected, rtol=0, atol=0)


@pytest.mark.parametrize("columns", [1, 2, 5, 9])
@pytest.mark.parametrize("high", [2, 1 << 40])
def test_different_rows_are_sorted_and_numbered(columns, high):
    rows = torch.randint(-1, high, (300, columns)).repeat(2, 1)
    tuples, which = distinct_rows(rows)
    expected, numbers = torch.unique(rows, dim=0, return_inverse=True)
    torch.testing.assert_close(tuples, expected, rtol=0, atol=0)
    torch.testing.assert_close(which, numbers, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(MANY + 5,), (70, 80), (5, 1, 900)])
def test_tuples_of_large_tensors_are_numbered_as_those_of_small_ones(shape):
    one, other = torch.arange(shape[0]).remainder(3), torch.arange(shape[-1]).remainder(7)
    tensors = [one.view(-1, *[1] * (len(shape) - 1)).expand(shape), other.expand(shape)]
    tuples, which = distinct(*tensors)
    rows = torch.stack([t.reshape(-1) for t in tensors], 1)
    expected, numbers = torch.unique(rows, dim=0, return_inverse=True)
    torch.testing.assert_close(tuples, expected, rtol=0, atol=0)
    torch.testing.assert_close(which.reshape(-1), numbers, rtol=0, atol=0)


def test_equal_slices_are_put_together_where_windows_differ_in_size():
    """Along the axes that count, tensors broadcast; the others, windows of each, have lengths of their own."""
    one, other = torch.arange(64).remainder(2).view(1, 64, 1).expand(64, 64, 2), torch.zeros(64, 1, 9000).long()
    kept, places = without_repeats(one, other, axes=(0, 1))
    assert [tuple(t.shape) for t in kept] == [(1, 2, 2), (1, 1, 9000)]
    torch.testing.assert_close(places[1], torch.arange(64).remainder(2), rtol=0, atol=0)


@given(st.lists(st.lists(st.integers(-1, 2), min_size=3, max_size=3), min_size=1, max_size=30))
def test_a_tuple_with_gaps_is_completed_by_the_first_that_fits(tuples):
    rows = torch.unique(torch.tensor(tuples), dim=0)
    complete = [(place, row) for place, row in enumerate(rows.tolist()) if min(row) >= 0]
    for place, (row, same) in enumerate(zip(rows.tolist(), completed(rows).tolist(), strict=True)):
        fits = [at for at, whole in complete if all(a in (-1, b) for a, b in zip(row, whole, strict=True))]
        assert same == (fits[0] if fits and max(row) >= 0 else place)


def test_an_image_read_at_places_that_are_computed_is_traced_at_any_size():
    def forward(self, x):
        y = self.conv(x)
        return F.grid_sample(y, self.places(y.mean((2, 3))).view(1, 16, 16, 2), align_corners=False)

    model = Net(forward, conv=nn.Conv2d(2, 8, 3, padding=1), places=nn.Linear(8, 512))
    graph = dg.from_torch(model, torch.randn(1, 2, 16, 16))
    assert graph.layer("grid_sampler_2d").size == 8 * 256
