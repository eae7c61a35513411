"""Attention: scores gate values; queries, keys, values and outputs are dense layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.memory import peak_of
from tests.oracles import assert_represented, parameter, random
from tests.strategies import Net
from tests.test_trace import between, edges, linear, link_kinds, names

EVERY = ("sum", "mean", "l1", "l2", "maxabs")
UPPER = torch.ones(5, 5, dtype=torch.bool).triu(1)
ENDED = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])


def attending(**options):
    return nn.MultiheadAttention(4, 2, batch_first=True, **options)


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def queries_keys_values(forward, query=4, shared=4):
    return Net(forward, q=nn.Linear(4, query), k=nn.Linear(4, shared), v=nn.Linear(4, shared))


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_one_head_of_two_features_is_counted_by_hand():
    def forward(self, x):
        return F.scaled_dot_product_attention(*(part(x)[:, None] for part in (self.q, self.k, self.v)))

    q, k, v = linear([[1, 2], [3, 4]]), linear([[5, 6], [7, 8]]), linear([[9, 10], [11, 12]])
    graph = dg.from_torch(Net(forward, q=q, k=k, v=v), torch.zeros(1, 3, 2))
    assert names(graph) == ["input", "q", "k", "v", "scores", "attention"]
    scores, mixture = names(graph)[-2:]
    assert graph.layer(scores).shape == (1,)  # the head
    assert graph.layer(scores).activation == "softmax"
    assert graph.layer(mixture).shape == (2,)
    assert between(graph, "input", "q").tolist() == [[1, 3], [2, 4]]
    assert between(graph, "q", scores).tolist() == between(graph, "k", scores).tolist() == [[1], [1]]
    assert between(graph, scores, mixture).tolist() == [[1, 1]]  # the head gates every value,
    assert between(graph, "v", mixture).tolist() == [[1, 0], [0, 1]]  # which goes where it was
    gates = {ends for ends, kind in link_kinds(graph).items() if kind == "gate"}
    assert gates == {("q", scores), ("k", scores), (scores, mixture), ("v", mixture)}
    assert graph.number_of_edges() == 3 * 4 + 4 * 2


def test_position_by_position_every_score_reads_one_query_and_one_key():
    def forward(self, x):
        return F.scaled_dot_product_attention(*(part(x)[:, None] for part in (self.q, self.k, self.v)))

    graph = dg.from_torch(queries_keys_values(forward), torch.zeros(1, 3, 4), "position")
    scores, mixture = names(graph)[-2:]
    assert [graph.layer(name).shape for name in (scores, mixture)] == [(1, 3, 3), (1, 3, 4)]
    queries = between(graph, "q", scores).reshape(3, 4, 3, 3)
    keys = between(graph, "k", scores).reshape(3, 4, 3, 3)
    here = torch.eye(3).numpy()
    assert (queries == here[:, None, :, None]).all()
    assert (keys == here[:, None, None, :]).all()
    values = between(graph, "v", mixture).reshape(3, 4, 3, 4)
    assert (values == torch.eye(4).numpy()[None, :, None]).all()  # each feature, from every position to every one


def test_each_head_mixes_its_own_features():
    graph = dg.from_torch(
        Net(lambda self, x: self.a(x, x, x, need_weights=False)[0], a=attending()), torch.zeros(1, 3, 4)
    )
    scores, mixture = (name for name in names(graph) if graph.layer(name).kind == "product")
    own = [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert graph.layer(scores).shape == (2,)
    assert between(graph, scores, mixture).T.tolist() == own
    queries, keys = (sorted(edges_of(links)) for links in graph.links if links.target.name == scores)
    assert queries == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert keys == [(4, 0), (5, 0), (6, 1), (7, 1)]  # of one layer, stacked behind the queries


def edges_of(links):
    (block,) = links.blocks()
    source = links.sources[0].start
    return zip((block.sources - source).tolist(), (block.targets - links.target.start).tolist(), strict=True)


def test_heads_that_share_keys_read_the_same_ones():
    def forward(self, x):
        return F.scaled_dot_product_attention(
            heads(self.q(x), 4), heads(self.k(x), 2), heads(self.v(x), 2), enable_gqa=True
        )

    graph = dg.from_torch(queries_keys_values(forward, 8, 4), torch.zeros(1, 3, 4))
    scores, mixture = names(graph)[-2:]
    assert graph.layer(scores).shape == (4,)
    assert between(graph, "k", scores).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert graph.layer(mixture).shape == (8,)
    assert between(graph, "v", mixture).sum(1).tolist() == [2, 2, 2, 2]


def test_gates_can_be_left_out():
    graph = dg.from_torch(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), torch.zeros(1, 3, 4))
    assert {links.kind for links in graph.select(["weight", "unit"])} == {"weight", "unit"}
    assert graph.number_of_edges(["gate"]) == graph.number_of_edges() - graph.number_of_edges(["weight", "unit"]) > 0


# --- oracles ---------------------------------------------------------------------------------------------------------

MODULES = {
    "weights averaged": (lambda self, x: self.a(x, x, x), attending),
    "weights of each head": (lambda self, x: self.a(x, x, x, average_attn_weights=False), attending),
    "no weights": (lambda self, x: self.a(x, x, x, need_weights=False)[0], attending),
    "hidden by truth values": (lambda self, x: self.a(x, x, x, attn_mask=UPPER)[0], attending),
    "hidden, no weights": (lambda self, x: self.a(x, x, x, attn_mask=UPPER, need_weights=False)[0], attending),
    "hidden by numbers": (
        lambda self, x: self.a(x, x, x, attn_mask=x.new_zeros(5, 5).masked_fill(UPPER, -torch.inf))[0],
        attending,
    ),
    "causal": (
        lambda self, x: self.a(x, x, x, attn_mask=UPPER, is_causal=True, need_weights=False)[0],
        attending,
    ),
    "learned keys": (
        lambda self, x: self.a(x, x, x)[0],
        lambda: attending(add_bias_kv=True, add_zero_attn=True),
    ),
    "no bias": (lambda self, x: self.a(x, x, x)[0], lambda: attending(bias=False)),
}


@pytest.mark.parametrize("case", MODULES)
def test_every_form_of_the_attention_module_is_represented(case):
    forward, build = MODULES[case]
    assert_represented(Net(forward, a=build()), random(3, 5, 4))


@pytest.mark.parametrize("weights", [True, False])
def test_keys_that_are_padding_are_an_input(weights):
    model = Net(lambda self, x, p: self.a(x, x, x, key_padding_mask=p, need_weights=weights)[0], a=attending())
    graph = assert_represented(model, random(3, 5, 4), ENDED)
    assert [layer.name for layer in graph.inputs] == ["input", "input2"]


@pytest.mark.parametrize("inner", [{}, {"kdim": 3, "vdim": 3}])
def test_attention_to_another_sequence_is_represented(inner):
    model = Net(lambda self, x, y: self.a(x, y, y)[0], a=attending(**inner))
    assert_represented(model, random(3, 2, 4), random(3, 5, 3 if inner else 4))


def test_samples_along_the_second_axis_or_none_are_represented():
    model = Net(lambda self, x: self.a(x, x, x)[0], a=nn.MultiheadAttention(4, 2))
    assert_represented(model, random(5, 3, 4), batch_axis=1)
    assert_represented(model, random(5, 4), batch_axis=None)


FUNCTIONS = {
    "shared keys": lambda self, q, k, v: F.scaled_dot_product_attention(
        heads(q, 2), heads(k[..., :2], 1), heads(v[..., :2], 1), enable_gqa=True
    ),
    "causal, scaled": lambda self, q, k, v: F.scaled_dot_product_attention(
        heads(q, 2), heads(k, 2), heads(v, 2), is_causal=True, scale=0.3
    ),
    "without heads": lambda self, q, k, v: F.scaled_dot_product_attention(q, k, v),
    "learned bias": lambda self, q, k, v: F.scaled_dot_product_attention(
        heads(q, 2), heads(k, 2), heads(v, 2), attn_mask=self.bias
    ),
    "written out": lambda self, q, k, v: torch.softmax(q @ k.transpose(1, 2) / 2, -1) @ v,
    "written out, masked": lambda self, q, k, v: (
        torch.softmax((q @ k.transpose(1, 2)).masked_fill(UPPER, -torch.inf), -1) @ v
    ),
    "einsum": lambda self, q, k, v: torch.einsum("bqk,bkd->bqd", torch.einsum("bqd,bkd->bqk", q, k).softmax(-1), v),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_every_function_of_attention_is_represented(case):
    def forward(self, x):
        return FUNCTIONS[case](self, self.q(x), self.k(x), self.v(x))

    model = queries_keys_values(forward)
    if case == "learned bias":
        model.bias = parameter(2, 5, 5)
    aggregates = EVERY if case in ("written out", "shared keys") else ("sum",)
    assert_represented(model, random(3, 5, 4), aggregates=aggregates)


def test_a_bias_of_the_scores_may_be_an_input():
    def forward(self, x, bias):
        return F.scaled_dot_product_attention(heads(x, 2), heads(self.k(x), 2), heads(self.v(x), 2), attn_mask=bias)

    assert_represented(Net(forward, k=nn.Linear(4, 4), v=nn.Linear(4, 4)), random(3, 5, 4), random(3, 2, 5, 5))


def test_learned_queries_are_constant_nodes():
    def forward(self, x):
        query = self.q.expand(len(x), 1, 2, 4)
        return F.scaled_dot_product_attention(query, self.k(x)[:, None], self.v(x)[:, None])

    graph = assert_represented(
        Net(forward, q=parameter(1, 1, 2, 4), k=nn.Linear(4, 4), v=nn.Linear(4, 4)), random(3, 5, 4)
    )
    assert "q" in graph.parameters()


def test_flexible_attention_runs_by_its_definition():
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    causal = create_block_mask(lambda b, h, i, j: i >= j, None, None, 5, 5, device="cpu")

    def forward(self, x):
        q, k, v = (heads(part(x), 2) for part in (self.q, self.k, self.v))
        return flex_attention(q, k, v, lambda score, b, h, i, j: score + self.slope[h] * (i - j), causal)

    model = queries_keys_values(forward)
    model.slope = parameter(2)
    graph = assert_represented(model.double(), random(3, 5, 4))
    assert "slope" in graph.parameters()


def encoder(**options):
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, **options), 2, enable_nested_tensor=False
    )


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(
    "options", [{}, {"norm_first": True, "activation": "gelu", "bias": False}], ids=["after", "first"]
)
def test_an_encoder_is_represented(options):
    assert_represented(encoder(**options), random(3, 5, 4), aggregates=EVERY)


def test_an_encoder_with_padding_is_represented():
    assert_represented(encoder(), random(3, 5, 4), example_kwargs={"src_key_padding_mask": ENDED})


def test_a_decoder_and_a_whole_transformer_are_represented():
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, batch_first=True), 1)
    assert_represented(decoder, random(3, 2, 4), random(3, 5, 4))
    assert_represented(nn.Transformer(4, 2, 1, 1, 8), random(5, 3, 4), random(2, 3, 4), batch_axis=1)


def test_an_encoder_in_half_precision_is_verified_within_its_precision():
    model, x = encoder().bfloat16(), random(2, 5, 4).bfloat16()
    found = dg.verify(model, dg.from_torch(model, x), x)
    assert found.ok, found
    assert found.tolerance == 2e-2


def test_the_edges_of_a_head_do_not_depend_on_the_number_of_tokens():
    model = Net(lambda self, x: self.a(x, x, x)[0], a=attending())
    counted = [edges(dg.from_torch(model, torch.zeros(1, length, 4))) for length in (2, 7)]
    assert counted[0] == counted[1]

def test_what_each_position_reads_alone_takes_no_memory_for_its_edges():
    tokens, features = 64, 64

    def forward(self, x):
        scores = self.score(x[:, 0]).unflatten(1, (tokens, tokens))
        return scores.softmax(-1) @ self.v(x)

    model = Net(forward, score=nn.Linear(features, tokens * tokens), v=nn.Linear(features, features))
    dg.from_torch(model, torch.zeros(1, tokens, features))  # what torch loads the first time does not count
    graph, peak = peak_of(dg.from_torch, model, torch.zeros(1, tokens, features))
    gates = tokens * tokens * features  # of each feature at each position, by the scores of that position
    assert max(links.nnz for links in graph.links if links.kind == "gate") == gates
    assert peak < 8 * gates


def test_scores_that_several_positions_share_gate_each_of_them_once():
    tokens, features = 4, 3
    offset = torch.arange(tokens)[:, None] - torch.arange(tokens) + tokens - 1

    def forward(self, x):
        return self.score(x.mean(1))[:, offset] @ self.v(x)

    model = Net(forward, score=nn.Linear(features, 2 * tokens - 1), v=nn.Linear(features, features))
    graph = assert_represented(model, random(2, tokens, features))
    mixed = graph.layers[-1]
    score = next(layer for layer in graph.layers if layer.name == "score")
    assert mixed.size == tokens * features
    gates = {(i - score.start, j - mixed.start) for i, j in edges(graph, "gate") if score.start <= i < score.stop}
    row = range(tokens * features)
    assert gates == {(int(offset[j // features, k]), j) for j in row for k in range(tokens)}
