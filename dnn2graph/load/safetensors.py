"""State dicts in the safetensors format, which holds tensors and no code."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .files import reading


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file, in order of their names: the file keeps no other.

    Raises
    ------
    LoadError
        If the file is truncated, or its header does not fit its contents.
    """
    from safetensors.torch import load_file

    with reading(path, "it is truncated, corrupt or no safetensors file; copy it again"):
        return load_file(path)
