"""Whether tensors can become a graph without a model, told from their shapes."""

from __future__ import annotations

from pathlib import Path

from ..errors import LoadError
from ..load.layers import Shaped, layers_in_order
from .tensors import stored_tensors

CONFIG = "config.json"


def why_no_graph(path: str | Path) -> str | None:
    """Say why :func:`dnn2graph.load` makes no graph of safetensors files without a model; None if it might.

    Only headers are read.

    Raises
    ------
    LoadError
        If a file is missing or damaged.
    """
    path = Path(path)
    if path.is_dir():
        return None if (path / CONFIG).is_file() else f"the folder '{path}' has no {CONFIG}"
    shaped = {
        tensor.name: Shaped(tensor.shape, tensor.dtype, tensor.format is not None) for tensor in stored_tensors(path)
    }
    try:
        layers_in_order(path, shaped, ordered=False)
    except LoadError as error:
        return str(error)
    return None
