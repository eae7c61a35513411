"""State dicts: unwrapped from whatever holds them, and bound to a model strictly."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import LoadError
from .files import existing_file
from .formats import INDEX, SAFETENSORS, STATE_DICTS, suffix_of
from .layers import without_prefixes
from .pickled import read_pickled
from .safetensors import read_safetensors
from .sharded import read_sharded

WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
NAMED_AT_MOST = 6  # keys in an error message


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the parameters and buffers that a file holds; nothing in it can run code.

    Parameters
    ----------
    path : path
        ``.pt .pth .th .model .bin .ckpt`` as torch.save writes them, ``.safetensors``, or the index of shards of
        either, ``model.safetensors.index.json``. A state dict wrapped as
        ``{"state_dict": …}``, ``{"model": …}`` or ``{"model_state_dict": …}``, or in a list of one, is unwrapped.

    Returns
    -------
    dict from name to tensor
        In the order of the file, names as they stand there.

    Raises
    ------
    LoadError
        If the file is missing, damaged, would run code, or holds no state dict.
    """
    path = existing_file(path)
    suffix = suffix_of(path)
    if suffix not in STATE_DICTS:
        raise LoadError(f"'{path}' is no state dict by its name: those end in {', '.join(STATE_DICTS)}")
    if suffix == INDEX:
        return read_sharded(path, read_state_dict)
    return _unwrapped(path, read_safetensors(path) if suffix == SAFETENSORS else read_pickled(path))


def _unwrapped(path: Path, stored: Any) -> dict[str, Tensor]:
    """Find the state dict in what a file holds."""
    while True:
        if isinstance(stored, list | tuple) and len(stored) == 1:
            stored = stored[0]
        elif isinstance(stored, Mapping) and (key := next((k for k in WRAPPERS if k in stored), None)) is not None:
            if isinstance(stored[key], Tensor):  # a parameter of that name
                break
            stored = stored[key]
        else:
            break
    if not isinstance(stored, Mapping):
        raise LoadError(f"'{path}' holds a {type(stored).__name__}, no state dict: save model.state_dict()")
    if not stored:
        raise LoadError(f"'{path}' holds an empty state dict: save the state dict of a model with parameters")
    other = [key for key, value in stored.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if other:
        raise LoadError(
            f"'{path}' holds no state dict: {_listed(other)} of its {len(stored)} entries are no tensors under a "
            f"name. Save model.state_dict() alone, or under one of the keys {', '.join(WRAPPERS)}"
        )
    # A plain dict also drops the version mark: torch then accepts batch norms of the time before they counted batches.
    return dict(stored)


def load_weights(model: nn.Module, state_dict: Mapping[str, Tensor], path: Path) -> None:
    """Give a model the weights of a state dict: every tensor is used, and every parameter gets one.

    Parameters that are stored once because the model shares them may be missing, and so may the counters of batches.

    Raises
    ------
    LoadError
        If a name is missing, unexpected, or of another shape; they are named.
    """
    own = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    if not set(state_dict) <= set(own):  # a model may itself have a part that is called "module"
        state_dict = without_prefixes(state_dict)
    given = {_place(own[name]): name for name in own if name in state_dict}
    missing = [
        name
        for name, tensor in own.items()
        if name not in state_dict and not name.endswith("num_batches_tracked") and _place(tensor) not in given
    ]
    unexpected = [name for name in state_dict if name not in own]
    shaped = [
        f"{name} is {tuple(tensor.shape)} instead of {tuple(own[name].shape)}"
        for name, tensor in state_dict.items()
        if name in own and not is_lazy(own[name]) and own[name].shape != tensor.shape
    ]
    wrong = [f"missing {_listed(missing)}"] if missing else []
    wrong += [f"unexpected {_listed(unexpected)}"] if unexpected else []
    wrong += ["; ".join(shaped[:NAMED_AT_MOST]) + _more(shaped)] if shaped else []
    if wrong:
        near = get_close_matches(missing[0], unexpected, 1) if missing else []
        hint = f" (is {near[0]!r} meant to be {missing[0]!r}?)" if near else ""
        raise LoadError(
            f"'{path}' does not fit the architecture {type(model).__name__}: {'; '.join(wrong)}{hint}: "
            "name the architecture that these weights were trained in"
        )
    on_meta = any(tensor.is_meta for tensor in own.values())
    if on_meta:  # nothing to copy into: the tensors themselves become the parameters, under each name of a shared one
        shared = {name: given[_place(tensor)] for name, tensor in own.items() if _place(tensor) in given}
        state_dict = {name: state_dict[same] for name, same in shared.items()}
    try:
        model.load_state_dict(state_dict, strict=False, assign=on_meta)
    except RuntimeError as error:
        raise LoadError(
            f"'{path}' cannot be loaded into {type(model).__name__} ({' '.join(str(error).split())}): "
            "name the architecture that these weights were trained in"
        ) from error


def _place(tensor: Tensor) -> object:
    """Tell where in memory a tensor lies: equal for a shared one only."""
    empty = is_lazy(tensor) or tensor.is_meta or not tensor.numel()
    return id(tensor) if empty else (tensor.data_ptr(), tensor.shape)


def _listed(names: list[Any]) -> str:
    return ", ".join(map(repr, names[:NAMED_AT_MOST])) + _more(names)


def _more(names: list[Any]) -> str:
    return f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
