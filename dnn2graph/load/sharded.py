"""State dicts in several files, with an index that says which tensor lies where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LoadError
from .files import existing_file, reading
from .formats import INDEX, suffix_of

if TYPE_CHECKING:
    from torch import Tensor

DOWNLOAD = "download the folder again, index and shards"


def read_index(path: Path) -> dict[str, list[str]]:
    """Read which tensors each shard holds, and see that all shards are there.

    Returns
    -------
    dict from file name to names of tensors

    Raises
    ------
    LoadError
        If the index is damaged, or names files that are missing or outside of its folder.
    """
    with reading(path, f"it is no index of shards; {DOWNLOAD}"):
        document = json.loads(path.read_bytes())
        where = document["weight_map"]
        shards: dict[str, list[str]] = {}
        for name, file in where.items():
            if not _is_beside(file):
                raise LoadError(f"'{path}' is refused: it names {file!r}, which is no shard beside it: {DOWNLOAD}")
            shards.setdefault(file, []).append(name)
    if not shards:
        raise LoadError(f"'{path}' names no tensor: {DOWNLOAD}")
    if missing := [file for file in shards if not (path.parent / file).exists()]:
        raise LoadError(f"'{path}' names files that are missing: {', '.join(map(repr, sorted(missing)))}: {DOWNLOAD}")
    for file in shards:
        existing_file(path.parent / file)
    return shards


def _is_beside(file: object) -> bool:
    """Whether this is the name of a file in the same folder, and not of another index."""
    if not isinstance(file, str) or not file or "\0" in file:
        return False
    return Path(file).name == file and suffix_of(Path(file)) != INDEX


def read_sharded(path: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Read the tensors of all shards, in the order of the index.

    Parameters
    ----------
    path : Path
        Of the index.
    read : callable
        Reads the state dict of one file.

    Raises
    ------
    LoadError
        If the index and the shards disagree.
    """
    found: dict[str, Tensor] = {}
    for file, names in read_index(path).items():
        tensors = read(path.parent / file)
        differing = sorted(set(names) ^ set(tensors))
        if differing:
            where = "names it there" if differing[0] in names else "does not name it"
            raise LoadError(
                f"'{path.parent / file}' and its index disagree on {len(differing)} tensors, such as {differing[0]!r} "
                f"(the index {where}): {DOWNLOAD}"
            )
        found |= tensors
    return found
