"""Networks that are trained together, as stacked parameters; or one network, in the ordinary way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .architectures import stacked_scores

TESTED_AT_ONCE = 500  # images


class Group:
    """Some networks of one architecture in training.

    Parameters
    ----------
    model : Sequential
        The architecture; of a single network it becomes that network.
    weights : mapping from parameter name to tensor (networks, *shape)
        Changed in place as the networks learn.
    """

    def __init__(self, model: nn.Sequential, weights: Mapping[str, Tensor]) -> None:
        self.model, self.weights = model, weights
        self.size = len(next(iter(weights.values())))
        if self.size == 1:
            for name, tensor in weights.items():  # parameters that share the memory of the weights
                module, _, own = name.rpartition(".")
                setattr(model.get_submodule(module), own, nn.Parameter(tensor[0]))
            self.learned: Sequence[Tensor] = [model.get_parameter(name) for name in weights]
        else:
            self.learned = [tensor.requires_grad_() for tensor in weights.values()]

    def scores(self, images: Tensor) -> Tensor:
        """Run the networks on (networks or 1, batch, *shape): (networks, batch, classes)."""
        if self.size == 1:
            scores: Tensor = self.model(images[0]).unsqueeze(0)
            return scores
        return stacked_scores(self.model, self.weights, images if len(images) == self.size else images[0])

    def gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Give the gradient of each network's mean cross-entropy, in the shapes of what is learned.

        Parameters
        ----------
        images, labels : tensors (networks or 1, batch, *shape) and (networks or 1, batch)
        """
        scores, batch = self.scores(images), labels.shape[-1]
        # Of the sum over networks: no network's loss depends on another's weights.
        loss = F.cross_entropy(scores.mT, labels.expand(self.size, batch), reduction="sum") / batch
        return torch.autograd.grad(loss, self.learned)

    def learn(self, images: Tensor, labels: Tensor, learning_rate: float) -> None:
        """Take one step of gradient descent."""
        gradients = self.gradients(images, labels)
        with torch.no_grad():
            for tensor, gradient in zip(self.learned, gradients, strict=True):
                tensor.sub_(gradient, alpha=learning_rate)

    @torch.no_grad()
    def accuracies(self, images: Tensor, labels: Tensor) -> list[float]:
        """Give each network's share of images (N, *shape) whose largest score is that of their label (N,)."""
        right = torch.zeros(self.size, dtype=torch.int64)
        for x, y in zip(images.split(TESTED_AT_ONCE), labels.split(TESTED_AT_ONCE), strict=True):
            right += (self.scores(x.unsqueeze(0)).argmax(-1) == y).sum(-1)
        return (right.double() / len(labels)).tolist()
