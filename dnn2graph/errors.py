"""What can go wrong, as one family of exceptions: every message names the cause, the value and the remedy."""

from __future__ import annotations


class Dnn2graphError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(Dnn2graphError):
    """An argument does not fit: an example input, an option, a layer name."""


class ModelError(Dnn2graphError):
    """The model raised, or returned something that is not made of tensors, while it was watched."""


class UnsupportedOperation(Dnn2graphError):
    """Operations on neurons that no rule represents; all of them at once.

    Attributes
    ----------
    operations : list of str
        One line for each: module path, ATen name, shapes.
    """

    def __init__(self, operations: list[str]) -> None:
        self.operations = operations
        listed = "\n".join(f"  - {line}" for line in operations)
        super().__init__(
            f"{len(operations)} operation(s) of the model cannot be represented in the graph:\n{listed}\n"
            "Register a rule for each (@dnn2graph.rule(torch.ops.aten.<name>.<overload>)) or leave that module out."
        )


class WeightsError(Dnn2graphError):
    """Weights that do not fit the graph, are missing, or are not finite."""


class MemoryBudgetError(Dnn2graphError):
    """What was asked for would take more memory than the budget allows."""


class LoadError(Dnn2graphError):
    """A model file that is missing, corrupt, unsafe or ambiguous."""


class DataError(Dnn2graphError):
    """A data set that is missing or corrupt."""


class ExportError(Dnn2graphError):
    """A file that could not be written; nothing was left at its path."""
