"""What all formats share: a file that is there, and one error for whatever a damaged one makes a reader raise."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from ..errors import LoadError


def existing_file(path: str | Path) -> Path:
    """Return the path of a regular file that is not empty.

    Raises
    ------
    LoadError
        If there is none; the message lists files with near names.
    """
    path = Path(path)
    try:
        if not path.exists():
            near = get_close_matches(path.name, [each.name for each in path.parent.glob("*")])
            hint = f": did you mean {', '.join(map(repr, near))}?" if near else ": check the path"
            raise LoadError(f"'{path}' does not exist{hint}")
        if not path.is_file():  # a folder, but also a pipe or a device, which may never end
            raise LoadError(f"'{path}' is {'a folder' if path.is_dir() else 'no regular file'}: name a model file")
        if not path.stat().st_size:
            raise LoadError(f"'{path}' is empty: copy or download it again")
        path.open("rb").close()
    except OSError as error:
        raise LoadError(f"'{path}' cannot be opened ({error}): check the path and its permissions") from error
    return path


def check_archive(path: Path) -> None:
    """Raise if a part of a zip archive does not have its checksum: torch reads it without looking.

    Raises
    ------
    LoadError
        With the name of the part.
    """
    with reading(path, "it is truncated or corrupt; copy it again"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise LoadError(
                    f"'{path}' is damaged: its part '{damaged}' does not have the checksum it was saved with; "
                    "copy it again (if it was saved without checksums, save it with them)"
                )


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn any failure to decode a file into one LoadError with the file, the cause and the remedy."""
    try:
        yield
    except LoadError:
        raise
    # Any exception: on damaged bytes pickle, zip and json readers raise a dozen types, IndexError and KeyError too.
    except Exception as error:
        raise LoadError(f"'{path}' cannot be read ({cause(error)}): {remedy}") from error


def cause(error: Exception) -> str:
    """Say what went wrong in one line: torch's messages run to pages of advice."""
    lines = str(error).strip().splitlines()
    sentence = lines[0].split(". ")[0].rstrip(".: ") if lines else ""
    bare = not sentence or isinstance(error, LookupError)  # str(KeyError(118)) is no sentence
    return f"{type(error).__name__} {sentence}".strip() if bare else sentence
