"""Files that are whole or not there: written beside their place and moved into it at the end."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

from ..errors import ExportError

COMPRESSION = 4  # of 9: half the time of the default level and a few per cent more bytes

REMEDIES = {
    errno.ENOSPC: "free some space, write to another disk, or give a name that ends in .gz",
    errno.EDQUOT: "free some space, write to another disk, or give a name that ends in .gz",
    errno.EFBIG: "write to another disk, or give a name that ends in .gz",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOENT: "create the folder first",
    errno.ENOTDIR: "a part of that path is a file, choose a folder",
    errno.EISDIR: "add a file name to the folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place only when it is complete.

    Whatever stops the writing, the old file at that path stays as it was and nothing else is left; only a process that
    is killed outright leaves its unfinished file behind, as ``.dnn2graph-….tmp`` in the same folder. A name that ends
    in ``.gz`` is compressed. Devices and pipes are written to directly.

    Raises
    ------
    ExportError
        If the file cannot be written: the path, the cause and the remedy.
    """
    path = Path(path)
    with explaining(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_special(path):
            with path.open("wb") as raw, compressed(raw, path) as file:
                yield file
            return
        target = Path(os.path.realpath(path))  # a link stays a link, to the new file
        unfinished = unfinished_beside(target)
        try:
            with complete(unfinished, path) as file:
                yield file
            unfinished.replace(target)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn a failure to write into one ExportError: the path that the user gave, the cause and the remedy."""
    try:
        yield
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "check the path and the disk")
        raise ExportError(f"cannot write {str(path)!r}: {error.strerror or error}: {remedy}") from error


def unfinished_beside(target: Path) -> Path:
    """Name something unfinished, on the file system of what it will become."""
    return target.with_name(f".dnn2graph-{uuid4().hex}.tmp")


@contextmanager
def complete(path: Path, name: str | Path) -> Iterator[BinaryIO]:
    """Open a new file that is on the disk when this ends; compressed, if its ``name`` says so."""
    with path.open("xb") as raw:
        with compressed(raw, Path(name)) as file:
            yield file
        raw.flush()
        os.fsync(raw.fileno())


def _is_special(path: Path) -> bool:
    """Whether something stands there that cannot be replaced: a device, a pipe."""
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


@contextmanager
def compressed(raw: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """Compress what is written, if the name says so. No time stamp: equal graphs make equal files."""
    if path.suffix.lower() != ".gz":
        yield raw
        return
    with gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=raw, mtime=0) as file:
        yield cast(BinaryIO, file)
