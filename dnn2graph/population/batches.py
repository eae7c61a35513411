"""Which images a network is shown at which step: a function of its seed and the step, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .. import datasets
from ..errors import InputError
from .design import Design
from .initialisation import ORDER


@lru_cache(maxsize=2)  # both splits, once in each process
def images_and_labels(data_set: str, data: str, split: str) -> tuple[Tensor, Tensor]:
    """Load a data set: images float32 (N, C, H, W) and labels int64 (N,)."""
    found = datasets.load(data_set, data, split)
    return torch.from_numpy(found.images), torch.from_numpy(found.labels)


def train_split(design: Design, data: str) -> tuple[Tensor, Tensor]:
    """Load what a design trains on, in the shape that its networks take.

    Raises
    ------
    InputError
        If there are fewer images than the design asks for, or than a batch has.
    """
    images, labels = images_and_labels(design.data_set, data, "train")
    wanted = design.train_images or len(images)
    if wanted > len(images):
        raise InputError(f"train_images={wanted} are more than the {len(images)} that {design.data_set!r} has")
    if design.batch_size > wanted:
        raise InputError(f"batch_size={design.batch_size} is more than the {wanted} images to train on")
    return images[:wanted].reshape(wanted, *design.input_shape), labels[:wanted]


def held_out_split(design: Design, data: str) -> tuple[Tensor, Tensor]:
    """Load the whole test split, in the shape that a design's networks take."""
    images, labels = images_and_labels(design.data_set, data, "test")
    return images.reshape(len(images), *design.input_shape), labels


class Batches:
    """The batches of some networks, step by step.

    Parameters
    ----------
    design : Design
    networks : sequence of int
    images, labels : tensors (N, *shape) and (N,)
    """

    def __init__(self, design: Design, networks: Sequence[int], images: Tensor, labels: Tensor) -> None:
        self.seeds = [design.seed] if design.batch_order == "common" else [design.network(k)[2] for k in networks]
        self.images, self.labels, self.size = images, labels, design.batch_size
        self.per_epoch = len(images) // self.size
        self._epoch, self._order = -1, torch.empty(0)
        self._shown = images.new_empty(len(self.seeds) * self.size, *images.shape[1:])

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Give the batch of each network, or the common one, after ``step`` updates.

        Returns
        -------
        images : tensor (networks or 1, batch, *shape)
            Valid until the next call, which fills the same memory.
        labels : tensor (networks or 1, batch)
        """
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            orders = [np.random.default_rng((seed, ORDER, epoch)).permutation(len(self.images)) for seed in self.seeds]
            self._epoch, self._order = epoch, torch.from_numpy(np.stack(orders))
        chosen = self._order[:, place * self.size : (place + 1) * self.size]  # (networks, batch)
        torch.index_select(self.images, 0, chosen.reshape(-1), out=self._shown)
        return self._shown.view(*chosen.shape, *self.images.shape[1:]), self.labels[chosen]
