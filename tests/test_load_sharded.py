"""A state dict in several files is one state dict; an index that lies is told."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dnn2graph import LoadError, from_torch, load, strength
from dnn2graph.load import load_model, read_state_dict


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def write_index(folder, where, name="model.safetensors.index.json"):
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": where}))
    return folder / name


@pytest.fixture
def sharded(tmp_path):
    """An index of two shards, a layer in each."""
    where = {}
    for layer in ("0", "2"):
        part = {name: tensor for name, tensor in perceptron().state_dict().items() if name.startswith(layer)}
        save_file(part, tmp_path / f"model-{layer}.safetensors")
        where |= dict.fromkeys(part, f"model-{layer}.safetensors")
    return write_index(tmp_path, where)


def test_shards_are_one_state_dict(sharded):
    expected = perceptron().state_dict()
    found = read_state_dict(sharded)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("named", ["index", "folder"])
def test_shards_give_the_graph_of_their_model(sharded, named):
    untrained = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    graph = load(sharded if named == "index" else sharded.parent, untrained)
    assert (strength(graph) == strength(from_torch(perceptron(), torch.zeros(1, 4)))).all()


def test_shards_that_form_a_chain_need_no_model(sharded):
    assert [layer.name for layer in load(sharded).layers] == ["input", "0", "2"]


def test_pickled_shards_are_read_too(tmp_path):
    torch.save(perceptron().state_dict(), tmp_path / "pytorch_model-1.bin")
    where = dict.fromkeys(perceptron().state_dict(), "pytorch_model-1.bin")
    assert load(write_index(tmp_path, where, "pytorch_model.bin.index.json"), perceptron()).number_of_nodes() == 9


def test_a_model_on_the_meta_device_is_given_the_tensors_themselves(sharded):
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    loaded = load_model(sharded, model)
    assert torch.equal(loaded.model[2].weight, perceptron()[2].weight)
    assert not any(parameter.is_meta for parameter in loaded.model.parameters())


def test_a_shared_weight_on_the_meta_device_may_be_stored_once(tmp_path):
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        model[1].weight = model[0].weight
    save_file({"0.weight": torch.eye(4)}, tmp_path / "tied.safetensors")
    loaded = load_model(tmp_path / "tied.safetensors", model).model
    assert torch.equal(loaded[1].weight, torch.eye(4))
    assert loaded[1].weight.data_ptr() == loaded[0].weight.data_ptr()


def test_missing_shards_are_named(sharded):
    (sharded.parent / "model-2.safetensors").unlink()
    with pytest.raises(LoadError, match=r"files that are missing: 'model-2\.safetensors': download"):
        load(sharded)


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ({"0.weight": "../secret.safetensors"}, "no shard beside it"),
        ({"0.weight": "/etc/hostname"}, "no shard beside it"),
        ({"0.weight": ""}, "no shard beside it"),
        ({"0.weight": 3}, "no shard beside it"),
        ({"0.weight": "model.safetensors.index.json"}, "no shard beside it"),
        ([], "no index of shards"),
        ({}, "names no tensor"),
        ({"0.weight": "model-0.safetensors"}, "'0.bias' .the index does not name it"),
        (
            dict.fromkeys(["0.weight", "0.bias", "9.weight"], "model-0.safetensors"),
            "'9.weight' .the index names it there",
        ),
    ],
)
def test_an_index_that_lies_is_told(sharded, where, part):
    with pytest.raises(LoadError, match=part):
        load(write_index(sharded.parent, where))


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b'{"weight_map": null}', b"[" * 100_000])
def test_an_index_that_is_damaged_is_told(sharded, content):
    sharded.write_bytes(content)
    with pytest.raises(LoadError, match="no index of shards"):
        load(sharded)


def test_a_shard_that_is_cut_off_is_told(sharded):
    shard = sharded.parent / "model-2.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(LoadError, match=r"model-2\.safetensors.*copy it again"):
        load(sharded)
