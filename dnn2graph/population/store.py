"""A population on disk: stacks of networks as safetensors files, and what made them as JSON. No code is ever read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ExportError, InputError, LoadError
from ..export.files import replacing
from ..graph import common_dtype
from ..load import resolve_architecture
from ..load.files import existing_file, reading
from .design import Design

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = "population.json"
VERSION = 1
COLUMNS = {
    "network": "int64",
    "step": "int64",
    "accuracy": "float64",
    "initialisation": "object",
    "support": "float64",
    "seed": "int64",
    "diverged": "bool",
}
REMEDY = (
    "delete it and run the same training into this folder again, which makes only what is missing, "
    "or gather the checkpoints into another folder"
)


@dataclass(frozen=True)
class Checkpoints:
    """What networks are that were trained elsewhere: the name of their architecture, and the shape of its inputs.

    Attributes
    ----------
    architecture : str
        ``package.module:callable``, see :func:`dnn2graph.load.resolve_architecture`.
    input_shapes : tuple of tuple of int
        One sample of each input, without the batch axis.
    """

    architecture: str
    input_shapes: tuple[tuple[int, ...], ...]

    def model(self) -> nn.Module:
        """Build one network; its weights are of no meaning."""
        return resolve_architecture(self.architecture)

    def example_input(self) -> tuple[Tensor, ...]:
        """Give one sample of zeros, to trace a network with."""
        dtype = common_dtype(list(self.model().parameters()))
        return tuple(torch.zeros(1, *shape, dtype=dtype) for shape in self.input_shapes)

    def to_dict(self) -> dict[str, Any]:
        """Give both in the types of JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Checkpoints:
        """Make one of what :meth:`to_dict` gave."""
        return cls(values["architecture"], tuple(map(tuple, values["input_shapes"])))


ORIGINS: dict[str, type[Design] | type[Checkpoints]] = {"design": Design, "checkpoints": Checkpoints}


class Store:
    """A population in a folder, as :func:`.train_population` or :func:`.gather` wrote it.

    Parameters
    ----------
    folder : path

    Attributes
    ----------
    origin : Design or Checkpoints
        What made the population; it gives the model and an input.
    description : dict
        All that ``population.json`` says: also the group size and the versions that the networks were trained with.

    Raises
    ------
    LoadError
        If there is no population, or its description is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / DESCRIPTION
        if not path.exists():
            raise LoadError(
                f"'{self.folder}' holds no population, since there is no {DESCRIPTION}: name the folder that "
                "'dnn2graph population train' or 'gather' wrote"
            )
        with reading(existing_file(path), f"write it again, by the same training into '{self.folder}'"):
            self.description: dict[str, Any] = json.loads(path.read_text())
            if self.description["version"] != VERSION:
                raise LoadError(
                    f"'{path}' is of version {self.description['version']}, this dnn2graph reads {VERSION}: "
                    "read it with the version that wrote it"
                )
            (name,) = set(ORIGINS) & set(self.description)
            self.origin = ORIGINS[name].from_dict(self.description[name])

    @property
    def design(self) -> Design:
        """How the networks were trained.

        Raises
        ------
        InputError
            If they were gathered from checkpoints.
        """
        if not isinstance(self.origin, Design):
            raise InputError(
                f"'{self.folder}' was gathered from checkpoints, whose training is not known: "
                "name a folder of networks that were trained here, or a new one"
            )
        return self.origin

    def model(self) -> nn.Module:
        """Build one network of the architecture; its weights are of no meaning."""
        return self.origin.model()

    def example_input(self) -> Any:
        """Give an input to trace the architecture with."""
        return self.origin.example_input()

    def stacks(self) -> list[Path]:
        """List the files of networks, in order of group and step.

        Raises
        ------
        LoadError
            If there is none.
        """
        found = sorted(self.folder.glob("group-*/step-*.safetensors"))
        if not found:
            raise LoadError(f"'{self.folder}' holds no networks yet: train or gather them into it")
        return found

    def read(self, path: str | Path) -> tuple[dict[str, Tensor], pd.DataFrame]:
        """Read one stack of networks.

        Returns
        -------
        weights : dict from parameter name to tensor (networks, *shape)
        members : DataFrame
            One row per network: network, step, accuracy (from 0 to 1, on the test split; NaN if unknown),
            initialisation, support, seed (None, NaN and -1 if unknown), and diverged: whether a weight is not finite.

        Raises
        ------
        LoadError
            If the file is missing or damaged.
        """
        return read_stack(path), self.members_of(path)

    def members_of(self, path: str | Path) -> pd.DataFrame:
        """Read the members of one stack alone, as of :meth:`read`."""
        import pandas as pd

        path = Path(path)
        with _opened(path) as file, reading(path, REMEDY):
            members = json.loads(file.metadata()["members"])
            return pd.DataFrame({name: members[name] for name in COLUMNS}).astype(COLUMNS)

    def members(self) -> pd.DataFrame:
        """Read the members of all stacks, in their order."""
        import pandas as pd

        return pd.concat([self.members_of(path) for path in self.stacks()], ignore_index=True)


def stack_path(folder: Path, group: int, step: int) -> Path:
    """Give the file of a group of networks at one step."""
    return folder / f"group-{group:04d}" / f"step-{step:09d}.safetensors"


def read_stack(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a stack into memory of their own, laid out as torch lays out new tensors."""
    path = Path(path)
    with _opened(path) as file, reading(path, REMEDY):
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def write_stack(path: Path, weights: Mapping[str, Tensor], members: Mapping[str, Sequence[Any]]) -> None:
    """Write a stack of networks; the file appears only when it is complete.

    Parameters
    ----------
    path : Path
    weights : mapping from parameter name to tensor (networks, *shape)
    members : mapping from str to sequence
        The columns of :meth:`Store.read`, "diverged" excepted, which is found here.
    """
    from safetensors.torch import save

    weights = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    finite = torch.stack([tensor.isfinite().reshape(len(tensor), -1).all(1) for tensor in weights.values()]).all(0)
    columns = {**members, "diverged": (~finite).tolist()}
    metadata = {"members": json.dumps({name: list(columns[name]) for name in COLUMNS})}
    make_folder(path.parent)
    with replacing(path) as file:
        file.write(save(weights, metadata))


def write_description(folder: Path, origin: Design | Checkpoints, **details: Any) -> None:
    """Write what a population is."""
    name = next(name for name, kind in ORIGINS.items() if isinstance(origin, kind))
    make_folder(folder)
    with replacing(folder / DESCRIPTION) as file:
        text = json.dumps({"version": VERSION, name: origin.to_dict(), **details}, indent=2)
        file.write(text.encode() + b"\n")


def make_folder(folder: Path) -> None:
    """Create a folder and those above it.

    Raises
    ------
    ExportError
        If that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"cannot create '{folder}' ({error.strerror}): choose another folder") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import safe_open

    existing_file(path)
    with reading(path, REMEDY), safe_open(path, framework="pt") as file:
        yield file
