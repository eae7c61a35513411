"""Tables of tensors as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ExportError
from ..export.files import replacing
from ..export.tables import SUFFIXES, write_table

if TYPE_CHECKING:
    import pandas as pd

JSON = (".json", ".json.gz")


def check_path(path: str | Path) -> None:
    """Raise ExportError if no table can have that name: to be asked before long work."""
    if not Path(path).name.lower().endswith((*SUFFIXES, *JSON)):
        raise ExportError(f"cannot write '{path}': give a table a name that ends in {', '.join((*SUFFIXES, *JSON))}")


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV, Parquet, or a JSON array with an object for each row, null where a value is not finite.

    Raises
    ------
    ExportError
        If the name has another ending, or the file cannot be written.
    """
    import orjson

    check_path(path)
    if not Path(path).name.lower().endswith(JSON):
        write_table(table, path)
        return
    with replacing(path) as file:
        file.write(orjson.dumps(table.to_dict("records"), option=orjson.OPT_INDENT_2))
