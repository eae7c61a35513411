"""Where the architectures come from: torchvision, timm, transformers, and models that are awkward to trace."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]  # a model and the arguments of a call

FAMILIES = ("torchvision", "timm", "transformers", "edge cases")
FILES = ("architectures.py", "edge_cases.py")
PACKAGES = {"torchvision": "make zoo", "timm": "make zoo", "transformers": "pip install '.[test]'"}


class Missing(Exception):
    """Raised where the architectures, or a package that they need, are not at hand; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """One architecture.

    Attributes
    ----------
    build : callable
        Makes the model with random weights, and an example call.
    build_for : callable, optional
        Makes it for square images of a side, where the architecture is for images.
    """

    family: str
    name: str
    build: Callable[[], Call]
    build_for: Callable[[int], Call] | None = None


def folder() -> Path:
    """Return the folder of the architectures: what DNN2GRAPH_ZOO names, else `shared/zoo` beside the checkout."""
    named = os.environ.get("DNN2GRAPH_ZOO")
    return Path(named).expanduser() if named else Path(__file__).resolve().parents[2] / "shared" / "zoo"


@cache
def entries() -> dict[tuple[str, str], Entry]:
    """List all architectures, by family and name.

    Raises
    ------
    Missing
        If the files that define them, or a package, are absent.
    """
    architectures, edge_cases = (_imported(file) for file in FILES)
    architectures.torchvision_stub()
    for package, remedy in PACKAGES.items():
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise Missing(f"the zoo needs {package} ({error}): {remedy} installs it") from error
    found: dict[str, dict[str, Callable[[], Call]]] = {
        "torchvision": architectures.torchvision_models(),
        "timm": architectures.timm_models(),
        "transformers": architectures.transformers_models(),
        "edge cases": edge_cases.Z,
    }
    return {
        (family, name): Entry(family, name, build, _resized(family, name))
        for family, models in found.items()
        for name, build in models.items()
    }


def _imported(file: str) -> ModuleType:
    path = folder() / file
    if not path.is_file():
        raise Missing(f"{file} of the zoo is not in '{path.parent}': set DNN2GRAPH_ZOO to the folder that holds it")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return importlib.import_module(path.stem)


def _resized(family: str, name: str) -> Callable[[int], Call] | None:
    """Say how to make an architecture for images of another size, if it has to be told."""
    if family == "torchvision":
        from torchvision.models import get_model

        return lambda side: (get_model(name, weights=None, image_size=side), (torch.rand(1, 3, side, side),), {})
    if family == "timm":
        from timm import create_model

        return lambda side: (create_model(name, pretrained=False, img_size=side), (torch.rand(1, 3, side, side),), {})
    return None
