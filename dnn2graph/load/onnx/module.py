"""The module that an ONNX file becomes: one step for each node, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import Dnn2graphError, LoadError, ModelError
from ..files import cause
from .document import Document, Node, depending, describe
from .inputs import fixed_batch
from .operators.recurrent import CELLS, DIRECTIONS, Cell
from .registry import OPERATORS, Operator
from .tensors import broadcast

# Inputs that set an operator up rather than being its weights, though they are numbers.
SETTINGS = {"Clip": (1, 2), "Dropout": (1,), "OneHot": (2,), "Pad": (2,), "Resize": (1, 2), "Upsample": (1,)}
STATISTICS = {"BatchNormalization": (3, 4)}  # measured, not learned: buffers


class Step(nn.Module):
    """One node of the graph. Layers are named after it.

    Attributes
    ----------
    node : Node
    opset : int
    depends : tuple of bool
        For each input, whether it depends on the values of the model's inputs.
    made_for, given : int or None
        The number of samples that sizes in the file are for, and that there are now.
    """

    def __init__(self, node: Node, opset: int, depends: tuple[bool, ...], made_for: int | None) -> None:
        super().__init__()
        self.node, self.opset, self.depends = node, opset, depends
        self.made_for, self.given = made_for, made_for
        self.cells: list[Cell] = []

    def forward(self, function: Operator, *inputs: Any) -> Any:
        """Compute an operator, or a part of one: whatever runs within this call is of this node."""
        return function(self, *inputs)

    def make_cells(self) -> None:
        """Make the cells of a recurrent layer, one for each direction."""
        directions = DIRECTIONS.get(self.get("direction", "forward"), [])
        self.cells = [Cell(self) for _ in directions]
        self._modules.update(zip(("forward", "backward"), self.cells, strict=False))

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.node.attributes.get(name, default)

    def afford(self, shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """Return the shape that a result broadcasts to, if its elements are few enough to be allocated."""
        return broadcast(shapes, f"what {describe(self.node)} makes")

    def refuse(self, reason: str) -> LoadError:
        """Make an error that says which form of an operator has no torch operation."""
        return LoadError(f"{describe(self.node)}: {reason}: export the model without it")


class OnnxModule(nn.Module):
    """A model that computes what an ONNX file says.

    Parameters
    ----------
    document : Document

    Notes
    -----
    Initialisers that are numbers of neurons' weights are parameters, under their names in the file; those that are
    sizes, places and settings are not. A step is called after its weights ("conv1" has "conv1.weight"), after its node
    in the file, or after its operator and place.
    """

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.document = document
        self.batch = fixed_batch(document.inputs)
        self.constants: dict[str, Tensor] = {}
        learned, statistics = _roles(document)
        self.steps: list[tuple[Step, Operator]] = []
        names = _Names(learned)
        for place, (node, depends) in enumerate(depending(document)):
            needs = tuple(name in depends for name in node.inputs)
            step = Step(node, document.opset, needs, self.batch)
            self._put(names.of(place, node), step, "_modules")
            if node.operator in CELLS:
                step.make_cells()
            self.steps.append((step, OPERATORS[node.operator]))
        for name, tensor in document.initialisers.items():
            if name in statistics:
                self._put(name, tensor, "_buffers")
            elif name in learned:
                self._put(name, nn.Parameter(tensor), "_parameters")
            else:
                self.constants[name] = tensor
        for step, _ in self.steps:
            for cell in step.cells:
                cell.weights = tuple(p for name, p in self.named_parameters() if name in step.node.inputs)
        self.last_use = {name: place for place, node in enumerate(document.nodes) for name in node.inputs}

    def _put(self, path: str, value: Any, among: str) -> None:
        """Register under a dotted path; add_module and its like refuse names that files have."""
        parent: nn.Module = self
        *parts, leaf = path.split(".")
        for part in parts:
            if part not in parent._modules:
                parent._modules[part] = nn.Module()
            parent = parent._modules[part]  # type: ignore[assignment]
        if among == "_modules" and leaf in parent._modules:  # made for steps within it
            value._modules.update(parent._modules[leaf]._modules)  # type: ignore[union-attr]
        getattr(parent, among)[leaf] = value

    def forward(self, *inputs: Tensor) -> Any:
        """Compute the outputs: a tensor if there is one, else a tuple in the order of the file."""
        self._check(inputs)
        samples = len(inputs[0]) if inputs[0].dim() > 1 else None
        if self.batch == 1 and samples is not None and samples > 1:  # sizes in the file may be for one sample only
            parts = [self._computed(*(x[i : i + 1] for x in inputs)) for i in range(samples)]
            outputs = tuple(torch.cat(same) for same in zip(*parts, strict=True))
        else:
            outputs = self._computed(*inputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def converted(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return inputs in the types that the file declares."""
        self._check(inputs)
        return tuple(
            x.to(declared.dtype) if isinstance(x, Tensor) else x
            for declared, x in zip(self.document.inputs, inputs, strict=True)
        )

    def _computed(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values: dict[str, Any] = {**self.constants, **dict(self.named_parameters()), **dict(self.named_buffers())}
        values |= {declared.name: x for declared, x in zip(self.document.inputs, inputs, strict=True)}
        kept = set(self.document.outputs)
        for place, (step, function) in enumerate(self.steps):
            node = step.node
            step.given = len(inputs[0]) if self.batch is not None and inputs[0].dim() > 1 else None
            found = self._run(step, function, [values[name] if name else None for name in node.inputs])
            values.update(zip(node.outputs, found, strict=False))
            for name in set(node.inputs) - kept:
                if self.last_use[name] == place:
                    values.pop(name, None)
        return tuple(values[name] for name in self.document.outputs)

    def _run(self, step: Step, function: Operator, inputs: list[Any]) -> tuple[Any, ...]:
        """Compute one node."""
        node = step.node
        try:
            found = step(function, *inputs)
        except Dnn2graphError:
            raise
        except Exception as error:
            shapes = ", ".join(str(tuple(x.shape)) if isinstance(x, Tensor) else "none" for x in inputs)
            raise ModelError(
                f"'{self.document.path}': {describe(node)} failed on inputs of shape {shapes} ({cause(error)}): check "
                "the shape of the example input, or export the model again"
            ) from error
        found = found if isinstance(found, tuple) else (found,)
        if extra := [name for name in node.outputs[len(found) :] if name]:
            raise step.refuse(f"its output '{extra[0]}' has no torch operation here")
        return found

    def _check(self, inputs: tuple[Any, ...]) -> None:
        declared = self.document.inputs
        if len(inputs) != len(declared):
            listed = ", ".join(map(str, declared))
            raise ModelError(f"'{self.document.path}' takes {len(declared)} inputs, {listed}; {len(inputs)} were given")
        for one, x in zip(declared, inputs, strict=True):
            if isinstance(x, Tensor) and one.shape is not None and x.dim() != len(one.shape):
                raise ModelError(
                    f"'{self.document.path}': input {one} has {len(one.shape)} axes, but {tuple(x.shape)} was given"
                )


def _roles(document: Document) -> tuple[set[str], set[str]]:
    """Tell which initialisers are learned, and which are statistics."""
    settings: set[str] = set()
    statistics: set[str] = set()
    weights: set[str] = set()
    for node in document.nodes:
        for place, name in enumerate(node.inputs):
            role = weights
            if place in SETTINGS.get(node.operator, ()):
                role = settings
            elif place in STATISTICS.get(node.operator, ()):
                role = statistics
            role.add(name)
    numbers = {name for name, tensor in document.initialisers.items() if tensor.is_floating_point()}
    return numbers - (settings - weights), (numbers & statistics) - weights


class _Names:
    """Paths of steps, each its own."""

    def __init__(self, learned: set[str]) -> None:
        self._learned, self._used = learned, set(learned)

    def of(self, place: int, node: Node) -> str:
        """Name a step after its weights, its node, or its operator."""
        for name in self._candidates(place, node):
            if name and name not in self._used:
                self._used.add(name)
                return name
        raise AssertionError("the last candidate is never used")

    def _candidates(self, place: int, node: Node) -> Iterator[str]:
        yield from (name.rpartition(".")[0] for name in node.inputs if name in self._learned)
        scope, _, last = node.name.strip("/").rpartition("/")
        if last.split("_")[0] == node.operator:  # torch names nodes "/module/Operator"
            yield scope.replace("/", ".")
        yield f"{scope}.{last}".replace("/", ".").strip(".")
        yield f"{node.operator}_{place}"
        yield from (f"{node.operator}_{place}_{again}" for again in range(len(self._used) + 1))
