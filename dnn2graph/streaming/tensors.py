"""Where the tensors of safetensors files lie. Headers are checked before anything is read, and nothing is copied."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..errors import LoadError
from ..load.files import existing_file, reading
from ..load.sharded import DOWNLOAD, read_index
from .formats import FORMATS, Format

SUFFIX = ".safetensors"
INDEX = ".safetensors.index.json"
DAMAGED = "it is truncated, corrupt or no safetensors file; copy it again"
HUGE = 1 << 21  # bytes of a large page, which is not to be taken apart
HELD = 1 << 27  # bytes of memory of a file, at most
RARELY = 64  # times as long as it takes to give memory back, until that is done again
LONGEST = 1 << 16  # axis beside one of length 0: else a header alone could ask for any memory for its sums


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file.

    Attributes
    ----------
    name : str
    dtype : str
        As safetensors calls it, such as "BF16".
    shape : tuple of int
    file : Path
    begin, end : int
        Its bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.end - self.begin

    @property
    def format(self) -> Format | None:
        """How its weights are stored; None if they are no floating-point numbers that are known."""
        return FORMATS.get(self.dtype)


def holds_tensors(path: str | Path) -> bool:
    """Tell by its name whether a path is for :func:`stored_tensors`: a safetensors file, an index, or a folder."""
    path = Path(path)
    return path.name.lower().endswith((SUFFIX, INDEX)) or path.is_dir()


def stored_tensors(path: str | Path) -> list[StoredTensor]:
    """List the tensors of a file, or of a folder of shards; only headers are read.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file, an index (``model.safetensors.index.json``), or a folder with one or the other.

    Returns
    -------
    list of StoredTensor
        In the order in which they lie in the file; files in the order of their names.

    Raises
    ------
    LoadError
        If a file is missing or damaged, or a header or an index does not fit the files.
    """
    path = Path(path)
    path = _the_one_in(path) if path.is_dir() else existing_file(path)
    name = path.name.lower()
    if name.endswith(INDEX):
        return _of_index(path)
    if not name.endswith(SUFFIX):
        raise LoadError(f"'{path}' is no safetensors file by its name: those end in {SUFFIX} or {INDEX}")
    return _of_file(path)


def _the_one_in(folder: Path) -> Path:
    """Find the index or the only safetensors file of a folder."""
    names = sorted(each.name for each in folder.iterdir())
    files = [name for name in names if name.lower().endswith(SUFFIX)]
    chosen = [name for name in names if name.lower().endswith(INDEX)] or files
    if len(chosen) == 1:
        return existing_file(folder / chosen[0])
    if not chosen:
        raise LoadError(f"the folder '{folder}' holds no file that ends in {SUFFIX}: name another folder or a file")
    listed = ", ".join(chosen[:6]) + (" …" if len(chosen) > 6 else "")
    raise LoadError(f"the folder '{folder}' holds {len(chosen)} models by their names ({listed}): name one of them")


def _of_index(path: Path) -> list[StoredTensor]:
    """List the tensors of all shards that an index names."""
    found = []
    for file, names in sorted(read_index(path).items()):
        there = {tensor.name: tensor for tensor in _of_file(path.parent / file)}
        if missing := [name for name in names if name not in there]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise LoadError(f"'{path}' places {missing[0]!r}{more} in '{file}', which does not hold it: {DOWNLOAD}")
        found += sorted((there[name] for name in names), key=lambda tensor: tensor.begin)
    return found


def _of_file(path: Path) -> list[StoredTensor]:
    """List the tensors of one file."""
    from safetensors import safe_open

    with reading(path, DAMAGED):
        with safe_open(path, "np"):
            pass  # the library has checked that the header fits the file
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        found = [_entry(path, 8 + length, name, entry) for name, entry in header.items()]
        size = path.stat().st_size
        for tensor in found:
            known = tensor.format
            fits = 8 + length <= tensor.begin <= tensor.end <= size and (
                known is None or tensor.nbytes == tensor.size * np.dtype(known.bits).itemsize
            )
            if not fits:  # the file was exchanged in between
                raise LoadError(f"'{path}' is damaged: {tensor.name!r} does not lie where its header says: {DAMAGED}")
            if not tensor.size and max(tensor.shape) > LONGEST:
                shape = " x ".join(map(str, tensor.shape))
                raise LoadError(f"'{path}' is damaged: {tensor.name!r} of shape {shape} has no weights: {DAMAGED}")
    return sorted(found, key=lambda tensor: tensor.begin)


def _entry(path: Path, start: int, name: str, entry: dict[str, Any]) -> StoredTensor:
    begin, end = entry["data_offsets"]
    return StoredTensor(name, entry["dtype"], tuple(entry["shape"]), path, start + begin, start + end)


class MappedFile:
    """A file whose bytes are read where the system keeps them, and that holds on to none.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._held_from, self._due = 0, 0.0
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_SEQUENTIAL)

    def bits(self, tensor: StoredTensor, format: Format) -> np.ndarray:
        """View the bits of a tensor, flat."""
        return np.frombuffer(self._map, format.bits, tensor.size, tensor.begin)

    def passed(self, end: int, held: int) -> None:
        """Note that what lies before some byte is done with; its memory is given back soon, before it is too much.

        To give memory back takes some microseconds in which all threads have to be asked, and on some virtual machines
        a millisecond. So it is not done again at once, unless more than ``held`` bytes have come together.
        """
        now, end = perf_counter(), end // HUGE * HUGE
        if now >= self._due or end - self._held_from >= min(held, HELD):
            self.release(self._held_from, end)
            self._held_from, self._due = end, now + RARELY * (perf_counter() - now)

    def release(self, begin: int, end: int) -> None:
        """Give back the memory of some bytes; the system keeps them and they can be read again."""
        begin, end = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if begin < end and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)

    def close(self) -> None:
        """End the mapping; where an error still holds what :meth:`bits` gave, it ends with the last of that."""
        with suppress(BufferError):
            self._map.close()


@contextmanager
def mapped(path: Path) -> Iterator[MappedFile]:
    """Map a file as long as it is needed."""
    file = MappedFile(path)
    try:
        yield file
    finally:
        file.close()
