"""Architectures by name: ``package.module:callable`` becomes a module."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import LoadError


def resolve_architecture(spec: str) -> nn.Module:
    """Build the model that a name stands for.

    Parameters
    ----------
    spec : str
        ``package.module:callable``: the callable (a class, a function) is called without arguments and returns the
        module; a module stands for itself. Packages are looked for in the current folder too.

    Returns
    -------
    Module
        With the weights that its own code gives it.

    Raises
    ------
    LoadError
        If the name does not lead to a module; the message names the part that is wrong, and near names.

    Examples
    --------
    >>> resolve_architecture("torch.nn:ReLU")
    ReLU()
    """
    module_name, colon, attribute = spec.partition(":")
    if not colon or not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise LoadError(f"architecture {spec!r} is no name of the form package.module:callable, such as models:LeNet")
    with current_folder_importable():
        found = _attribute(spec, _imported(spec, module_name), attribute)
        if isinstance(found, nn.Module):
            return found
        if not callable(found):
            raise LoadError(f"architecture {spec!r} is a {type(found).__name__}: name a callable that returns a module")
        try:
            model = found()
        except (Exception, SystemExit) as error:  # whatever the user's code raises
            raise LoadError(
                f"architecture {spec!r} raised {type(error).__name__} when it was called without arguments ({error}): "
                "write a function without parameters that builds the model, and name that"
            ) from error
    if not isinstance(model, nn.Module):
        raise LoadError(f"architecture {spec!r} gave a {type(model).__name__}, not a torch.nn.Module: return the model")
    return model


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Let imports find packages in the current folder, as ``python -m`` does."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)


def _imported(spec: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise LoadError(f"architecture {spec!r}: module {name!r} needs {error.name!r}: install it") from error
        parent, _, leaf = error.name.rpartition(".")
        paths = getattr(sys.modules.get(parent), "__path__", None) if parent else [str(Path.cwd())]
        near = get_close_matches(leaf, [each.name for each in pkgutil.iter_modules(paths)])
        where = f"in package {parent!r}" if parent else f"in '{Path.cwd()}' or among the installed packages"
        absent = f"architecture {spec!r}: there is no module {error.name!r} {where}"
        raise LoadError(absent + _did_you_mean(near)) from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise LoadError(f"architecture {spec!r}: importing {name!r} raised {type(error).__name__} ({error})") from error


def _attribute(spec: str, module: Any, name: str) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, [each for each in dir(found) if not each.startswith("_")])
            raise LoadError(f"architecture {spec!r}: {module.__name__!r} has no {part!r}{_did_you_mean(near)}")
        found = getattr(found, part)
    return found


def _did_you_mean(near: list[str]) -> str:
    return f": did you mean {', '.join(map(repr, near))}?" if near else ": check the name"
