"""Weights for a graph that stay in their files until they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from ..load.files import reading
from .tensors import DAMAGED, stored_tensors


class LazyTensors(Mapping[str, Tensor]):
    """The tensors of safetensors files, each read when it is asked for, and forgotten with the last reference to it.

    A tensor is a view of its file: what has not been touched takes no memory, and what nobody refers to any more is
    given back. Made for :meth:`.NeuralGraph.with_weights` of a graph that was traced without weights.

    Parameters
    ----------
    path : str or Path
        As of :func:`.measure_file`.

    Raises
    ------
    LoadError
        If a file is missing or damaged.

    Examples
    --------
    >>> import tempfile, torch, dnn2graph as dg
    >>> from safetensors.torch import save_file
    >>> from dnn2graph.streaming import LazyTensors
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> graph = dg.from_torch(model, torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"weight": torch.tensor([[1.0, 2.0]])}, f"{folder}/model.safetensors")
    ...     dg.strength(graph.with_weights(LazyTensors(f"{folder}/model.safetensors")))
    array([1., 2., 3.])
    """

    def __init__(self, path: str | Path) -> None:
        self._files = {tensor.name: tensor.file for tensor in stored_tensors(path)}

    def __getitem__(self, name: str) -> Tensor:
        from safetensors import safe_open

        path = self._files[name]
        with reading(path, DAMAGED), safe_open(path, "pt") as file:  # of its own: it ends when the tensor does
            tensor: Tensor = file.get_tensor(name)
            return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
