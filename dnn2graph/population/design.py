"""What a population of trained networks is: its networks, its data, and how each is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGE_SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}  # (C, H, W); all have ten classes
ARCHITECTURES = ("fc", "cnn")
INITIALISATIONS = ("normal", "uniform", "truncated", "variance-scaling")
BATCH_ORDERS = ("own", "common")
SNAPSHOTS = 12  # where no steps are named
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Design:
    """A population of networks, as La Malfa et al. train them: one hidden layer, ReLU, plain gradient descent.

    Networks differ in their seed, and cycle through the grid of initialisations and supports. The same design gives
    the same networks.

    Attributes
    ----------
    data_set : {"mnist", "cifar10", "digits"}
    architecture : {"fc", "cnn"}
        "fc": pixels, a hidden dense layer, a dense classifier. "cnn": a 3x3 convolution without padding, then a dense
        classifier of all its outputs. ReLU between them.
    width : int
        Hidden neurons (the paper: 8 or 32, 256, 2000), or channels (10, 64, 256).
    networks : int
        How many.
    steps : int
        Updates of each network, by stochastic gradient descent without momentum on the softmax cross-entropy.
    snapshots : tuple of int
        After which steps all networks are kept, ascending from 0 to ``steps``. Left out: twelve, by
        :func:`snapshot_steps`.
    initialisations : tuple of {"normal", "uniform", "truncated", "variance-scaling"}
    supports : tuple of float
        Scales of the initialisations; see :mod:`.initialisation`.
    seed : int
        Network k is initialised, and its batches are drawn, from ``seed + k``.
    batch_size : int
        Every epoch is a new permutation of the images, of which the last incomplete batch is left out.
    learning_rate : float
    train_images : int or None
        Train on the first images only; None for all.
    batch_order : {"own", "common"}
        Whether each network draws its own batches, or all are shown the same ones in the same order, drawn from
        ``seed``. Common batches train faster (one matrix product for all networks), own ones make networks that are
        independent of each other.

    Raises
    ------
    InputError
        If a value does not fit; the message lists what does.

    Examples
    --------
    >>> design = Design("digits", width=8, networks=5, steps=100, supports=(0.05, 0.5))
    >>> design.snapshots
    (0, 1, 2, 3, 4, 6, 10, 16, 25, 40, 63, 100)
    >>> design.network(3)
    ('normal', 0.5, 3)
    >>> Design.from_dict(design.to_dict()) == design
    True
    """

    data_set: str = "mnist"
    architecture: str = "fc"
    width: int = 32
    networks: int = 64
    steps: int = 1000
    snapshots: tuple[int, ...] = ()
    initialisations: tuple[str, ...] = ("normal",)
    supports: tuple[float, ...] = (0.05,)
    seed: int = 0
    batch_size: int = 128
    learning_rate: float = 0.01
    train_images: int | None = None
    batch_order: str = "own"

    def __post_init__(self) -> None:
        self._check_choice("data_set", self.data_set, tuple(IMAGE_SHAPES))
        self._check_choice("architecture", self.architecture, ARCHITECTURES)
        self._check_choice("batch_order", self.batch_order, BATCH_ORDERS)
        for name in ("width", "networks", "steps", "batch_size"):
            self._set_whole(name)
        if self.train_images is not None:
            self._set_whole("train_images")
        self._set_tuple("initialisations", str)
        for each in self.initialisations:
            self._check_choice("initialisations", each, INITIALISATIONS)
        self._set_tuple("supports", float)
        for name, values in (("supports", self.supports), ("learning_rate", (self.learning_rate,))):
            if not all(isinstance(each, Real) and 0 < each < math.inf for each in values):
                raise InputError(f"{name}={getattr(self, name)!r} must be positive and finite, such as 0.05")
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        self._set_whole("seed", 0, LARGEST_SEED - self.networks)
        object.__setattr__(self, "snapshots", self.snapshots or snapshot_steps(self.steps, SNAPSHOTS))
        self._set_tuple("snapshots", int)
        ascending = all(a < b for a, b in zip(self.snapshots, self.snapshots[1:], strict=False))
        if not ascending or self.snapshots[0] != 0 or self.snapshots[-1] != self.steps:
            raise InputError(
                f"snapshots={self.snapshots!r} must ascend from 0 to the last step, {self.steps}: "
                "leave them out, or take those of snapshot_steps(steps, count)"
            )

    def network(self, k: int) -> tuple[str, float, int]:
        """Give how network ``k`` starts: initialisation, support, seed.

        Raises
        ------
        InputError
            If there is no such network.
        """
        if not 0 <= k < self.networks:
            raise InputError(f"there is no network {k}: the design has networks 0 to {self.networks - 1}")
        support, initialisation = divmod(k, len(self.initialisations))
        return self.initialisations[initialisation], self.supports[support % len(self.supports)], self.seed + k

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image as the networks take it."""
        from .architectures import input_shape

        return input_shape(self.architecture, IMAGE_SHAPES[self.data_set])

    def model(self) -> nn.Sequential:
        """Build one network; its weights are of no meaning."""
        from .architectures import build

        return build(self.architecture, self.width, IMAGE_SHAPES[self.data_set])

    def example_input(self) -> Tensor:
        """Give one image of zeros, to trace a network with."""
        import torch

        return torch.zeros(1, *self.input_shape)

    def to_dict(self) -> dict[str, Any]:
        """Give the design in the types of JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Design:
        """Make a design of what :meth:`to_dict` gave, or of some of its entries.

        Raises
        ------
        InputError
            If a name is unknown or a value does not fit.
        """
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in values if name not in known]:
            raise InputError(f"{unknown[0]!r} is no part of a design: choose from {', '.join(known)}")
        return cls(**values)

    def differences(self, other: Design) -> list[str]:
        """Say what another design has in place of each of this one's values; empty if they are equal."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{name} is {theirs[name]!r}, not {mine[name]!r}" for name in mine if mine[name] != theirs[name]]

    def _check_choice(self, name: str, value: object, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise InputError(f"{name}={value!r} is unknown: choose from {', '.join(choices)}")

    # Numbers are kept as Python's own, and sequences as tuples: designs are then equal however they were given.

    def _set_whole(self, name: str, least: int = 1, most: int = LARGEST_SEED) -> None:
        value = getattr(self, name)
        if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) <= most:
            raise InputError(f"{name}={value!r} must be a whole number from {least} to {most:,}")
        object.__setattr__(self, name, int(value))

    def _set_tuple(self, name: str, kind: type[int] | type[float] | type[str]) -> None:
        given = getattr(self, name)
        values = (given,) if isinstance(given, str | Real) else tuple(given)
        accepted = {int: Integral, float: Real, str: str}[kind]
        if not values or not all(isinstance(each, accepted) for each in values):
            raise InputError(f"{name}={given!r} must be one or more of type {kind.__name__}")
        object.__setattr__(self, name, tuple(kind(each) for each in values))


def snapshot_steps(steps: int, count: int) -> tuple[int, ...]:
    """Choose steps at which to keep networks, dense at the start, where accuracies change fast: 0, and geometric.

    Parameters
    ----------
    steps : int
        The last step, 1 or more.
    count : int
        How many to choose, 2 or more; all steps if there are fewer.

    Returns
    -------
    tuple of int
        From 0 to ``steps``, ascending.

    Raises
    ------
    InputError
        If a number is too small.

    Examples
    --------
    >>> snapshot_steps(1000, 8)
    (0, 1, 3, 10, 32, 100, 316, 1000)
    >>> snapshot_steps(3, 8)
    (0, 1, 2, 3)
    """
    if steps < 1 or count < 2:
        raise InputError(f"{count} snapshots of {steps} steps cannot be chosen: give 1 step and 2 snapshots at least")
    count = min(count, steps + 1)
    chosen = [0]
    for place in range(count - 1):
        geometric = round(steps ** (place / max(count - 2, 1)))
        chosen.append(max(geometric, chosen[-1] + 1))  # never above steps: the series grows by more and more
    chosen[-1] = steps
    return tuple(chosen)
