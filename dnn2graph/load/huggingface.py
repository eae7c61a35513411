"""Folders of the transformers library: a configuration, and weights as safetensors.

The architecture is code of the installed transformers, never code that comes with the folder. Weights are mapped into
memory, not copied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, LoadError
from .files import existing_file, reading
from .sharded import read_index

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TOKENS = 8
PIXELS = 64  # where a configuration states no size, it is of no matter to the model
SAMPLES = 4000  # of sound: a quarter of a second
DOWNLOAD = "download the folder again"


def load_folder(folder: Path) -> nn.Module:
    """Build the model of a folder with its weights.

    Parameters
    ----------
    folder : Path
        With ``config.json``, and ``model.safetensors`` or shards with their index.

    Returns
    -------
    Module
        Without a cache of keys and values, so that its outputs are tensors.

    Raises
    ------
    LoadError
        If transformers is not installed, the folder would have code run, or its parts are missing or do not fit.
    """
    config = _config(folder)
    _refuse_code(folder, config)
    weights = _weights(folder)
    architecture = _architecture(folder, config)
    with _quiet(), reading(folder, f"its configuration or weights are damaged or do not fit; {DOWNLOAD}"):
        model, report = architecture.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    wrong = [
        f"{what} {', '.join(map(repr, sorted(map(str, report[key]))[:6]))}"
        for key, what in (("missing_keys", "missing"), ("unexpected_keys", "unexpected"), ("mismatched_keys", "misfit"))
        if report.get(key)
    ]
    if wrong:
        misfit = f"'{weights}' does not fit the architecture {architecture.__name__}"
        raise LoadError(f"{misfit}: {'; '.join(wrong)}: {DOWNLOAD}")
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    return model.eval()


def example_of(model: Any, folder: Path) -> dict[str, Tensor]:
    """Make a small input for a model of transformers, by the kind of its main input.

    Raises
    ------
    InputError
        If it is of another kind than tokens, pixels or sound.
    """
    name, config = model.main_input_name, model.config
    found = {name: _tokens(config)} if name == "input_ids" else {name: torch.zeros(_shape(config, name, folder))}
    found = {key: x.to(model.dtype) if x.is_floating_point() else x for key, x in found.items()}
    if getattr(config, "is_encoder_decoder", False):
        found["decoder_input_ids"] = _tokens(config)[:, : TOKENS // 2]
    return found


def _tokens(config: Any) -> Tensor:
    """Return a sentence of different tokens, (1, tokens)."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    longest = min(TOKENS, getattr(text, "max_position_embeddings", None) or TOKENS)
    return torch.arange(longest).remainder(text.vocab_size)[None]


def _shape(config: Any, name: str, folder: Path) -> tuple[int, ...]:
    """Return the shape of an image, a film or a sound."""
    if name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", None) or PIXELS
        height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
        frames = (config.num_frames,) if getattr(config, "num_frames", None) else ()
        return (1, *frames, getattr(vision, "num_channels", 3), height, width)
    if name == "input_values":
        return (1, SAMPLES)
    if name == "input_features" and hasattr(config, "max_source_positions") and hasattr(config, "num_mel_bins"):
        return (1, config.num_mel_bins, 2 * config.max_source_positions)
    raise InputError(f"'{folder}': the shape of the input {name!r} is not known: in Python, pass example_input=...")


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).exists():
        raise LoadError(
            f"'{folder}' is a folder without {CONFIG}: name one that save_pretrained of transformers wrote, or a file "
            "in it; a folder of Parquet tables is read by dnn2graph.read"
        )
    path = existing_file(folder / CONFIG)
    with reading(path, f"it is damaged; {DOWNLOAD}"):
        config = json.loads(path.read_bytes())
    if not isinstance(config, dict):
        raise LoadError(f"'{path}' is no configuration of a model: {DOWNLOAD}")
    return config


def _refuse_code(folder: Path, config: dict[str, Any]) -> None:
    """Raise LoadError if a configuration asks for code or models other than those that are installed."""
    for key, value in _entries(config):
        if key in ("auto_map", "custom_pipelines") and value:
            raise LoadError(
                f"'{folder / CONFIG}' is refused: its model is code that comes with the folder ({key}), and dnn2graph "
                "never runs code of a file: build the model in Python and pass it to dnn2graph.from_torch"
            )
        if "implementation" in key and isinstance(value, str) and "/" in value:
            elsewhere = f"it asks for code from elsewhere ({key} = {value!r})"
            raise LoadError(f"'{folder / CONFIG}' is refused: {elsewhere}: remove that entry")
        if key == "quantization_config" and value:
            raise LoadError(f"'{folder / CONFIG}' is of quantised weights: use the folder of the model before that")
    if (folder / "adapter_config.json").exists():
        raise LoadError(f"'{folder}' holds an adapter: merge it into its model and save that")


def _entries(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from _entries(value)


def _weights(folder: Path) -> Path:
    """Find the weights, and see that headers and sizes agree, which costs no reading."""
    from safetensors import safe_open

    path = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if path is None:
        pickled = next(folder.glob("pytorch_model*.bin*"), None)
        again = "save the model again with save_pretrained"
        hint = f"; '{pickled.name}' is a pickle: {again}" if pickled else f": {DOWNLOAD}"
        raise LoadError(f"the folder '{folder}' has no weights, {' or '.join(WEIGHTS)}{hint}")
    files = [path] if path.suffix == ".safetensors" else [folder / name for name in read_index(existing_file(path))]
    for file in map(existing_file, files):
        with reading(file, f"it is truncated or corrupt; {DOWNLOAD}"), safe_open(file, "pt") as tensors:
            tensors.keys()
    return path


def _architecture(folder: Path, config: dict[str, Any]) -> Any:
    """Find the class that a configuration names."""
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise LoadError(f"'{folder / CONFIG}' names no one architecture (architectures = {names!r}): add its class")
    try:
        import transformers
    except ImportError as error:
        raise LoadError(f"'{folder}' needs transformers to be read: pip install transformers") from error
    with _quiet():
        found = getattr(transformers, names[0], None) if names[0].isidentifier() else None
        if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
            near = get_close_matches(names[0], dir(transformers), 1)
            hint = f" (is {near[0]} meant?)" if near else ""
            raise LoadError(
                f"'{folder / CONFIG}': the installed transformers {transformers.__version__} has no model "
                f"{names[0]!r}{hint}: upgrade it, or correct the name"
            )
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from the network, from progress bars and from advice; put all back at the end."""
    from huggingface_hub import constants
    from transformers.utils import logging

    offline, verbosity, bars = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        constants.HF_HUB_OFFLINE = True
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
