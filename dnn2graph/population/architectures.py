"""The networks of the paper, one by one and many at once."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 10
KERNEL = 3


def build(architecture: str, width: int, image_shape: tuple[int, int, int]) -> nn.Sequential:
    """Build a network with one hidden layer: "fc" of ``width`` neurons, "cnn" of ``width`` channels.

    A pixel is an input neuron of "fc" by itself: it takes images that are flattened already.
    """
    layers: dict[str, nn.Module]  # by the names that tables and figures show
    if architecture == "fc":
        hidden = nn.Linear(math.prod(image_shape), width)
        layers = {"hidden": hidden, "relu": nn.ReLU(), "output": nn.Linear(width, CLASSES)}
    else:
        channels, height, wide = image_shape
        positions = (height - KERNEL + 1) * (wide - KERNEL + 1)
        conv, output = nn.Conv2d(channels, width, KERNEL), nn.Linear(width * positions, CLASSES)
        layers = {"conv": conv, "relu": nn.ReLU(), "flatten": nn.Flatten(), "output": output}
    return nn.Sequential(OrderedDict(layers))


def input_shape(architecture: str, image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Give the shape in which a network takes one image."""
    return (math.prod(image_shape),) if architecture == "fc" else image_shape


def stacked_scores(model: nn.Sequential, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Run many networks of one architecture at once.

    A dense layer of all networks is one product with the transposed batch: where all networks see the same images it
    is a single matrix product, and in either case nothing is copied on the way to the next layer, its gradient
    included. vmap would multiply network by network, and transpose in between.

    Parameters
    ----------
    model : Sequential
        The architecture, as :func:`build` makes it; its own weights are not used.
    weights : mapping from parameter name to tensor (networks, *shape)
    images : tensor (networks, batch, *input_shape) or (batch, *input_shape)
        Images of each network, or the same for all.

    Returns
    -------
    tensor (networks, batch, classes)
        Differentiable with respect to the weights.
    """
    x = images
    for name, layer in model.named_children():
        own = {key: weights[f"{name}.{key}"] for key, _ in layer.named_parameters()}
        if isinstance(layer, nn.Linear):
            x = (own["weight"] @ x.mT + own["bias"].unsqueeze(-1)).mT  # (networks, batch, out)
        elif isinstance(layer, nn.Flatten):
            x = x.flatten(-3)  # (networks, batch, channels, height, width): all but the last three are batches
        elif isinstance(layer, nn.Conv2d):
            x = torch.vmap(F.conv2d, (0 if x.dim() == 5 else None, 0, 0))(x, own["weight"], own["bias"])
        else:
            x = layer(x)  # element by element
    return x
