"""Folders of transformers become graphs with the weights of the folder; no code and no pickle in them is run."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from click.testing import CliRunner

from dnn2graph import InputError, LoadError, load, verify
from dnn2graph.cli import main
from dnn2graph.load import load_model
from dnn2graph.load.huggingface import example_of

transformers = pytest.importorskip("transformers")


def residual():
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic", num_labels=3
    )
    return transformers.ResNetForImageClassification(config).eval()


@pytest.fixture
def folder(tmp_path):
    residual().save_pretrained(tmp_path)
    return tmp_path


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_folder_gives_the_model_with_its_weights(folder):
    loaded, original = load_model(folder), residual()
    expected = original.state_dict()
    assert loaded.model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.model.state_dict().items())
    x = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(loaded.model(x).logits, original(x).logits)


def test_a_folder_gives_a_graph_that_computes_what_the_model_computes(folder):
    loaded = load_model(folder, example_input=torch.zeros(1, 1, 16, 16))
    x = torch.randn(2, 1, 16, 16)
    assert verify(loaded.model, loaded.trace(granularity="position"), x).ok


def test_the_example_has_the_channels_and_the_size_of_the_configuration(folder):
    assert load_model(folder).kwargs["pixel_values"].shape == (1, 1, 64, 64)
    change_config(folder, image_size=48)
    assert load_model(folder).kwargs["pixel_values"].shape == (1, 1, 48, 48)


def test_weights_in_shards_are_read(tmp_path):
    residual().save_pretrained(tmp_path, max_shard_size="2KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert load(tmp_path).number_of_nodes() > 0


def test_the_command_line_inspects_a_folder(folder):
    result = CliRunner().invoke(main, ["inspect", str(folder)])
    assert result.exit_code == 0, result.output
    assert "classifier" in result.output


SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.mark.parametrize(
    ("model", "config", "shapes"),
    [
        ("BertModel", ("BertConfig", {"vocab_size": 11, **SMALL}), {"input_ids": (1, 8)}),
        (
            "LlamaForCausalLM",
            ("LlamaConfig", {"vocab_size": 5, "num_key_value_heads": 1, "max_position_embeddings": 6, **SMALL}),
            {"input_ids": (1, 6)},
        ),
        (
            "T5ForConditionalGeneration",
            ("T5Config", {"vocab_size": 11, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}),
            {"input_ids": (1, 8), "decoder_input_ids": (1, 4)},
        ),
        ("ViTModel", ("ViTConfig", {"image_size": 16, "patch_size": 8, **SMALL}), {"pixel_values": (1, 3, 16, 16)}),
        (
            "WhisperModel",
            (
                "WhisperConfig",
                {"vocab_size": 11, "d_model": 8, "num_mel_bins": 4, "max_source_positions": 6, "pad_token_id": 0}
                | {f"{part}_layers": 1 for part in ("encoder", "decoder")}
                | {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
                | {f"{part}_ffn_dim": 8 for part in ("encoder", "decoder")},
            ),
            {"input_features": (1, 4, 12), "decoder_input_ids": (1, 4)},
        ),
        (
            "Wav2Vec2Model",
            ("Wav2Vec2Config", {"conv_dim": (4,) * 7, "num_conv_pos_embedding_groups": 2, **SMALL}),
            {"input_values": (1, 4000)},
        ),
    ],
)
def test_the_example_is_what_each_kind_of_model_takes(tmp_path, model, config, shapes):
    name, options = config
    getattr(transformers, model)(getattr(transformers, name)(**options)).save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert {key: tuple(x.shape) for key, x in loaded.kwargs.items()} == shapes
    with torch.no_grad():
        assert loaded.model(**loaded.kwargs)
    assert not getattr(loaded.model.config, "use_cache", False)


def test_an_input_of_an_unknown_kind_is_asked_for(folder):
    model = residual()
    model.main_input_name = "point_cloud"
    with pytest.raises(InputError, match=r"'point_cloud' is not known.*example_input"):
        example_of(model, folder)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"auto_map": {"AutoModel": "modeling.Model"}}, "auto_map.*never runs code"),
        ({"text_config": {"auto_map": {"AutoConfig": "modeling.Config"}}}, "auto_map.*never runs code"),
        ({"_attn_implementation": "someone/kernels"}, "asks for code from elsewhere"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantised"),
        ({"architectures": ["ResNetForImageClasification"]}, "is ResNetForImageClassification meant"),
        ({"architectures": ["pipeline"]}, "has no model 'pipeline'"),
        ({"architectures": ["ResNetConfig"]}, "has no model 'ResNetConfig'"),
        ({"architectures": ["os.system"]}, "has no model 'os.system'"),
        ({"architectures": None}, "names no one architecture"),
        ({"architectures": ["A", "B"]}, "names no one architecture"),
        ({"hidden_sizes": [4, 7]}, "damaged or do not fit"),
        ({"hidden_sizes": "wide"}, "damaged or do not fit"),
        ({"depths": [2, 1]}, "missing '.*layers.1"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_told(folder, changes, part):
    change_config(folder, **changes)
    with pytest.raises(LoadError, match=part):
        load(folder)


def test_code_beside_the_weights_is_not_run(folder, tmp_path):
    marker = tmp_path / "code-ran"
    (folder / "modeling.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    change_config(folder, auto_map={"AutoModelForImageClassification": "modeling.Model"})
    with pytest.raises(LoadError, match="auto_map"):
        load(folder)
    assert not marker.exists()


def test_missing_weights_are_told(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LoadError, match=r"no weights.*'pytorch_model\.bin' is a pickle: save the model again"):
        load(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(LoadError, match=r"no weights.*download the folder again"):
        load(folder)


def test_a_missing_shard_is_named(tmp_path):
    residual().save_pretrained(tmp_path, max_shard_size="2KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(LoadError, match=f"missing: '{shard.name}'"):
        load(tmp_path)


def test_weights_that_are_cut_off_are_told(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(LoadError, match=r"model\.safetensors.*truncated or corrupt"):
        load(folder)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_configuration_is_told(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(LoadError, match=r"config\.json"):
        load(folder)


def test_a_folder_of_something_else_is_told(tmp_path):
    with pytest.raises(LoadError, match=r"folder without config\.json"):
        load(tmp_path)


def test_without_the_package_the_remedy_is_told(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(LoadError, match="pip install transformers"):
        load(folder)


def test_loading_leaves_the_settings_of_transformers_as_they_were(folder):
    from huggingface_hub import constants
    from transformers.utils import logging

    before = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model(folder)
    assert (constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
