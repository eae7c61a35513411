"""Lists of edges are unrolled in blocks, so that a graph that was read from a file is written in constant memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.export.formats import FORMATS, write
from dnn2graph.links import Listed
from tests.memory import peak_of
from tests.networks import by_hand

SOURCES = np.array([1, 1, 1, 1, 3, 4, 4, 4, 7])  # of ten inputs
LIST = Listed(10, 5, SOURCES, np.array([0, 1, 2, 3, 4, 0, 2, 4, 1]))
KERNEL = np.arange(1.0, 10.0)


@pytest.mark.parametrize(
    ("block_edges", "expected"),
    [
        (1, [(1, [4]), (2, [0, 1]), (4, [3]), (5, [0, 0, 1, 0, 0])]),  # a row is never cut, however long
        (3, [(1, [4]), (2, [0, 1]), (4, [3, 0, 0]), (7, [1, 0, 0])]),
        (4, [(0, [0, 4, 0]), (3, [1, 3, 0, 0]), (7, [1, 0, 0])]),
        (5, [(0, [0, 4, 0, 1]), (4, [3, 0, 0, 1, 0, 0])]),
        (100, [(0, [0, 4, 0, 1, 3, 0, 0, 1, 0, 0])]),
    ],
)
def test_blocks_are_whole_rows_of_about_as_many_edges_as_asked_for(block_edges, expected):
    blocks = list(LIST.rows(KERNEL, block_edges))
    assert [(block.first, block.counts.reshape(-1).tolist()) for block in blocks] == expected
    assert np.concatenate([block.weights.reshape(-1) for block in blocks]).tolist() == KERNEL.tolist()
    assert np.concatenate([block.targets.reshape(-1) for block in blocks]).tolist() == LIST.target.tolist()


def test_a_list_without_edges_has_no_blocks():
    nothing = np.zeros(0, np.int64)
    assert list(Listed(3, 2, nothing, nothing).rows(np.zeros(0))) == []


def test_sums_are_those_of_all_edges_however_many_there_are():
    chance = np.random.default_rng(0)
    count, inputs, outputs = 700_000, 900, 800  # more than are summed at a time
    places = np.sort(chance.choice(inputs * outputs, count, replace=False))
    source, target = np.divmod(places, outputs)
    weights = chance.integers(-8, 9, count).astype(np.float32)
    matrix = np.zeros((inputs, outputs))
    matrix[source, target] = weights
    into, out_of = Listed(inputs, outputs, source, target).sums(torch.from_numpy(weights), "signed")
    assert into.tolist() == matrix.sum(0).tolist()
    assert out_of.tolist() == matrix.sum(1).tolist()


@pytest.mark.parametrize("ending", [each.suffixes[0] for each in FORMATS if each.name not in ("DOT", "npz")])
def test_a_large_graph_that_was_read_from_a_file_is_written_in_little_memory(ending, tmp_path):
    dg.save_npz(dg.from_torch(nn.Linear(2000, 1000), torch.zeros(1, 2000)), tmp_path / "large.npz")
    graph = dg.read(tmp_path / "large.npz")
    write(by_hand(), tmp_path / f"first{ending}")  # pays for imports
    _, peak = peak_of(write, graph, tmp_path / f"net{ending}")
    assert peak < 40e6  # the two million edges as a list take 48 MB
