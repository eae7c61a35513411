"""Bytes of a graph file, plain or compressed, in blocks."""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import LoadError
from ..progress import Progress

BLOCK = 1 << 20  # bytes read at a time: large enough that nothing is done often, small enough for the cache
GZIP = b"\x1f\x8b"


def blocks(path: Path, progress: Progress | None = None) -> Iterator[bytes]:
    """Read a file, decompressed if it is compressed, whatever its name.

    Raises
    ------
    LoadError
        If it cannot be read, is no file, or its compressed data are damaged.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # a pipe might never open, or end
            raise LoadError(f"{str(path)!r} is no regular file: copy it into one")
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP
            raw.seek(0)
            file = gzip.GzipFile(fileobj=raw) if compressed else raw
            while block := file.read(BLOCK):
                yield block
                if progress:
                    progress(raw.tell(), status.st_size)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise LoadError(f"{str(path)!r} is damaged or cut off ({error}): copy or compress it again") from error
    except OSError as error:
        raise LoadError(
            f"cannot read {str(path)!r}: {error.strerror or error}: check the path and its permissions"
        ) from error
