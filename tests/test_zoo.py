"""Well-known architectures in small: their graphs compute, depend and represent what the networks do.

The published architectures, in full, are tried by ``make zoo``.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch

import dnn2graph as dg
from dnn2graph.verify.dependency import check_dependency
from tests.strategies import fill
from tests.zoo_models import MODELS, tokens

SIZES = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
         "max_position_embeddings": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
IMAGES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "image_size": 8,
          "patch_size": 4}  # fmt: skip
T5 = {"vocab_size": 11, "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2, "pad_token_id": 0,
      "decoder_start_token_id": 0}  # fmt: skip
GPT2 = {"vocab_size": 11, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8, "bos_token_id": 1,
        "eos_token_id": 2}  # fmt: skip
PUBLISHED = {  # class, class of its configuration, configuration, call
    "bert": ("BertForMaskedLM", "BertConfig", SIZES, {"input_ids": tokens()}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2, {"input_ids": tokens(), "use_cache": False}),
    "llama_causal": ("LlamaForCausalLM", "LlamaConfig", SIZES | {"num_key_value_heads": 1, "head_dim": 4},
                     {"input_ids": tokens(), "use_cache": False}),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5,
           {"input_ids": tokens(), "decoder_input_ids": tokens(3), "use_cache": False}),
    "vit_images": ("ViTForImageClassification", "ViTConfig", IMAGES, {"pixel_values": torch.randn(2, 3, 8, 8)}),
}  # fmt: skip


@cache
def network(name):
    """Give a network with random weights, and the arguments of a call with two samples.

    Those of transformers stay in single precision, which their norms convert to whatever the weights are.
    """
    torch.manual_seed(0)
    if name in MODELS:
        model, *args = MODELS[name]()
    else:
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        kind, configuration, sizes, kwargs = PUBLISHED[name]
        return fill(getattr(transformers, kind)(getattr(transformers, configuration)(**sizes)), 0), (), kwargs
    args = tuple(x.double() if x.is_floating_point() else x for x in args)
    return fill(model.double(), 0), args, {}


@cache
def graph_of(name, granularity):
    model, args, kwargs = network(name)
    shared = "unfold" if granularity == "position" else "fold"
    return dg.from_torch(model, args, granularity, shared=shared, example_kwargs=kwargs)


def tolerance(name):
    return 1e-5 if name in PUBLISHED else 1e-10


def influencing(model, args, kwargs):
    """Name the parameters with a gradient other than zero."""
    model.zero_grad()
    outputs = torch.utils._pytree.tree_leaves(model(*args, **kwargs))
    sum((out * torch.randn_like(out)).sum() for out in outputs if torch.is_tensor(out)).backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}


each = pytest.mark.parametrize("name", [*MODELS, *PUBLISHED])


@each
def test_the_unrolled_graph_computes_the_architecture(name):
    model, args, kwargs = network(name)
    found = dg.verify(model, graph_of(name, "position"), args, example_kwargs=kwargs, tolerance=tolerance(name))
    assert found.ok, found
    assert found.samples == 2


@each
def test_the_channel_graph_of_the_architecture_aggregates_the_unrolled_one(name):
    model, args, kwargs = network(name)
    found = dg.verify(model, graph_of(name, "channel"), args, example_kwargs=kwargs, tolerance=tolerance(name))
    assert found.ok, found


@each
def test_outputs_are_reached_from_the_inputs_that_move_them(name):
    model, args, kwargs = network(name)
    found = check_dependency(model, graph_of(name, "channel"), args, example_kwargs=kwargs)
    assert found.ok, found
    assert found.spurious == (), found


@each
@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_every_parameter_that_moves_the_output_is_in_the_graph(name, granularity):
    model, args, kwargs = network(name)
    moving = influencing(model, args, kwargs)
    assert moving
    assert moving <= set(graph_of(name, granularity).parameters())


@each
def test_the_graph_of_the_architecture_holds_for_every_input(name):
    assert graph_of(name, "channel").notes == ()
