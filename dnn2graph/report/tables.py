"""Tables of a report: shown in part as HTML, and whole as data for CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plot.page.template import number, pack

if TYPE_CHECKING:
    import pandas as pd

SURE = 2**53  # up to which JavaScript's numbers are exact


def packed(table: pd.DataFrame) -> dict[str, Any]:
    """Write a table's columns for the page's script: numbers by their bytes, all else as text.

    Examples
    --------
    >>> import pandas as pd
    >>> packed(pd.DataFrame({"layer": ["a", None], "nodes": [3, 4]}))
    {'columns': ['layer', 'nodes'], 'values': [['a', ''], {'dtype': '<f8', 'data': 'AAAAAAAACEAAAAAAAAAQQA=='}]}
    """
    return {"columns": [str(name) for name in table], "values": [_packed(table[name]) for name in table]}


def _packed(column: pd.Series) -> Any:
    if column.dtype.kind in "iu" and np.abs(column.to_numpy().astype(np.float64)).max(initial=0) < SURE:
        return pack(column.to_numpy(), np.float64)
    if column.dtype.kind == "f":
        return pack(column.to_numpy(), np.float64)
    return ["" if value is None or value != value else str(value) for value in column.tolist()]


def html_table(
    table: pd.DataFrame,
    caption: str = "",
    *,
    columns: Sequence[str] | Mapping[str, str] | None = None,
    most: int | None = None,
    words: Sequence[str] = (),
    extra: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Write a table as HTML.

    Parameters
    ----------
    table : DataFrame
    caption : str, optional
    columns : sequence of str, or mapping from column to title, optional
        Which to show; default all. Those that the table lacks are left out.
    most : int, optional
        How many rows; a line below says how many more there are.
    words : sequence of str
        Columns of sentences, which may be broken into lines.
    extra : mapping from title to HTML, optional
        Further columns, one entry for each row that is shown.
    """
    titles = dict(columns) if isinstance(columns, Mapping) else {each: each for each in columns or table.columns}
    titles = {name: title.replace("_", " ") for name, title in titles.items() if name in table}
    shown = table if most is None else table.head(most)
    classes = {name: "words text" if name in words else "" if _is_number(table[name]) else "text" for name in titles}
    head = "".join(f'<th scope="col"{_class(classes[name])}>{escape(title)}</th>' for name, title in titles.items())
    head += "".join(f'<th scope="col" class="text">{escape(title)}</th>' for title in extra or {})
    rows = []
    for place, row in enumerate(shown[list(titles)].itertuples(index=False, name=None)):
        cells = []
        for position, (name, value) in enumerate(zip(titles, row, strict=True)):
            if position:
                cells.append(f"<td{_class(classes[name])}>{_cell(value)}</td>")
            else:
                cells.append(f'<th scope="row"{_class(classes[name])}>{_cell(value)}</th>')
        cells += [f'<td class="text">{values[place]}</td>' for values in (extra or {}).values()]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    text = f"<caption>{escape(caption)}</caption>" if caption else ""
    label = escape(caption or "Table", quote=True)
    left = len(table) - len(shown)
    more = f'<p class="note">{left:,} more rows are in the file.</p>' if left else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{text}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{more}"
    )


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return number(float(value))
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return escape("" if value is None else str(value))
