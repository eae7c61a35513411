"""State dicts that torch.save wrote. They are pickles, and a pickle can run code: only tensors are unpickled."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from ..errors import LoadError
from .files import cause, check_archive

NEVER = (
    "dnn2graph never runs the code in a file; from the program that made it, save the weights alone with "
    "torch.save(model.state_dict(), path), or model and weights with torch.export.save"
)


class _WhatIsThere(io.BufferedReader):
    """A file of which no more is asked for than there is: a pickle may claim a text of gigabytes, and memory for it."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > 0:
            size = min(size, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(size)


def read_pickled(path: Path) -> Any:
    """Read whatever torch.save wrote, if it is made of tensors and plain values only.

    Raises
    ------
    LoadError
        If reading would run code, or the file is truncated, corrupt or of another format.
    """
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript: said below
            with _WhatIsThere(io.FileIO(path)) as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    # Any exception: damaged pickles make the reader raise IndexError, KeyError, struct.error and more.
    except Exception as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> LoadError:
    """Say what kind of file it is, as far as torch's message tells."""
    message = str(error)
    if found := python_object(message):
        return LoadError(f"'{path}' holds Python objects ({found}), whose loading would run code: {NEVER}")
    if "TorchScript" in message:
        return LoadError(
            f"'{path}' is a TorchScript archive, whose modules are compiled and cannot be watched while they run: "
            "load the original model, or export it with torch.export.save to a .pt2 file"
        )
    if "data.pkl" in message:
        return LoadError(
            f"'{path}' is a zip archive without a state dict: if torch.export.save wrote it, rename it to end in .pt2"
        )
    if operand := re.search(r"Unsupported operand \d+", message):
        if _starts_as_pickle(path):
            return LoadError(f"'{path}' is a pickle of Python objects ({operand[0]}), not of tensors alone: {NEVER}")
        reason = "it is not in a format of torch.save"
    else:
        reason = cause(error)
    return LoadError(f"'{path}' cannot be read ({reason}): it is truncated, corrupt or no state dict; copy it again")


def python_object(message: str) -> str | None:
    """Return the class or function that torch refused to unpickle, as its message names it."""
    found = re.search(r"GLOBAL (\S+)", message)
    return found[1] if found else None


def _starts_as_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(2)
    return len(start) == 2 and start[0] == 0x80 and start[1] <= 5  # PROTO and its version
