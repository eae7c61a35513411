"""What commands print: tables and JSON on stdout, progress on stderr where that is a terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from .failures import printable

WIDE = 400  # columns where no terminal limits them: a line that is read by a program must not wrap


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on stderr what is being done, if a person watches."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} …"):
        yield


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield what a long task calls with (done, total), or None where no person watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class RateColumn(TextColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "")

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    columns = (*shown, RateColumn(""), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
    """Print rows under titles; numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    class Output(Console):
        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError  # rich would exit with 1

    table = Table(box=box.SIMPLE_HEAD, title=caption or None, title_justify="left", title_style="bold")
    for place, title in enumerate(titles):
        numeric = bool(rows) and all(isinstance(row[place], int | float) for row in rows)
        table.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))  # Text: brackets in a name are no markup
    Output(width=None if sys.stdout.isatty() else WIDE).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def print_json(value: Any) -> None:
    """Print a value for programs; what JSON cannot hold (NaN, infinity) is null."""
    click.echo(json.dumps(_jsonable(value), indent=2, ensure_ascii=False, allow_nan=False))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
