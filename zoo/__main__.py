"""Try the zoo: ``python -m zoo [--family FAMILY] [--only NAME] [--jobs N] [--resume]``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before numpy and torch start
    os.environ.setdefault(variable, "1")

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: E402

from dnn2graph.export.files import replacing  # noqa: E402

from .families import FAMILIES, Entry, Missing, entries  # noqa: E402
from .running import Limits, Record, complete, run_all  # noqa: E402
from .table import document, verdict  # noqa: E402

RECORDS = Path("out/zoo")


def main() -> int:
    """Try the architectures, keep what was found, write the table once there is a record of each."""
    options = _options()
    try:
        known = entries()
    except Missing as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 2
    chosen = _chosen(known, options.family, options.only)
    if not chosen:
        print("zoo: no architecture of that name or family: see docs/coverage.md for all of them", file=sys.stderr)
        return 2
    begun = [(entry, _known(entry) if options.resume else {}) for entry in chosen]
    begun = [(entry, record) for entry, record in begun if not complete(record)]
    limits = Limits(options.seconds, options.gigabytes)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("zoo", total=len(begun))
        start = time.monotonic()

        def done(entry: Entry, record: Record) -> None:
            _keep(entry, record)
            progress.advance(task)
            console.print(f"{time.monotonic() - start:6.0f} s  {entry.family}: {entry.name}: {verdict(record)}")

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            run_all(begun, options.jobs, limits, done)
        except KeyboardInterrupt:
            print("zoo: stopped; --resume goes on with what is left", file=sys.stderr)
            return 130
    records = {key: _known(entry) for key, entry in known.items()}
    tried = sum(complete(record) for record in records.values())
    if tried < len(known):
        print(f"zoo: {tried} of {len(known)} architectures have been tried, {options.output} stays as it is")
        return 0
    with replacing(options.output) as file:
        file.write(document(records).encode())
    print(f"zoo: wrote {options.output}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m zoo", description="Trace published architectures, and try each.")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="of this family; may be repeated")
    parser.add_argument("--only", metavar="NAME", action="append", help="of this name; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time; default 1")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="for one stage; default %(default)s")
    parser.add_argument("--gigabytes", type=float, default=Limits.gigabytes, help="for one; default %(default)s")
    parser.add_argument("--resume", action="store_true", help="leave out what an earlier run has tried")
    parser.add_argument("-o", "--output", default="docs/coverage.md", help="the table; default %(default)s")
    return parser.parse_args()


def _chosen(known: dict[tuple[str, str], Entry], families: list[str] | None, names: list[str] | None) -> list[Entry]:
    return [
        entry
        for (family, name), entry in known.items()
        if (not families or family in families) and (not names or name in names)
    ]


def _path(entry: Entry) -> Path:
    return RECORDS / entry.family / f"{entry.name}.json"


def _known(entry: Entry) -> Record:
    """Return what an earlier run found."""
    path = _path(entry)
    return json.loads(path.read_text()) if path.exists() else {}


def _keep(entry: Entry, record: Record) -> None:
    path = _path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    sys.exit(main())
