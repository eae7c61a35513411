"""A state dict without a model is a graph where its shapes form one chain, and an error that says why where not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dnn2graph import LoadError, from_torch, link_weights
from dnn2graph.load import load
from tests.checkpoints import CHECKPOINTS, checkpoint_path, load_checkpoint, require


def saved(folder, state, name="chain.pt"):
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def weights(**shapes):
    """Random weights (out, in, *kernel) by layer name, "_" for "."; with biases."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        prefix = name.replace("_", ".")
        state[f"{prefix}.weight"] = torch.randn(shape, generator=generator)
        state[f"{prefix}.bias"] = torch.randn(shape[0], generator=generator)
    return state


def edges_into(graph, name):
    """Dense matrix of the links into a layer, and the ids of the source nodes."""
    (links,) = [each for each in graph.links if each.target.name == name]
    return links.kernel().numpy(), links.source_nodes.flat


@pytest.mark.parametrize("name", ["mnist_mlp_20", "mnist_mlp_6x100", "mnist_cnn"])
@pytest.mark.parametrize("aggregate", ["sum", "maxabs"])
def test_a_stored_chain_is_exactly_the_graph_of_its_traced_model(name, aggregate):
    require(name)
    chain = load(checkpoint_path(name), aggregate=aggregate)
    model = load_checkpoint(name)
    traced = from_torch(model, torch.zeros(CHECKPOINTS[name].input_shape), aggregate=aggregate)
    assert [(a.name, a.kind, a.size) for a in chain.layers] == [(b.name, b.kind, b.size) for b in traced.layers]
    assert [layer.activation for layer in chain.layers] == [None] * len(chain.layers)
    one, other = chain.adjacency(), traced.adjacency()
    assert np.array_equal(one.indptr, other.indptr)
    assert np.array_equal(one.indices, other.indices)
    assert np.array_equal(one.data, other.data)
    assert np.array_equal(chain.bias(), traced.bias())
    assert link_weights(chain).equals(link_weights(traced))


def test_a_stored_chain_has_the_weights_of_a_traced_model_with_a_layer_that_it_cannot_know():
    require("titanic_mlp")
    chain = load(checkpoint_path("titanic_mlp"))
    traced = from_torch(load_checkpoint("titanic_mlp"), torch.zeros(1, 12))
    assert [layer.name for layer in chain.layers] == ["input", "linear1", "linear2", "linear3"]
    assert [layer.name for layer in traced.layers][:4] == [layer.name for layer in chain.layers]  # then softmax
    size = chain.number_of_nodes()
    assert np.array_equal(chain.adjacency().toarray(), traced.adjacency(kinds=["weight"]).toarray()[:size, :size])


def test_the_weight_between_a_channel_and_a_neuron_sums_over_the_positions_of_the_channel(tmp_path):
    state = {"conv.weight": torch.ones(2, 1, 3), "fc.weight": torch.arange(12.0).reshape(2, 6)}
    graph = load(saved(tmp_path, state))
    assert edges_into(graph, "conv")[0].tolist() == [[3.0], [3.0]]
    kernel, sources = edges_into(graph, "fc")
    assert kernel.tolist() == [[0.0 + 1 + 2, 3.0 + 4 + 5], [6.0 + 7 + 8, 9.0 + 10 + 11]]
    assert sources.tolist() == [1, 2]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions_of_any_number_of_axes_form_a_chain(tmp_path, axes):
    shapes = {"a": (4, 3, *[5, 3, 2][:axes]), "b": (6, 4, *[2, 1, 4][:axes]), "c": (2, 6 * 8)}
    graph = load(saved(tmp_path, weights(**shapes)))
    assert [(layer.name, layer.size) for layer in graph.layers] == [("input", 3), ("a", 4), ("b", 6), ("c", 2)]
    assert graph.number_of_edges() == 3 * 4 + 4 * 6 + 6 * 2


def test_convolutions_need_no_linear_layer(tmp_path):
    graph = load(saved(tmp_path, weights(a=(4, 3, 3, 3), b=(2, 4, 1, 1))))
    assert graph.number_of_nodes() == 9


def test_a_single_layer_without_a_name_is_a_chain(tmp_path):
    layer = nn.Linear(3, 2)
    graph = load(saved(tmp_path, layer.state_dict()))
    traced = from_torch(layer, torch.zeros(1, 3))
    assert graph.layers[1].name == traced.layers[1].name
    assert abs(graph.adjacency() - traced.adjacency()).sum() == 0


def test_names_that_modules_have_already_are_kept(tmp_path):
    graph = load(saved(tmp_path, weights(forward_layers_0=(3, 2), layers_1=(2, 3))))
    assert [layer.name for layer in graph.layers] == ["input", "forward.layers.0", "layers.1"]


def test_weights_keep_their_precision(tmp_path):
    state = {name: tensor.double() for name, tensor in weights(a=(3, 2), b=(2, 3)).items()}
    graph = load(saved(tmp_path, state))
    assert graph.adjacency().dtype == np.float64
    assert np.array_equal(edges_into(graph, "a")[0], state["a.weight"].numpy())


def test_layers_of_one_neuron_stay_layers_of_their_own(tmp_path):
    graph = load(saved(tmp_path, weights(a=(1, 2), b=(1, 1), c=(1, 1))))
    assert [layer.name for layer in graph.layers] == ["input", "a", "b", "c"]


def test_other_weights_can_be_bound_under_the_names_of_the_file(tmp_path):
    graph = load(saved(tmp_path, weights(a=(3, 2), b=(2, 3))))
    other = {name: 2 * tensor for name, tensor in weights(a=(3, 2), b=(2, 3)).items()}
    assert abs(graph.with_weights(other).adjacency() - 2 * graph.adjacency()).sum() == 0


def test_positions_are_not_to_be_had(tmp_path):
    with pytest.raises(LoadError, match=r"strides and padding are not stored.*--arch"):
        load(saved(tmp_path, weights(a=(3, 2))), granularity="position")


# --- safetensors files keep no order ---------------------------------------------------------------------------------


def order(graph):
    return [layer.name for layer in graph.layers[1:]]


@pytest.mark.parametrize(
    "shapes",
    [
        {"fc1": (5, 4), "fc2": (5, 5), "fc10": (5, 5), "fc11": (2, 5)},  # numbers order, not letters
        {"conv1": (4, 3, 3, 3), "conv2": (4, 4, 3, 3), "a1": (7, 4), "a2": (7, 7)},
        {"hidden": (5, 4), "among": (3, 5), "last": (2, 3)},  # only one order fits
        {"stem": (4, 3, 3), "block": (6, 4, 3), "classifier": (2, 12)},
    ],
)
def test_layers_of_a_file_without_order_are_ordered_by_number_or_by_shape(tmp_path, shapes):
    graph = load(saved(tmp_path, weights(**shapes), "chain.safetensors"))
    assert order(graph) == list(shapes)
    in_order = load(saved(tmp_path, weights(**shapes), "chain.pt"))
    assert abs(graph.adjacency() - in_order.adjacency()).sum() == 0


def test_several_orders_are_named(tmp_path):
    path = saved(tmp_path, weights(first=(5, 5), other=(5, 5)), "chain.safetensors")
    with pytest.raises(LoadError, match=r"several fit: first \(5, 5\) → other \(5, 5\) or other \(5, 5\) → first"):
        load(path)


def test_no_order_is_told(tmp_path):
    path = saved(tmp_path, weights(first=(5, 4), other=(5, 4)), "chain.safetensors")
    with pytest.raises(LoadError, match="none is evident"):
        load(path)


def test_many_layers_of_one_shape_are_told_at_once(tmp_path):
    shapes = {chr(ord("a") + place): (5, 5) for place in range(20)}
    with pytest.raises(LoadError, match="keeps no order"):
        load(saved(tmp_path, weights(**shapes), "chain.safetensors"))


# --- what is ambiguous -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (weights(c=(2, 7)), ["c (2, 7) does not follow b (2, 3)", "takes 7 inputs, 2 come out"]),
        ({"norm.weight": torch.ones(2)}, ["norm.weight (2,)", "normalisation", "PReLU"]),
        ({"norm.running_mean": torch.ones(2)}, ["norm.running_mean (2,)", "batch normalisation"]),
        ({"norm.num_batches_tracked": torch.tensor(3)}, ["num_batches_tracked ()", "batch normalisation"]),
        ({"embedding.weight": torch.ones(9, 2)}, ["embedding.weight (9, 2)", "an embedding, or a linear layer"]),
        ({"lstm.weight_ih_l0": torch.ones(8, 2)}, ["lstm.weight_ih_l0 (8, 2)", "recurrent"]),
        ({"mix.in_proj_weight": torch.ones(6, 2)}, ["mix.in_proj_weight (6, 2)", "attention"]),
        ({"c.weight_v": torch.ones(4, 2)}, ["c.weight_v (4, 2)", "reparametrised"]),
        ({"c.bias": torch.ones(4)}, ["c.bias (4,)", "without a weight"]),
        ({"b.bias": torch.ones(9)}, ["b.bias (9,)", "without a weight of as many outputs"]),
        ({"c.weight": torch.ones(4, 2, dtype=torch.int8)}, ["c.weight (4, 2)", "torch.int8"]),
        ({"c.weight": torch.ones(0, 2)}, ["c.weight (0, 2)", "0 elements"]),
        ({"c.weight": torch.ones(1, 1, 1, 1, 1, 1)}, ["c.weight", "no kernel"]),
        ({"scale": torch.ones(2, 2)}, ["scale (2, 2)", "neither a weight nor a bias"]),
        ({"b.inner.weight": torch.ones(2, 2)}, ["layers lie within layers"]),
        (weights(c=(4, 2, 3, 3)), ["a convolution behind a linear layer"]),
    ],
)
def test_what_is_no_part_of_a_chain_is_named_with_its_shape_and_the_remedy(tmp_path, more, parts):
    with pytest.raises(LoadError) as caught:
        load(saved(tmp_path, weights(a=(3, 4), b=(2, 3)) | more))
    for part in ("chain.pt", "--arch package.module:callable", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "part"),
    [
        ({"a": (8, 3, 3, 3), "b": (8, 1, 3, 3)}, "takes 1 channels, one in 8 groups takes 8"),
        ({"a": (8, 3, 3, 3), "b": (6, 4, 3, 3)}, "takes 4 channels, one in 2 groups takes 8"),
        ({"a": (8, 3, 3, 3), "b": (5, 4, 3, 3)}, "takes 4 inputs, 8 come out"),  # 5 channels do not make 2 groups
        ({"a": (8, 3, 3, 3), "b": (2, 20)}, "20 in-features are no whole number of positions of 8 channels"),
        ({"a": (8, 3, 3), "b": (4, 8, 3, 3)}, "kernels of 1 and of 2 axes"),
        ({"deconv1": (8, 3, 3)}, "a transposed convolution, or an ordinary one"),
    ],
)
def test_a_convolution_that_can_be_read_in_two_ways_is_told_with_both(tmp_path, shapes, part):
    with pytest.raises(LoadError, match=part):
        load(saved(tmp_path, weights(**shapes)))


def test_two_heads_are_no_chain(tmp_path):
    with pytest.raises(LoadError, match=r"second \(4, 5\) does not follow first \(2, 5\)"):
        load(saved(tmp_path, weights(body=(5, 3), first=(2, 5), second=(4, 5))))


@pytest.mark.parametrize("name", ["resnet20", "resnet2b", "mtcnn_rnet", "facedet_slim", "mnist_cnn_bn_safetensors"])
def test_stored_networks_that_are_no_chains_are_refused(name):
    require(name)
    with pytest.raises(LoadError, match="no plain chain"):
        load(checkpoint_path(name))
