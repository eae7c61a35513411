"""Which layers a state dict holds, and in what order, where names and shapes alone say so. Nothing here needs torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import LoadError

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
KERNELS = (3, 4, 5)  # axes that weights of convolutions have
UNNAMED_AT_MOST = 8  # layers whose order is looked for among all orders


class Shaped(NamedTuple):
    """What a file says of a tensor before it is read: its shape, its type by some name, and whether that floats."""

    shape: tuple[int, ...]
    dtype: str
    is_floating_point: bool


@dataclass(frozen=True, eq=False)
class Step:
    """One layer of the chain."""

    name: str
    shape: tuple[int, ...]  # of its weight: (out, in) or (out, in, *kernel)
    has_bias: bool

    @property
    def kernel(self) -> tuple[int, ...]:
        """Shape of a convolution's taps; empty where it is dense."""
        return self.shape[2:]

    @property
    def is_linear(self) -> bool:
        """Whether it is dense, not a convolution."""
        return not self.kernel

    @property
    def inputs(self) -> int:
        """Number of in-features or in-channels."""
        return self.shape[1]

    @property
    def outputs(self) -> int:
        """Number of out-features or out-channels."""
        return self.shape[0]

    def __str__(self) -> str:
        return f"{self.name or 'weight'} {self.shape}"


def layers_in_order(path: Path, tensors: Mapping[str, Shaped], ordered: bool) -> list[Step]:
    """Read names and shapes as a chain of linear and convolution layers.

    Parameters
    ----------
    path : Path
        For error messages.
    tensors : mapping from name to Shaped
    ordered : bool
        Whether the file keeps the order in which layers were made. If not, the order is that of numbered names, or
        the only one that shapes allow.

    Raises
    ------
    LoadError
        If that is no unambiguous chain; the message names the key, its shape and the readings.
    """
    steps = _steps(path, without_prefixes(tensors))
    if not ordered:
        steps = _in_order(path, steps)
    for before, after in pairwise(steps):
        if reason := _does_not_follow(before, after):
            raise _ambiguous(path, f"{after} does not follow {before} as one chain ({reason})")
    return steps


def _steps(path: Path, tensors: Mapping[str, Shaped]) -> list[Step]:
    """Group weights and biases into layers; anything else is no part of a chain."""
    for key, tensor in tensors.items():
        if problem := _problem(key, tensor, tensors):
            raise _ambiguous(path, f"{key} {tensor.shape} is {problem}")
    steps = []
    for key, weight in tensors.items():
        prefix, _, leaf = key.rpartition(".")
        if leaf == "weight":
            steps.append(Step(prefix, weight.shape, (f"{prefix}.bias" if prefix else "bias") in tensors))
    names = [step.name for step in steps]
    if any(f"{other}.".startswith(f"{name}.") for name in names for other in names if name is not other):
        raise _ambiguous(path, f"layers lie within layers: {', '.join(map(repr, names))}")
    return steps


def _problem(key: str, tensor: Shaped, tensors: Mapping[str, Shaped]) -> str | None:
    """Say why a tensor is no weight or bias of a linear or convolution layer; None if it is one."""
    for pattern, other in OTHERS.items():
        if re.search(pattern, key, re.IGNORECASE):
            return f"of {other}" if other.startswith("batch") else f"part of {other}"
    prefix, _, leaf = key.rpartition(".")
    size = prod(tensor.shape)
    if not tensor.is_floating_point or not size:
        return f"no weight of a layer ({tensor.dtype}, {size} elements)"
    if leaf == "weight":
        if len(tensor.shape) == 1:
            return "the scale of a normalisation or the slope of a PReLU, and where it acts is not stored"
        return None if len(tensor.shape) in (2, *KERNELS) else "no kernel of a linear or convolution layer"
    if leaf != "bias":
        return "neither a weight nor a bias by its name"
    weight = tensors.get(f"{prefix}.weight" if prefix else "weight")
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
    if len(before.kernel) != len(after.kernel):
        return f"kernels of {len(before.kernel)} and of {len(after.kernel)} axes"
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


def _ambiguous(path: Path, what: str) -> LoadError:
    return LoadError(f"'{path}' is no plain chain of linear and convolution layers: {what}: {REMEDY}")


def without_prefixes(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what DataParallel puts before every name, and torch.compile before some."""
    names = list(state_dict)
    while True:
        shorter = [name.replace("_orig_mod.", "") for name in names]
        if all(name.startswith("module.") for name in shorter):
            shorter = [name.removeprefix("module.") for name in shorter]
        if shorter == names or len(set(shorter)) < len(names):
            return dict(zip(names, state_dict.values(), strict=True))
        names = shorter
