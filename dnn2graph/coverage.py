"""What of a model its graph represents: parameters, operations and the rules for them, outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch.utils._pytree import keystr, tree_flatten_with_path, tree_unflatten

from .nodes import Nodes
from .trace import Options, graph_of, prepared, reached_nodes, watched
from .trace.ids import storage_key

if TYPE_CHECKING:
    from torch import nn

    from .graph import Output
    from .trace.watch import Watch

NAMED_AT_MOST = 6


@dataclass(frozen=True)
class Met:
    """One operation on neurons that a model runs.

    Attributes
    ----------
    operation : str
        Its name in torch.
    count : int
        How often it ran.
    rule : str or None
        What represents it, file and function of ``dnn2graph/trace/rules`` or of the user; "view" where the operation
        only looks at the same neurons in another way; None where nothing does.
    """

    operation: str
    count: int
    rule: str | None


@dataclass(frozen=True)
class Coverage:
    """What of a model its graph represents; see :func:`coverage`.

    Attributes
    ----------
    parameters : mapping from name to int
        How many elements each parameter of the model has; tied ones count once.
    represented : tuple of str
        Parameters that stand in a link, a bias or a layer's function.
    missing : tuple of str
        Parameters that the model computes with and that stand nowhere.
    unread : tuple of str
        Parameters that stand in layers that no output depends on.
    unused : tuple of str
        Parameters that the model does not compute with on this example.
    operations : tuple of Met
        Operations on neurons, the most frequent first.
    unsupported : tuple of str
        Operations that no rule represents: where, and on what shapes.
    notes : tuple of str
        Choices that depend on the example, as of the graph.
    cut : tuple of str
        Outputs that no input reaches: their places in what the model returns. Not told where operations are
        unsupported.
    """

    parameters: Mapping[str, int]
    represented: tuple[str, ...]
    missing: tuple[str, ...]
    unread: tuple[str, ...]
    unused: tuple[str, ...]
    operations: tuple[Met, ...]
    unsupported: tuple[str, ...]
    notes: tuple[str, ...]
    cut: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every operation has a rule, every parameter in use is represented, and every output is reached."""
        return not (self.missing or self.unsupported or self.cut)

    @property
    def share(self) -> float:
        """Share of the elements of parameters in use that are represented; 1 where there are none."""
        used = self._elements(set(self.parameters) - set(self.unused))
        return self._elements(self.represented) / used if used else 1.0

    def _elements(self, names: Iterable[str]) -> int:
        return sum(self.parameters[name] for name in names)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields in plain values."""
        return {**asdict(self), "ok": self.ok, "share": self.share}

    def __str__(self) -> str:
        used = [name for name in self.parameters if name not in set(self.unused)]
        lines = [
            f"parameters: {len(self.represented)} of {len(used)} in use are represented, "
            f"{self._elements(self.represented):,} of {self._elements(used):,} elements ({self.share:.2%})"
        ]
        for what in ("missing", "unread", "unused"):
            names = getattr(self, what)
            if names:
                more = f", … ({len(names)} in all)" if len(names) > NAMED_AT_MOST else ""
                lines.append(f"  {what}: {', '.join(names[:NAMED_AT_MOST])}{more}")
        wide = max([len(each.operation) for each in self.operations], default=0)
        lines.append(f"operations: {len(self.operations)} kinds, {sum(each.count for each in self.operations)} calls")
        lines += [f"  {each.operation:<{wide}} {each.count:>6}  {each.rule or '—'}" for each in self.operations]
        for title, entries in (
            ("operations without a rule", self.unsupported),
            ("choices of the example", self.notes),
            ("outputs that no input reaches", self.cut),
        ):
            if entries:
                lines += [f"{title}:", *(f"  {entry}" for entry in entries)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Coverage({self.share:.2%} of the parameters, {len(self.unsupported)} unsupported, ok={self.ok})"


def coverage(
    model: nn.Module, example_input: Any, *, example_kwargs: Mapping[str, Any] | None = None, **options: Any
) -> Coverage:
    """Tell what of a model its graph represents. Operations without a rule are named, not raised.

    Parameters
    ----------
    model, example_input, example_kwargs, **options
        As of :func:`dnn2graph.from_torch`.

    Returns
    -------
    Coverage

    Raises
    ------
    ModelError, InputError
        As of :func:`dnn2graph.from_torch`.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.coverage import coverage
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> print(coverage(model, torch.zeros(1, 4)))
    parameters: 4 of 4 in use are represented, 23 of 23 elements (100.00%)
    operations: 2 kinds, 3 calls
      aten.addmm.default      2  linear.biased_product
      aten.relu.default       1  pointwise.elementwise
    """
    with prepared(model, example_input, example_kwargs, Options(**options)) as (args, kwargs, resolved, run):
        watch, result = watched(model, args, kwargs, resolved, False, run)
        output = watch.output(result)
        named = dict(model.named_parameters())
        touched = {name for name, tensor in named.items() if storage_key(tensor) in watch.touched}
        met = _parameters_met(watch)
        represented = met
        cut: tuple[str, ...] = ()
        if not watch.unsupported:
            graph = graph_of(watch, output)
            represented, cut = set(graph.parameters()), _unreached(graph.output, reached_nodes(graph))
    return Coverage(
        parameters={name: tensor.numel() for name, tensor in named.items()},
        represented=tuple(name for name in named if name in represented),
        missing=tuple(name for name in named if name in touched and name not in met),
        unread=tuple(name for name in named if name in met and name not in represented),
        unused=tuple(name for name in named if name not in touched and name not in met),
        operations=_operations(watch.met),
        unsupported=tuple(watch.unsupported),
        notes=tuple(watch.notes),
        cut=cut,
    )


def _parameters_met(watch: Watch) -> set[str]:
    """Name the parameters that stand in any layer or link, read or not."""
    found = [links.weight for links in watch.links]
    for layer in watch.layers:
        found += [each for each in (layer.bias, layer.activate, layer.function) if each is not None]
    return {name for expression in found for name in expression.parameters()}


def _unreached(output: Output, reached: Any) -> tuple[str, ...]:
    """Name the outputs that are constants, or made of nodes that no input reaches."""
    leaves = tree_flatten_with_path(tree_unflatten(list(output.leaves), output.structure))[0]
    cut = []
    for path, leaf in leaves:
        nodes = leaf.flat[leaf.flat >= 0] if isinstance(leaf, Nodes) else None
        if nodes is None and not hasattr(leaf, "shape"):
            continue  # a number or None
        if nodes is None or not reached[nodes].any():
            cut.append(f"output{keystr(path)}" + (" (a constant)" if nodes is None else ""))
    return tuple(cut)


def _operations(met: Counter[tuple[str, str | None]]) -> tuple[Met, ...]:
    ordered = sorted(met.items(), key=lambda entry: (-entry[1], entry[0][0]))
    return tuple(Met(operation, count, rule) for (operation, rule), count in ordered)
