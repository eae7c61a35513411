"""State dicts without a model: where the shapes form one unambiguous chain of linear and convolution layers.

Strides, padding, pooling and activations are in no state dict. The graph of channels needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..graph import common_dtype
from .layers import Shaped, Step, layers_in_order, without_prefixes

CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d


class Chain(nn.Module):
    """Layers one after another, with the names that they have in the file; what stands between them is unknown."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.layers = {step.name: _module(step) for step in steps}
        for name, layer in self.layers.items():
            parent: nn.Module = self
            *path, leaf = name.split(".")
            for part in path:
                if part not in parent._modules:
                    parent._modules[part] = nn.Module()  # add_module refuses names such as "forward"
                parent = parent._modules[part]  # type: ignore[assignment]
            parent._modules[leaf] = layer

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers, flattening the feature map before the first dense one."""
        for layer in self.layers.values():
            x = layer(x.flatten(1) if isinstance(layer, nn.Linear) else x)
        return x


def load_chain(path: Path, state_dict: Mapping[str, Tensor], ordered: bool) -> tuple[nn.Module, Tensor]:
    """Read a state dict as a chain of linear and convolution layers.

    Parameters
    ----------
    path, ordered
        As :func:`.layers.layers_in_order` takes them.
    state_dict : mapping from name to tensor

    Returns
    -------
    model : Module
        The layers alone. It is made to be traced in channel granularity: it has no activations, strides or padding.
    example : tensor
        An input for it, as small as its shapes allow.

    Raises
    ------
    LoadError
        If the state dict is not an unambiguous chain; the message names the key, its shape and the readings.
    """
    shaped = {
        name: Shaped(tuple(tensor.shape), str(tensor.dtype), tensor.is_floating_point())
        for name, tensor in state_dict.items()
    }
    steps = layers_in_order(path, shaped, ordered)
    tensors = without_prefixes(state_dict)
    dtype = common_dtype([tensors[f"{step.name}.weight".lstrip(".")] for step in steps])
    with torch.device("meta"):
        model = _module(steps[0]) if steps[0].name == "" else Chain(steps)
    model.load_state_dict({name: tensor.detach().to(dtype) for name, tensor in tensors.items()}, assign=True)
    return model, torch.zeros(_input_shape(steps), dtype=dtype)


def _module(step: Step) -> nn.Module:
    if step.is_linear:
        return nn.Linear(step.inputs, step.outputs, step.has_bias)
    layer = CONVOLUTIONS[len(step.kernel) - 1]
    return layer(step.inputs, step.outputs, step.kernel, bias=step.has_bias)  # type: ignore[arg-type]


def _input_shape(steps: Sequence[Step]) -> tuple[int, ...]:
    """Give the shape of one sample of which exactly as many positions are left as the first dense layer reads."""
    kernels = [step.kernel for step in steps if not step.is_linear]
    if not kernels:
        return (1, steps[0].inputs)
    dense = [step for step in steps if step.is_linear]
    positions = dense[0].inputs // steps[len(kernels) - 1].outputs if dense else 1
    lengths = [1 + sum(kernel[axis] - 1 for kernel in kernels) for axis in range(len(kernels[0]))]
    return (1, steps[0].inputs, lengths[0] + positions - 1, *lengths[1:])
