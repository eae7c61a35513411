"""Embeddings: a node for each entry of the vocabulary, or one whose links aggregate all."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net
from tests.test_trace import between, link_kinds, names

EVERY = ("sum", "mean", "l1", "l2", "maxabs")
TOKENS = torch.tensor([[0, 5, 2, 2, 1], [3, 3, 4, 0, 0], [1, 2, 3, 4, 5]])
vocabularies = pytest.mark.parametrize("vocabulary", ["entries", "aggregate"])


def table(rows):
    return nn.Embedding.from_pretrained(torch.tensor(rows, dtype=torch.float32), freeze=False)


def test_every_entry_of_the_vocabulary_is_a_node_with_its_row_as_weights():
    graph = dg.from_torch(table([[1, 2], [3, 4], [5, 0]]), torch.tensor([[0, 2, 1, 1]]))
    start, vocabulary, features = names(graph)
    assert [layer.shape for layer in graph.layers] == [(1,), (3,), (2,)]
    assert graph.layer(vocabulary).kind == "vocabulary"
    assert between(graph, start, vocabulary).tolist() == [[1, 1, 1]]
    assert between(graph, vocabulary, features).tolist() == [[1, 2], [3, 4], [5, 0]]
    assert link_kinds(graph) == {(start, vocabulary): "gate", (vocabulary, features): "weight"}


@pytest.mark.parametrize(
    ("aggregate", "weights"),
    [("sum", [9, 6]), ("mean", [3, 2]), ("l1", [9, 6]), ("l2", [35**0.5, 20**0.5]), ("maxabs", [5, 4])],
)
def test_one_node_may_stand_for_the_vocabulary(aggregate, weights):
    model = table([[1, 2], [3, 4], [5, 0]])
    graph = dg.from_torch(model, torch.tensor([[0, 2, 1]]), aggregate=aggregate, vocabulary="aggregate")
    assert [layer.shape for layer in graph.layers] == [(1,), (2,)]
    assert between(graph, *names(graph))[0].tolist() == pytest.approx(weights, rel=1e-6)


def test_a_table_that_is_tied_to_the_output_is_one_parameter_in_two_links():
    first, last = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
    last.weight = first.weight
    graph = dg.from_torch(nn.Sequential(first, nn.Tanh(), last), TOKENS)
    used = [tuple(links.weight.parameters()) for links in graph.links if links.kind == "weight"]
    assert used == [("0.weight",), ("0.weight",)]
    assert between(graph, "0.vocabulary", "0").T.tolist() == between(graph, "0", "2").tolist()


def test_learned_positions_are_a_bias_and_no_edges():
    model = Net(lambda self, i: self.words(i) + self.places.weight, words=nn.Embedding(6, 4), places=nn.Embedding(5, 4))
    graph = dg.from_torch(model, TOKENS, "position")
    assert {links.kind: links.nnz for links in graph.links} == {"gate": 5 * 6, "weight": 5 * 6 * 4}
    assert set(graph.parameters()) == {"words.weight", "places.weight"}
    places = model.places.weight.detach().double().reshape(-1)
    assert graph.bias()[graph.layers[-1].start :].tolist() == places.tolist()


def test_a_chosen_row_of_a_parameter_is_an_embedding_too():
    model = Net(lambda self, i: self.rows[i], rows=parameter(6, 4))
    graph = dg.from_torch(model, TOKENS)
    assert [layer.kind for layer in graph.layers] == ["input", "vocabulary", "linear"]
    assert graph.notes == ()


def tied():
    first, last = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
    last.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), last)


def positional(self, i):
    return self.last(self.words(i) * 2.0 + self.places(torch.arange(i.shape[1]))[None])


MODELS = {
    "plain": lambda: nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 2)),
    "padding": lambda: nn.Sequential(nn.Embedding(6, 4, padding_idx=0), nn.Linear(4, 2)),
    "tied": tied,
    "positions": lambda: Net(positional, words=nn.Embedding(6, 4), places=nn.Embedding(5, 4), last=nn.Linear(4, 2)),
    "rows of a parameter": lambda: Net(lambda self, i: self.w[i].relu(), w=parameter(6, 4)),
    "bag by sum": lambda: nn.EmbeddingBag(6, 4, mode="sum"),
    "bag by mean": lambda: nn.EmbeddingBag(6, 4, mode="mean"),
    "bag by maximum": lambda: nn.EmbeddingBag(6, 4, mode="max"),
    "bag with padding": lambda: nn.EmbeddingBag(6, 4, mode="mean", padding_idx=0),
    "one-hot": lambda: Net(lambda self, i: self.l(F.one_hot(i, 6).double()), l=nn.Linear(6, 2)),
}


@vocabularies
@pytest.mark.parametrize("case", MODELS)
def test_embeddings_are_represented(case, vocabulary):
    assert_represented(MODELS[case](), TOKENS, aggregates=EVERY, vocabulary=vocabulary)


@vocabularies
def test_several_inputs_may_be_indices(vocabulary):
    both = Net(lambda self, i, j: self.a(i) + self.b(j), a=nn.Embedding(6, 4), b=nn.Embedding(6, 4))
    assert_represented(both, TOKENS, TOKENS.flip(0), vocabulary=vocabulary)
    twice = Net(lambda self, i, j: torch.cat([self.a(i), self.a(j)], -1), a=nn.Embedding(6, 4))
    assert_represented(twice, TOKENS, TOKENS.flip(0), vocabulary=vocabulary, shared="unfold")


def test_the_entries_of_a_bag_may_be_weighted_by_neurons_and_bags_be_of_different_sizes():
    weighted = Net(lambda self, i, w: self.a(i, per_sample_weights=w), a=nn.EmbeddingBag(6, 4, mode="sum"))
    assert_represented(weighted, TOKENS, random(3, 5))
    uneven = Net(lambda self, i: self.a(i, torch.tensor([0, 2])), a=nn.EmbeddingBag(6, 4))
    assert_represented(uneven, TOKENS[0], batch_axis=None)
