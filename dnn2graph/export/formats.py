"""The file formats, by the endings of their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ExportError, InputError
from ..graph import NeuralGraph
from .dot import LARGEST as DRAWABLE
from .nodes import check_isolated
from .text import check_options

GZ = ".gz"
VIEWABLE = 200_000  # edges


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        What file names end in.
    writer : str
        Module of this package and function, which takes a graph, a path, and keyword options.
    weight : {"abs", "signed"}
        What ``weight`` is by default.
    most_edges : int or None
        How many its readers take well, where they are programs to look at graphs.
    is_text : bool
        Whether the name may end in ``.gz`` behind the suffix.
    always_signed : bool
        Whether there is no choice of ``weight``.
    """

    name: str
    suffixes: tuple[str, ...]
    writer: str
    weight: str
    most_edges: int | None = None
    is_text: bool = True
    always_signed: bool = False

    @property
    def is_viewed(self) -> bool:
        """Whether its readers are programs to look at graphs, rather than to analyse them.

        Their files may leave out nodes without an edge. The others hold every node: in Pajek's and in matrices nodes
        have no names but their numbers, which would change, and Parquet and npz are to be read back whole.
        """
        return self.most_edges is not None

    def check_isolated(self, isolated: str) -> None:
        """Raise InputError if the option is unknown, or asks a format that holds every node to leave some out."""
        check_isolated(isolated)
        if isolated == "drop" and not self.is_viewed:
            viewed = ", ".join(each.suffixes[0] for each in FORMATS if each.is_viewed)
            raise InputError(
                f"{self.name} holds every node, those without an edge too: only the formats for viewers ({viewed}) can "
                "leave them out"
            )

    def load(self) -> Callable[..., None]:
        """Import the writer."""
        module, function = self.writer.split(":")
        loaded: Callable[..., None] = getattr(import_module(f".{module}", __package__), function)
        return loaded

    def matches(self, name: str) -> bool:
        """Tell whether a file of that name is of this format."""
        name = name.lower()
        name = name.removesuffix(GZ) if self.is_text else name
        return name.endswith(self.suffixes)


FORMATS = (
    Format("GraphML", (".graphml",), "graphml:write_graphml", "abs", VIEWABLE),
    Format("GEXF", (".gexf",), "gexf:write_gexf", "abs", VIEWABLE),
    Format("CSV tables", (".csv",), "edge_tables:write_csv", "abs", VIEWABLE),
    Format("DOT", (".dot", ".gv"), "dot:write_dot", "abs", DRAWABLE),
    Format("Pajek", (".net",), "pajek:write_pajek", "signed"),
    Format("Matrix Market", (".mtx",), "matrix_market:write_matrix_market", "signed"),
    Format("Parquet", (".parquet",), "parquet:write_parquet", "signed", is_text=False, always_signed=True),
    Format("npz", (".npz",), "npz:save_npz", "signed", is_text=False, always_signed=True),
)


def format_of(path: str | Path) -> Format:
    """Find the format that a file's name asks for.

    Raises
    ------
    ExportError
        If there is none; the message lists them.
    """
    for each in FORMATS:
        if each.matches(Path(path).name):
            return each
    raise ExportError(f"cannot write '{path}': give a name that ends in {endings()}")


def endings() -> str:
    """List what names may end in."""
    known = []
    for each in FORMATS:
        for suffix in each.suffixes:
            known += [suffix, suffix + GZ] if each.is_text else [suffix]
    return ", ".join(known)


def write(graph: NeuralGraph, path: str | Path, **options: Any) -> None:
    """Write a graph in the format that the name of the file says.

    Parameters
    ----------
    graph : NeuralGraph
    path : str or Path
        ``.graphml``, ``.gexf``, ``.dot`` and ``.csv`` (a pair of tables) are for programs to look at graphs; ``.net``
        (Pajek), ``.mtx`` (Matrix Market), ``.parquet`` (a folder of tables) and ``.npz`` for analysis. Text is
        compressed if ``.gz`` follows.
    **options
        Of the format's own writer; all take ``kinds``, ``precision`` and ``progress``, most ``weight``: "abs", the
        default for viewers, or "signed", that for analysis. Those for viewers take ``isolated``: "drop" leaves out the
        nodes that have no edge. All write in constant memory but ``.npz``, which holds the whole matrix in memory
        before it is written; its option ``memory`` is the budget for that.

    Raises
    ------
    ExportError
        If the ending is unknown, or the file cannot be written.
    InputError
        If an option is unknown, or one that the format does not have.
    MemoryBudgetError
        If the matrix of ``.npz`` would take more than the budget, by default half of the memory that is free; before
        anything is allocated.
    WeightsError
        If a weight or a bias is NaN or infinite.

    Examples
    --------
    >>> import tempfile, torch, scipy.io, dnn2graph as dg
    >>> from dnn2graph.export.formats import write
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(graph, f"{folder}/linear.mtx.gz")
    ...     scipy.io.mmread(f"{folder}/linear.mtx.gz").nnz
    2
    """
    chosen = format_of(path)
    if chosen.always_signed and "weight" in options:
        weight = options.pop("weight")
        check_options(weight, None)
        if weight != chosen.weight:
            raise InputError(
                f"weight={weight!r} is not for {chosen.name}, which holds the signed weights, from which the absolute "
                "ones can be made: leave it out"
            )
    if not chosen.is_viewed:
        chosen.check_isolated(options.pop("isolated", "keep"))
    writer = chosen.load()
    known = set(writer.__kwdefaults__ or ()) | set(writer.__code__.co_varnames[2 : writer.__code__.co_argcount])
    if unknown := sorted(set(options) - known):
        raise InputError(f"{chosen.name} has no option {unknown[0]!r}: it has {', '.join(sorted(known))}")
    writer(graph, path, **options)
