"""What a measure of a profile is, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import cleandoc
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from .view import View

LEVELS = ("node", "layer", "links", "graph")
WEIGHTS = ("unweighted", "signed", "abs", "distance")

Columns = Mapping[str, "np.ndarray | float"]  # one value per node, per layer, per links; or one number


@dataclass(frozen=True)
class Measure:
    r"""One measure: what it is of, which weights it is defined on, and how it is computed.

    Attributes
    ----------
    name : str
        Also the prefix of its columns.
    group : str
        The module that defines it, such as "centrality".
    level : {"node", "layer", "links", "graph"}
        What one value belongs to.
    weight : {"unweighted", "signed", "abs", "distance"}
        What it takes for the weight of an edge: 1, w, \|w\| or the distance 1/\|w\|. It sees no other, so that a
        measure which is undefined on negative weights never receives them.
    definition : str
        What its values are.
    source : str
        Who defined it.
    default : bool
        Whether a profile has it unless measures are named.
    extra : str or None
        The package beyond the installed ones that it needs.
    """

    name: str
    group: str
    level: str
    weight: str
    definition: str
    source: str
    default: bool
    extra: str | None
    compute: Callable[[View], Columns]

    @property
    def is_available(self) -> bool:
        """Whether the package that it needs is installed."""
        return self.extra is None or find_spec(self.extra) is not None


MEASURES: dict[str, Measure] = {}


def measure(
    level: str, *, weight: str, source: str = "", default: bool = True, extra: str | None = None
) -> Callable[[Callable[[View], Columns]], Callable[[View], Columns]]:
    """Register a function as the measure of its name; its docstring is the definition.

    The function takes a :class:`.View`, which shows the graph with the weights that the measure is defined on, and
    returns columns: arrays (nodes,), (layers,) or (links,), or numbers, by name. A name starts with the measure's.
    """
    assert level in LEVELS
    assert weight in WEIGHTS

    def register(function: Callable[[View], Columns]) -> Callable[[View], Columns]:
        name = function.__name__
        assert name not in MEASURES, f"two measures are called {name}"
        definition = " ".join(cleandoc(function.__doc__ or "").replace("``", "").split())
        group = function.__module__.rpartition(".")[2]
        MEASURES[name] = Measure(name, group, level, weight, definition, source, default, extra, function)
        return function

    return register


def chosen(names: object = None) -> list[Measure]:
    """Look measures up by their names or by those of groups, in the order of the registry; the default ones if None.

    Raises
    ------
    InputError
        If a name is unknown, or the package that a named measure needs is not installed.
    """
    if names is None:
        return [each for each in MEASURES.values() if each.default]
    wanted = [names] if isinstance(names, str) else list(names)  # type: ignore[call-overload]
    groups = {each.group for each in MEASURES.values()}
    if unknown := [name for name in wanted if name not in MEASURES and name not in groups]:
        raise InputError(
            f"unknown measure {unknown[0]!r}: choose from {', '.join(MEASURES)}, or a group of them: "
            f"{', '.join(sorted(groups))}"
        )
    found = [each for each in MEASURES.values() if each.name in wanted or each.group in wanted]
    if missing := [each for each in found if each.name in wanted and not each.is_available]:
        first = missing[0]
        raise InputError(f"the measure {first.name!r} needs the package {first.extra!r}: pip install {first.extra}")
    return found
