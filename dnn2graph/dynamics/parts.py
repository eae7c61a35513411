"""The folder that runs are recorded in: a Parquet file for each snapshot, and a note of the graph's layers.

Whatever reads Parquet reads the folder as one table: readers pass over names that begin with ``.`` (files that a killed
process left unfinished) and with ``_`` (the note).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from ..errors import ExportError, InputError
from ..export.files import replacing
from ..graph import NeuralGraph

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("run", "step", "layer", "node", "measure", "value")
NOTE = "_graph.json"
LONGEST = 200  # bytes of a run's name as it is written; a file's whole name may have 255
NAME = re.compile(r"(.+)-(\d{12,})\.parquet")

# Measured on runs of small convolutional networks: as fast as no compression, a half to a tenth of the bytes, and
# pyarrow, polars and DuckDB read it. Without arrow's own schema, dictionary columns are read as plain text.
FORMAT: dict[str, Any] = {
    "compression": "lz4",
    "use_dictionary": ["run", "step", "layer", "measure"],
    "column_encoding": {"node": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
    "store_schema": False,
    "write_page_checksum": True,
}


class Part(NamedTuple):
    """One recorded snapshot."""

    run: str
    step: int
    path: Path


def part_path(folder: Path, run: str, step: int) -> Path:
    """Name the file of a snapshot; names sort by step, and no name of a run makes another path or a hidden file.

    Raises
    ------
    InputError
        If the run's name is empty or too long.
    """
    quoted = quote(run, safe="")
    if quoted[:1] in (".", "_"):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if not 0 < len(quoted) <= LONGEST:
        raise InputError(f"run={run!r} makes no name of a file: give it 1 to {LONGEST} plain characters")
    return folder / f"{quoted}-{step:012d}.parquet"


def list_parts(folder: Path) -> tuple[list[Part], list[Path]]:
    """Give the snapshots by run and step, and the Parquet files that are none by their names."""
    parts, others = [], []
    for path in sorted(folder.glob("*.parquet")):
        if path.name.startswith((".", "_")):
            continue
        if match := NAME.fullmatch(path.name):
            parts.append(Part(unquote(match[1]), int(match[2]), path))
        else:
            others.append(path)
    return sorted(parts), others


def write_part(path: Path, table: pa.Table) -> None:
    """Write a snapshot, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = pa.BufferOutputStream()  # one write is faster than the many that pyarrow makes
    pq.write_table(table, written, **FORMAT)
    with replacing(path) as file:
        file.write(written.getvalue())


def read_part(path: Path) -> pa.Table:
    """Read a snapshot; pyarrow's or the system's error if it is damaged, ValueError if it is another table."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        if tuple(file.schema_arrow.names) != COLUMNS:
            raise ValueError(f"it has the columns {', '.join(file.schema_arrow.names)}")
        return file.read()


def open_folder(folder: Path, graph: NeuralGraph, kinds: Sequence[str] | None) -> None:
    """Create the folder, or check that what is recorded there is of the same graph.

    Raises
    ------
    InputError
        If it is of a graph with other layers, or is no folder; the message says what differs.
    ExportError
        If it cannot be created.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file: name a folder to record in")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f"cannot create the folder '{folder}': {error.strerror or error}: choose a place that you may write to"
        ) from error
    note, ours = folder / NOTE, _described(graph, kinds)
    if not note.exists():
        with replacing(note) as file:
            file.write(json.dumps(ours, indent=1, ensure_ascii=False).encode())
        return
    if difference := next(_differences(_read_note(note), ours), None):
        raise InputError(f"'{folder}' holds the record of another graph: {difference}: record in another folder")


def _described(graph: NeuralGraph, kinds: Sequence[str] | None) -> dict[str, Any]:
    return {
        "granularity": graph.granularity,
        "kinds": None if kinds is None else sorted(kinds),
        "layers": [{"name": layer.name, "nodes": layer.size} for layer in graph.layers],
    }


def _read_note(note: Path) -> dict[str, Any]:
    try:
        found = json.loads(note.read_bytes())
        _ = found["granularity"], found["kinds"], [(layer["name"], layer["nodes"]) for layer in found["layers"]]
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(
            f"'{note}' does not describe a graph ({error}): delete it if the folder's record is of this graph"
        ) from error
    return dict(found)


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
    """Say what differs, the most telling first."""
    for key, without in (("granularity", "unknown"), ("kinds", "all")):
        if theirs[key] != ours[key]:
            there, here = (each[key] if each[key] is not None else without for each in (theirs, ours))
            yield f"{key} {there} there, {here} here"
    for place, (there, here) in enumerate(zip(theirs["layers"], ours["layers"], strict=False)):
        if there != here:
            yield f"layer {place} is {_layer(there)} there, {_layer(here)} here"
    if len(theirs["layers"]) != len(ours["layers"]):
        yield f"{len(theirs['layers'])} layers there, {len(ours['layers'])} here"


def _layer(layer: dict[str, Any]) -> str:
    return f"{layer['name']!r} of {layer['nodes']} nodes"
