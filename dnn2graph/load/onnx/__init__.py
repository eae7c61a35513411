"""ONNX files (``.onnx``): the operators of the file become torch operations, its initialisers parameters.

A file is protocol buffers: it holds operators by name, numbers and strings, and no code. What it says about sizes,
places and order is checked before anything is allocated or run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ...errors import LoadError

if TYPE_CHECKING:
    from .module import OnnxModule

__all__ = ["load_onnx"]


def load_onnx(path: Path, needs_example: bool = True) -> tuple[OnnxModule, tuple[Tensor, ...]]:
    """Read an ONNX file of opset 9 to 24.

    Parameters
    ----------
    path : Path
    needs_example : bool
        Whether an example input is to be made from the sizes that the file declares.

    Returns
    -------
    model : Module
        Its parameters and buffers have the names that the initialisers have in the file.
    example : tuple of tensor
        Zeros, as many samples as the file is made for, or one; empty if there is no need of it.

    Raises
    ------
    LoadError
        If the package onnx is not installed; if the file is truncated, corrupt, names files outside of its folder, or
        has operators that are not represented: all of them are named.
    InputError
        If the file leaves open a size other than that of the batch.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise LoadError(f"'{path}' needs the package onnx to be read: pip install 'dnn2graph[onnx]'") from error
    from .document import read_document
    from .inputs import example_inputs
    from .module import OnnxModule

    document = read_document(path)
    example = example_inputs(path, document.inputs) if needs_example else ()
    return OnnxModule(document), example
