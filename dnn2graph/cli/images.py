"""Test images of the data sets, as a command's input for a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from .options import NUMBERS

if TYPE_CHECKING:
    from torch import Tensor

    from ..load import LoadedModel

NAMES = ("digits", "mnist", "cifar10")
BATCH = 500  # images that a model is given at a time

_OPTIONS = (
    click.option("--images", type=click.Choice(NAMES), help="Use test images of this data set."),
    click.option("--data", type=click.Path(), help="Folder of data sets.  [DNN2GRAPH_DATA, else data]"),
    click.option("--mean", type=NUMBERS, default="0", show_default=True, help="Subtracted from images, by channel."),
    click.option("--std", type=NUMBERS, default="1", show_default=True, help="What images are then divided by."),
)


@dataclass(frozen=True)
class Images:
    """Test images, as named on the command line."""

    name: str
    data: str | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def load(self, loaded: LoadedModel, samples: int | None = None) -> tuple[Tensor, Tensor]:
        """Give the first images, normalised, in the shape of the model's one input, and their labels (N,)."""
        import torch

        from ..datasets import load
        from ..errors import InputError
        from ..trace.inputs import input_tensors

        inputs = input_tensors(loaded.args, loaded.kwargs)
        if len(inputs) != 1:
            raise InputError(f"the model takes {len(inputs)} inputs, images are one: leave --images out")
        dataset = load(self.name, self.data, split="test")
        images, labels = torch.from_numpy(dataset.images[:samples]), torch.from_numpy(dataset.labels[:samples])
        for option, values in (("--mean", self.mean), ("--std", self.std)):
            if len(values) not in (1, images.shape[1]):  # (N, C, H, W)
                raise InputError(f"{option} has {len(values)} values for {images.shape[1]} channels: give one or all")
        if 0 in self.std:
            raise InputError("--std is zero: give what the training divided by")
        images = (images - torch.tensor(self.mean).view(-1, 1, 1)) / torch.tensor(self.std).view(-1, 1, 1)
        if images[0].numel() != inputs[0][0].numel():
            raise InputError(
                f"images of {self.name!r} have shape {tuple(images.shape[1:])}, the model takes "
                f"{tuple(inputs[0].shape[1:])}: name the data set that it was trained on"
            )
        return images.reshape(len(images), *inputs[0].shape[1:]).to(inputs[0].dtype), labels


def takes_images(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--images`` and its options to a command, which is given :class:`Images`, or None, in their place."""

    @wraps(command)
    def wrapped(
        *args: Any,
        images: str | None,
        data: str | None,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        **rest: Any,
    ) -> Any:
        return command(*args, images=Images(images, data, mean, std) if images else None, **rest)

    decorated: Callable[..., Any] = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def accuracy(loaded: LoadedModel, images: Tensor, labels: Tensor) -> float:
    """Give the share of images whose largest output is that of their label.

    Raises
    ------
    InputError
        If the model's output is no table of scores (N, classes).
    """
    import torch

    from ..errors import InputError

    for module in loaded.model.modules():
        module.training = False  # eval() is refused by exported modules
    right = 0
    with torch.no_grad():
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            scores = loaded.model(x)
            if not isinstance(scores, torch.Tensor) or scores.dim() != 2 or len(scores) != len(x):
                raise InputError("the model's output is no table of class scores: leave --images out")
            right += int((scores.argmax(1) == y).sum())
    return right / len(labels)
