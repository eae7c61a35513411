"""Several files that appear together or not at all: a few of one name, or a whole folder."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import ExportError
from .files import complete, explaining, unfinished_beside

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux


@contextmanager
def replacing_together(*paths: Path) -> Iterator[list[BinaryIO]]:
    """Open files of one folder for writing that take their places only when all of them are complete.

    As :func:`.replacing`; whatever stops the writing, all old files stay. No file system renames two files in one step:
    a process that is killed outright just between the last steps, one rename for each file and nothing else, leaves
    complete new files beside complete old ones. Then the old ones that were replaced, and the new ones that were not,
    lie in the folder ``.dnn2graph-….tmp`` that it leaves behind; writing again makes the set whole.

    Raises
    ------
    ExportError
        If a file cannot be written: the path, the cause and the remedy.
    """
    with ExitStack() as stack:
        for path in paths:
            with explaining(path):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with explaining(paths[0]):
            folder = unfinished_beside(paths[0])
            folder.mkdir()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with ExitStack() as opened:
            files = []
            for path in paths:
                opened.enter_context(explaining(path))
                files.append(opened.enter_context(complete(folder / path.name, path)))
            yield files
        _move_all(folder, paths)


def _move_all(folder: Path, paths: Collection[Path]) -> None:
    """Move files into their places, one directly after the other; if one cannot be, put the old ones back."""
    targets = [Path(os.path.realpath(path)) for path in paths]  # a link stays a link, to the new file
    with ExitStack() as undo:
        for path, target in zip(paths, targets, strict=True):
            with explaining(path):
                old = folder / f"{path.name}.old"
                if target.exists():
                    _keep(target, old)
                    undo.callback(old.replace, target)
                else:
                    undo.callback(target.unlink, missing_ok=True)
        for path, target in zip(paths, targets, strict=True):
            with explaining(path):
                (folder / path.name).replace(target)
        undo.pop_all()


def _keep(file: Path, copy: Path) -> None:
    """Give a file a second name; where the file system knows no such thing, a copy."""
    try:
        os.link(file, copy)
    except OSError:
        shutil.copy2(file, copy)


@contextmanager
def replacing_folder(path: str | Path, ours: Collection[str]) -> Iterator[Path]:
    """Make a folder that takes its place only when it is complete; yields where to write, with :func:`.complete`.

    An older folder at that path is replaced if it is empty or holds nothing but what such a folder holds. Whatever
    stops the writing, the older one stays as it was.

    Parameters
    ----------
    path : str or Path
    ours : collection of str
        The names in such a folder.

    Raises
    ------
    ExportError
        If the folder cannot be written, or something else is there: the path, the cause and the remedy.
    """
    path = Path(path)
    with explaining(path):
        target = Path(os.path.realpath(path))
        if target.exists():
            _check_replaceable(path, target, ours)
        unfinished = unfinished_beside(target)
        try:
            unfinished.mkdir()
            yield unfinished
            if target.exists():
                _exchange(unfinished, target)  # what is called unfinished is now the old one
                shutil.rmtree(unfinished, ignore_errors=True)
            else:
                unfinished.rename(target)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(unfinished)
            raise


def _check_replaceable(path: Path, target: Path, ours: Collection[str]) -> None:
    """Raise ExportError if something would be lost that was not written by us."""
    if not target.is_dir():
        raise ExportError(f"cannot write '{path}': it is a file, and this format is a folder: give another name")
    names = {entry.name for entry in target.iterdir()}
    if foreign := sorted(names - set(ours)):
        raise ExportError(
            f"cannot write '{path}': that folder holds other files, such as {foreign[0]!r}, which would be lost: "
            "give the name of a new folder"
        )


def _exchange(new: Path, old: Path) -> None:
    """Exchange two folders in one step where the system can, so that there is one at that path at any moment."""
    with suppress(AttributeError, OSError):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        if rename(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE) == 0:
            return
    aside = unfinished_beside(old)
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        raise
    aside.rename(new)
