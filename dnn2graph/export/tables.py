"""Tables as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ExportError
from .files import replacing

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def check_table_path(path: str | Path) -> None:
    """Raise ExportError if no table can have that name: to be asked before long work."""
    if not Path(path).name.lower().endswith(SUFFIXES):
        raise ExportError(f"cannot write '{path}': give a table a name that ends in {', '.join(SUFFIXES)}")


def write_table(table: pd.DataFrame, path: str | Path, index: bool = False) -> None:
    """Write a table as CSV or Parquet; the file appears at its path only when it is complete.

    Parameters
    ----------
    table : DataFrame
    path : str or Path
        Ends in ``.csv``, ``.csv.gz`` or ``.parquet``.
    index : bool
        Whether the index is a column.

    Raises
    ------
    ExportError
        If the name has another ending, or the file cannot be written.
    """
    check_table_path(path)
    with replacing(path) as file:
        if Path(path).suffix.lower() == ".parquet":
            table.to_parquet(file, index=index)
        else:
            table.to_csv(file, index=index)
