"""State dicts without a model: where the shapes form one unambiguous chain of linear and convolution layers.

Strides, padding, pooling and activations are in no state dict. The graph of channels needs none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import LoadError
from ..graph import common_dtype
from .state_dict import without_prefixes

REMEDY = "name the architecture: --arch package.module:callable, in Python model=..."
# What a name gives away that shapes do not.
OTHERS = {
    r"running_mean|running_var|num_batches_tracked": "batch normalisation, and where it acts is not stored",
    r"weight_ih|weight_hh|bias_ih|bias_hh": "a recurrent layer, and its kind of cell is not stored",
    r"in_proj|attn|attention": "attention, and its number of heads is not stored",
    r"emb": "an embedding, or a linear layer by its shape",
    r"transpose|deconv": "a transposed convolution, or an ordinary one by its shape",
    r"weight_g$|weight_v$|original\d$": "a reparametrised weight, and the function is not stored",
}
CONVOLUTION = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
UNNAMED_AT_MOST = 8  # layers whose order is looked for among all orders


@dataclass(frozen=True, eq=False)
class Step:
    """One layer of the chain."""

    name: str
    weight: Tensor  # (out, in) or (out, in, *kernel)
    bias: Tensor | None

    @property
    def is_linear(self) -> bool:
        """Whether it is dense, not a convolution."""
        return self.weight.dim() == 2

    @property
    def inputs(self) -> int:
        """Number of in-features or in-channels."""
        return self.weight.shape[1]

    @property
    def outputs(self) -> int:
        """Number of out-features or out-channels."""
        return self.weight.shape[0]

    def __str__(self) -> str:
        return f"{self.name or 'weight'} {tuple(self.weight.shape)}"


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
    path : Path
        For error messages.
    state_dict : mapping from name to tensor
    ordered : bool
        Whether the file keeps the order in which layers were made. If not, the order is that of numbered names, or
        the only one that shapes allow.

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
    steps = _steps(path, without_prefixes(state_dict))
    if not ordered:
        steps = _in_order(path, steps)
    for before, after in pairwise(steps):
        if reason := _does_not_follow(before, after):
            raise _ambiguous(path, f"{after} does not follow {before} as one chain ({reason})")
    dtype = common_dtype([step.weight for step in steps])
    with torch.device("meta"):
        model = _module(steps[0]) if steps[0].name == "" else Chain(steps)
    tensors = {f"{step.name}.weight".lstrip("."): step.weight for step in steps}
    tensors |= {f"{step.name}.bias".lstrip("."): step.bias for step in steps if step.bias is not None}
    model.load_state_dict({name: tensor.detach().to(dtype) for name, tensor in tensors.items()}, assign=True)
    return model, torch.zeros(_input_shape(steps), dtype=dtype)


def _steps(path: Path, state_dict: Mapping[str, Tensor]) -> list[Step]:
    """Group weights and biases into layers; anything else is no part of a chain."""
    for key, tensor in state_dict.items():
        if problem := _problem(key, tensor, state_dict):
            raise _ambiguous(path, f"{key} {tuple(tensor.shape)} is {problem}")
    steps = []
    for key, weight in state_dict.items():
        prefix, _, leaf = key.rpartition(".")
        if leaf == "weight":
            steps.append(Step(prefix, weight, state_dict.get(f"{prefix}.bias" if prefix else "bias")))
    names = [step.name for step in steps]
    if any(f"{other}.".startswith(f"{name}.") for name in names for other in names if name is not other):
        raise _ambiguous(path, f"layers lie within layers: {', '.join(map(repr, names))}")
    return steps


def _problem(key: str, tensor: Tensor, state_dict: Mapping[str, Tensor]) -> str | None:
    """Say why a tensor is no weight or bias of a linear or convolution layer; None if it is one."""
    for pattern, other in OTHERS.items():
        if re.search(pattern, key, re.IGNORECASE):
            return f"of {other}" if other.startswith("batch") else f"part of {other}"
    prefix, _, leaf = key.rpartition(".")
    if not tensor.is_floating_point() or not tensor.numel():
        return f"no weight of a layer ({tensor.dtype}, {tensor.numel()} elements)"
    if leaf == "weight":
        if tensor.dim() == 1:
            return "the scale of a normalisation or the slope of a PReLU, and where it acts is not stored"
        return None if tensor.dim() in (2, *CONVOLUTION) else "no kernel of a linear or convolution layer"
    if leaf != "bias":
        return "neither a weight nor a bias by its name"
    weight = state_dict.get(f"{prefix}.weight" if prefix else "weight")
    if weight is None or tensor.shape != weight.shape[:1]:
        return "a bias without a weight of as many outputs beside it"
    return None


def _does_not_follow(before: Step, after: Step) -> str | None:
    """Say why one layer cannot stand right behind another; None if it can, in one way only."""
    if before.is_linear and not after.is_linear:
        return "a convolution behind a linear layer: how its output is laid out as a map is not stored"
    if after.is_linear and not before.is_linear:
        if after.inputs % before.outputs:
            return f"{after.inputs} in-features are no whole number of positions of {before.outputs} channels"
        return None
    if before.weight.dim() != after.weight.dim():
        return f"kernels of {before.weight.dim() - 2} and of {after.weight.dim() - 2} axes"
    if before.outputs == after.inputs:
        return None
    groups, rest = divmod(before.outputs, after.inputs)
    if not after.is_linear and not rest and after.outputs % groups == 0:
        return f"an ordinary convolution takes {after.inputs} channels, one in {groups} groups takes {before.outputs}"
    return f"it takes {after.inputs} inputs, {before.outputs} come out before it"


def _in_order(path: Path, steps: Sequence[Step]) -> list[Step]:
    """Order layers whose file does not: by the numbers in their names, else by the only order that shapes allow."""
    groups = [[step for step in steps if step.is_linear is linear] for linear in (False, True)]
    numbered = [step for group in groups for step in sorted(group, key=lambda step: _numbers(step.name))]
    stems = [{re.sub(r"\d+", "", step.name) for step in group} for group in groups]
    if all(len(stem) <= 1 for stem in stems) and all(_does_not_follow(*pair) is None for pair in pairwise(numbered)):
        return numbered
    found = list(islice(_orders(list(steps)), 2)) if len(steps) <= UNNAMED_AT_MOST else []
    if len(found) == 1:
        return found[0]
    if not found:
        listed = ", ".join(map(str, steps))
        raise _ambiguous(path, f"the file keeps no order of layers, and none is evident of {listed}")
    readings = " or ".join(" → ".join(map(str, order)) for order in found)
    raise _ambiguous(path, f"the file keeps no order of layers, and several fit: {readings}")


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _orders(rest: list[Step], before: Step | None = None) -> Iterator[list[Step]]:
    """Iterate over all orders in which each layer can stand right behind the one before it."""
    if not rest:
        yield []
    for step in rest:
        if before is None or _does_not_follow(before, step) is None:
            for order in _orders([other for other in rest if other is not step], step):
                yield [step, *order]


def _module(step: Step) -> nn.Module:
    has_bias = step.bias is not None
    if step.is_linear:
        return nn.Linear(step.inputs, step.outputs, has_bias)
    kernel = tuple(step.weight.shape[2:])
    return CONVOLUTION[step.weight.dim()](step.inputs, step.outputs, kernel, bias=has_bias)  # type: ignore[arg-type]


def _input_shape(steps: Sequence[Step]) -> tuple[int, ...]:
    """Give the shape of one sample of which exactly as many positions are left as the first dense layer reads."""
    kernels = [step.weight.shape[2:] for step in steps if not step.is_linear]
    if not kernels:
        return (1, steps[0].inputs)
    dense = [step for step in steps if step.is_linear]
    positions = dense[0].inputs // steps[len(kernels) - 1].outputs if dense else 1
    lengths = [1 + sum(kernel[axis] - 1 for kernel in kernels) for axis in range(len(kernels[0]))]
    return (1, steps[0].inputs, lengths[0] + positions - 1, *lengths[1:])


def _ambiguous(path: Path, what: str) -> LoadError:
    return LoadError(f"'{path}' is no plain chain of linear and convolution layers: {what}: {REMEDY}")
