"""Models on the meta device: traced without weights, which are attached later."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from dnn2graph.errors import ModelError, WeightsError
from dnn2graph.streaming import LazyTensors
from tests.networks import convolutional, residual, separable
from tests.strategies import Net


def on_meta(build):
    with torch.device("meta"):
        return build().eval()


def with_values(build):
    """Build a model with parameters and statistics that are all different."""
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if "var" in name else torch.randn_like(tensor))
    return model


def assert_same(graph, expected):
    """Compare layers, ends of links, and kernels."""
    assert [repr(layer) for layer in graph.layers] == [repr(layer) for layer in expected.layers]
    assert len(graph.links) == len(expected.links)
    for mine, other in zip(graph.links, expected.links, strict=True):
        assert mine.kind == other.kind
        np.testing.assert_array_equal(mine.source_nodes.ids, other.source_nodes.ids)
        np.testing.assert_array_equal(mine.target_nodes.ids, other.target_nodes.ids)
        torch.testing.assert_close(mine.kernel(), other.kernel(), rtol=0, atol=0)
    np.testing.assert_array_equal(graph.bias(), expected.bias())


def attention_block():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.attend = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
            self.position = nn.Parameter(torch.randn(5, 8))

        def forward(self, x):
            x = x + self.position
            y = self.norm(x)
            return x + self.attend(y, y, y, need_weights=False, attn_mask=torch.ones(5, 5).triu(1).bool())[0]

    return Block()


def resnet():
    """Make a residual network of three stages, with batch-norm."""

    class Block(nn.Module):
        def __init__(self, channels, out, stride):
            super().__init__()
            self.a = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
            self.b = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            self.norm_a, self.norm_b = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
            self.short = nn.Sequential(nn.Conv2d(channels, out, 1, stride), nn.BatchNorm2d(out))

        def forward(self, x):
            return torch.relu(self.short(x) + self.norm_b(self.b(torch.relu(self.norm_a(self.a(x))))))

    return nn.Sequential(
        Block(2, 4, 1), Block(4, 6, 2), Block(6, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )


def padded_with_numbers():
    """Make constants travel among neurons: written, scaled, put through functions, and padded."""

    def forward(self, x):
        room = x.new_full((1, 6), 0.5)
        room[:, 1:4] = self.first(x)
        y = F.pad(torch.sigmoid(room * 2), (1, 0), value=-3.0)
        return self.last(torch.cat([y, torch.full((1, 2), 7.0)], 1))

    return Net(forward, first=nn.Linear(4, 3), last=nn.Linear(9, 2))


def written_step_by_step():
    """Make a loop that collects its states in a tensor of zeros."""

    def forward(self, x):
        state, collected = x[:, 0] * 0, torch.zeros_like(x)
        for step in range(x.shape[1]):
            state = torch.tanh(self.mix(state)) + x[:, step]
            collected[:, step] = state
        return self.last(collected.flatten(1))

    return Net(forward, mix=nn.Linear(2, 2), last=nn.Linear(6, 2))


def windows_added_up():
    def forward(self, x):
        return F.fold(F.unfold(self.conv(x), 2), (4, 4), 2)

    return Net(forward, conv=nn.Conv2d(2, 3, 1))


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(72, 6), nn.Tanh(), nn.Linear(6, 2)), (72,)),
    "convolutional": (convolutional, (2, 6, 6)),
    "residual": (residual, (2, 6, 6)),
    "separable": (separable, (2, 6, 6)),
    "resnet": (resnet, (2, 6, 6)),
    "attention": (attention_block, (5, 8)),
    "lstm": (lambda: nn.LSTM(3, 4, 2, batch_first=True), (3, 3)),
    "gru": (lambda: nn.GRU(3, 4, batch_first=True, bidirectional=True), (3, 3)),
    "constants": (padded_with_numbers, (4,)),
    "written": (written_step_by_step, (3, 2)),
    "fold": (windows_added_up, (2, 4, 4)),
}


@pytest.mark.parametrize("granularity", ["channel", "position"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_without_weights_is_that_of_the_model_once_its_weights_are_attached(name, granularity):
    build, shape = NETWORKS[name]
    model, x = with_values(build), torch.zeros(1, *shape)
    expected = dg.from_torch(model, x, granularity)
    bare = dg.from_torch(on_meta(build), x, granularity)
    assert bare.number_of_edges() >= expected.number_of_edges()
    graph = bare.with_weights(model.state_dict())
    assert_same(graph, expected)
    assert graph.number_of_edges() == expected.number_of_edges()


@pytest.mark.parametrize("aggregate", ["mean", "l1", "l2", "maxabs"])
def test_so_it_is_with_every_aggregation(aggregate):
    model, x = with_values(convolutional), torch.zeros(1, 2, 6, 6)
    bare = dg.from_torch(on_meta(convolutional), x, aggregate=aggregate)
    assert_same(bare.with_weights(model.state_dict()), dg.from_torch(model, x, aggregate=aggregate))


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=20,
            vocab_size=30,
            use_cache=False,
        )
    )


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, vocab_size=30)
    )


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=30, n_positions=12, use_cache=False))


def vit():
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, image_size=8, patch_size=4
        )
    )


TRANSFORMERS = {"llama": llama, "bert": bert, "gpt2": gpt2, "vit": vit}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_get_their_weights_from_files(name, tmp_path):
    pytest.importorskip("transformers")
    build = TRANSFORMERS[name]
    model = with_values(build)
    save_model(model, tmp_path / "model.safetensors")  # tied parameters by one of their names
    x = torch.zeros(1, 3, 8, 8) if name == "vit" else torch.arange(6)[None]
    bare = dg.from_torch(on_meta(build), x)
    assert_same(bare.with_weights(LazyTensors(tmp_path)), dg.from_torch(model, x))


def test_weights_stay_in_their_file_until_they_are_used(tmp_path):
    model = with_values(lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    save_file(model.state_dict(), tmp_path / "model.safetensors")

    read = []

    class Counted(LazyTensors):
        def __getitem__(self, name):
            read.append(name)
            return super().__getitem__(name)

    lazy = Counted(tmp_path / "model.safetensors")
    graph = dg.from_torch(on_meta(lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))), torch.zeros(1, 3))
    graph = graph.with_weights(lazy)
    read.clear()
    torch.testing.assert_close(graph.links[1].kernel(), model[1].weight.data, rtol=0, atol=0)
    assert set(read) == {"1.weight"}


def test_without_weights_every_pair_that_may_be_an_edge_counts():
    build = lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(36, 5))  # noqa: E731
    x = torch.zeros(1, 2, 3, 3)
    assert dg.from_torch(on_meta(build), x).number_of_edges() == 2 * 2 + 4 * 5
    # At each of 3 positions along an axis, 2 + 3 + 2 taps of 3 meet the image.
    graph = dg.from_torch(on_meta(build), x, "position")
    assert graph.number_of_edges() == 4 * 7 * 7 + 36 * 5
    assert graph.estimate().edges == graph.number_of_edges()


def test_what_needs_values_says_how_they_are_attached():
    graph = dg.from_torch(on_meta(lambda: nn.Linear(3, 2)), torch.zeros(1, 3))
    for use in (dg.strength, dg.link_weights, lambda g: g.adjacency(), lambda g: g.bias()):
        with pytest.raises(WeightsError, match=r"'(weight|bias)' has no values.*with_weights"):
            use(graph)
    with pytest.raises(WeightsError, match="bias is missing"):
        graph.with_weights({"weight": torch.zeros(2, 3)})
    with pytest.raises(ModelError, match="no values: build and trace it with weights"):
        dg.verify(on_meta(lambda: nn.Linear(3, 2)), graph, torch.zeros(1, 3))


def test_the_model_is_left_as_it_was():
    model = on_meta(lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    before = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    graph = dg.from_torch(model, torch.zeros(1, 3))
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert all(graph.weights[name] is before[name] for name in before)


def test_tied_parameters_stay_one():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.out.weight = self.into.weight

        def forward(self, x):
            return self.out(self.into(x))

    graph = dg.from_torch(on_meta(Tied), torch.zeros(1, 2, dtype=torch.int64))
    assert graph.parameters() == ("into.weight",)
    weight = torch.randn(5, 3)
    by_other_name = graph.with_weights({"out.weight": weight})
    torch.testing.assert_close(by_other_name.weights["into.weight"], weight, rtol=0, atol=0)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.a(x) if self.a(x).sum() > 0 else x,
        lambda self, x: x * self.a(x).max().item(),
        lambda self, x: self.a(x)[self.a(x) > 0],
        lambda self, x: x[:, self.a(x)[0].argsort()],
        lambda self, x: torch.as_tensor(self.a(x).numpy()),
    ],
    ids=["branch", "item", "nonzero", "places", "numpy"],
)
def test_what_depends_on_values_is_refused_with_the_remedy(forward):
    with pytest.raises(ModelError, match=r"trace it with weights.*graph\.with_weights"):
        dg.from_torch(on_meta(lambda: Net(forward, a=nn.Linear(3, 3))), torch.ones(1, 3))


def test_branches_that_depend_on_the_example_alone_are_taken():
    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)

    model = on_meta(lambda: Net(forward, a=nn.Linear(2, 3), b=nn.Linear(2, 4)))
    assert len(dg.from_torch(model, torch.ones(1, 2))) == 5
    assert len(dg.from_torch(model, -torch.ones(1, 2))) == 6


def test_a_tensor_that_no_file_can_fill_is_refused():
    class Loose(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.ones(3)
            self.a = nn.Linear(3, 3)

        def forward(self, x):
            return self.a(x) * self.scale

    with pytest.raises(ModelError, match="register it as a buffer"):
        dg.from_torch(on_meta(Loose), torch.ones(1, 3))


LLAMA_7B = """
import json, resource, sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM
import dnn2graph as dg

with torch.device("meta"):
    model = LlamaForCausalLM(LlamaConfig(
        hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11008, vocab_size=32000,
        use_cache=False)).eval()
dg.from_torch(torch.nn.Linear(2, 2, device="meta"), torch.zeros(1, 2))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
graph = dg.from_torch(model, torch.arange(16)[None])
seen = sum(model.get_parameter(name).numel() for name in dict(model.named_parameters()) if name in graph.parameters())
print(json.dumps({
    "grown": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak,
    "parameters": seen,
    "total": sum(p.numel() for p in model.parameters()),
    "links": len([links for links in graph.links if links.kind == "weight"]),
}))
"""


def test_a_model_larger_than_memory_is_traced_in_a_hundred_megabytes():
    pytest.importorskip("transformers")
    run = subprocess.run([sys.executable, "-c", LLAMA_7B], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["parameters"] == found["total"] == 6738415616
    assert found["grown"] < 100 * 1024  # KiB
