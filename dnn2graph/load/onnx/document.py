"""What an ONNX file holds, checked as a whole before any of it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import Tensor

from ...errors import LoadError
from ..files import reading
from . import operators
from .inputs import Declared
from .registry import OPERATORS
from .tensors import COPY, dtype_of, read_tensor

OPSETS = range(9, 25)
STANDARD = ("", "ai.onnx")
SUBGRAPHS = ("If", "Loop", "Scan", "SequenceMap")
A = onnx.AttributeProto


@dataclass(frozen=True)
class Node:
    """One operator of the graph.

    Attributes
    ----------
    name : str
        Of the node in the file; may be empty.
    operator : str
    inputs, outputs : tuple of str
        Names of values; empty for an optional one that is left out.
    attributes : dict
        Numbers, strings, lists of them, and tensors.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Document:
    """The checked contents of a file: nodes stand in an order in which they can be computed."""

    path: Path
    opset: int
    nodes: tuple[Node, ...]
    initialisers: dict[str, Tensor]
    inputs: tuple[Declared, ...]
    outputs: tuple[str, ...]


def read_document(path: Path) -> Document:
    """Read and check a file.

    Raises
    ------
    LoadError
        If it is damaged, or holds what cannot be represented.
    """
    model = onnx.ModelProto()
    with reading(path, f"it is truncated, corrupt or no ONNX file; {COPY}"):
        model.ParseFromString(path.read_bytes())
        if not model.HasField("graph") or not model.graph.node:
            raise LoadError(f"'{path}' holds no graph of operators, it is truncated or no ONNX file: {COPY}")
        opset = _opset(path, model)
        _check_operators(path, model.graph.node, opset)
        nodes = tuple(_node(path, node) for node in model.graph.node)
        document = _document(path, opset, nodes, model.graph)
    _check_order(document)
    return document


def _opset(path: Path, model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    if not versions:
        raise LoadError(f"'{path}' does not say which opset its operators are of: {COPY}")
    if versions[0] not in OPSETS:
        raise LoadError(
            f"'{path}' has operators of opset {versions[0]}; known are {OPSETS[0]} to {OPSETS[-1]}: convert it, "
            "onnx.version_converter.convert_version(model, 21)"
        )
    return versions[0]


def _check_operators(path: Path, nodes: Iterable[onnx.NodeProto], opset: int) -> None:
    """Raise LoadError with all operators that are not represented."""
    subgraphs = Counter(_text(node.op_type) for node in nodes if _has_subgraph(node))
    unknown = Counter(
        _text(node.op_type) if node.domain in STANDARD else f"{_text(node.domain)}::{_text(node.op_type)}"
        for node in nodes
        if not _has_subgraph(node) and (node.domain not in STANDARD or node.op_type not in OPERATORS)
    )
    problems = []
    if subgraphs:
        problems.append(
            f"{_counted(subgraphs)} holds graphs that run depending on values, and a graph of neurons has one form: "
            "export the model without branches and loops (fixed sizes often fold them away, and so does onnxsim)"
        )
    if unknown:
        problems.append(
            f"there is no torch operation here for {_counted(unknown)} (opset {opset}): export the model with standard "
            "operators, or pass the torch module to dnn2graph.from_torch"
        )
    if problems:
        raise LoadError(f"'{path}' cannot be represented: {'; '.join(problems)}")


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return node.op_type in SUBGRAPHS or any(a.type in (A.GRAPH, A.GRAPHS) for a in node.attribute)


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{name} ({count} times)" if count > 1 else name for name, count in sorted(names.items()))


def _node(path: Path, node: onnx.NodeProto) -> Node:
    attributes = {_text(attribute.name): _value(path, attribute) for attribute in node.attribute}
    inputs, outputs = (tuple(map(_text, names)) for names in (node.input, node.output))
    return Node(_text(node.name), node.op_type, inputs, outputs, attributes)


def _text(value: str | bytes) -> str:
    """Return a string of the file, which protocol buffers leave as bytes where it is damaged."""
    if isinstance(value, bytes):
        raise UnicodeError(f"the name {value!r} is no text")
    return value


def _value(path: Path, attribute: onnx.AttributeProto) -> Any:
    """Read the value of an attribute."""
    match attribute.type:
        case A.FLOAT:
            return attribute.f
        case A.INT:
            return attribute.i
        case A.STRING:
            return attribute.s.decode()
        case A.TENSOR:
            return read_tensor(path, attribute.t)
        case A.FLOATS:
            return list(attribute.floats)
        case A.INTS:
            return list(attribute.ints)
        case A.STRINGS:
            return [text.decode() for text in attribute.strings]
    raise LoadError(f"'{path}': attribute '{attribute.name}' is neither number, text nor tensor: {COPY}")


def _document(path: Path, opset: int, nodes: tuple[Node, ...], graph: onnx.GraphProto) -> Document:
    if graph.sparse_initializer:
        names = ", ".join(repr(stored.values.name) for stored in graph.sparse_initializer)
        raise LoadError(f"'{path}' has sparse initialisers ({names}): store them dense")
    initialisers: dict[str, Tensor] = {}
    for stored in graph.initializer:
        initialisers[_text(stored.name)] = read_tensor(path, stored)
        stored.Clear()  # the bytes have been copied
    inputs = tuple(_declared(path, value) for value in graph.input if value.name not in initialisers)
    return Document(path, opset, nodes, initialisers, inputs, tuple(_text(value.name) for value in graph.output))


def _declared(path: Path, value: onnx.ValueInfoProto) -> Declared:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise LoadError(f"'{path}': input '{value.name}' is a {kind or 'value without a type'}, not a tensor: {COPY}")
    tensor = value.type.tensor_type
    dtype = dtype_of(path, tensor.elem_type, f"input '{value.name}'")
    shape = tuple(_length(axis) for axis in tensor.shape.dim) if tensor.HasField("shape") else None
    return Declared(_text(value.name), dtype, shape)


def _length(axis: Any) -> int | str:
    return axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else _text(axis.dim_param) or "?"


def _check_order(document: Document) -> None:
    """Raise LoadError if a value is used before it is made, made twice, or never made."""
    path = document.path
    if not document.inputs:
        raise LoadError(f"'{path}' has no input that is no initialiser: nothing depends on data")
    known = {*document.initialisers, *(declared.name for declared in document.inputs)}
    for node in document.nodes:
        for name in filter(None, node.inputs):
            if name not in known:
                raise LoadError(
                    f"'{path}' is damaged: {describe(node)} reads '{name}', which no node before it makes (the graph "
                    f"is cyclic, or not in order): {COPY}"
                )
        for name in filter(None, node.outputs):
            if name in known:
                raise LoadError(f"'{path}' is damaged: '{name}' is made twice, again by {describe(node)}: {COPY}")
            known.add(name)
    missing = [name for name in document.outputs if name not in known]
    if missing or not document.outputs:
        what = f"nothing makes its outputs {missing}" if missing else "it has no output"
        raise LoadError(f"'{path}' is damaged: {what}: {COPY}")


def describe(node: Node) -> str:
    """Name a node for a message."""
    return f"node '{node.name or next(iter(node.outputs), '')}' ({node.operator})"


def depending(document: Document) -> Iterator[tuple[Node, frozenset[str]]]:
    """Iterate over the nodes, each with those of its inputs that depend on the values of the graph's inputs.

    Sizes do not count as values.
    """
    values = {declared.name for declared in document.inputs}
    for node in document.nodes:
        found = frozenset(values.intersection(node.inputs))
        if found and node.operator not in operators.SIZES:
            values.update(node.outputs)
        yield node, found
