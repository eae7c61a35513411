"""Run all benchmarks: ``python -m benchmarks [--smoke]``."""

from __future__ import annotations

import argparse
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # before numpy and torch start
    os.environ.setdefault(variable, "1")

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from . import (  # noqa: E402
    auditing,
    densities,
    forms,
    nulling,
    populations,
    profiling,
    recording,
    sparsifying,
    streaming,
    strengths,
    tracing,
)

SUITES = {
    "strengths": strengths,
    "forms": forms,
    "auditing": auditing,
    "sparsifying": sparsifying,
    "tracing": tracing,
    "profiling": profiling,
    "nulling": nulling,
    "streaming": streaming,
    "recording": recording,
    "densities": densities,
    "populations": populations,
}


def main() -> None:
    """Measure and print a table. A goal that is missed is said, not raised: machines differ."""
    parser = argparse.ArgumentParser(description="Measure dnn2graph against named peers, in one run.")
    parser.add_argument("--smoke", action="store_true", help="small sizes and few repetitions: about a minute")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; default all")
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"unknown suite(s) {', '.join(sorted(unknown))}: choose from {', '.join(SUITES)}")
    console = Console(width=None if os.isatty(1) else 220)
    table = Table("what", "against", "figure", "goal", "", "note")
    missed = 0
    with Console(stderr=True).status("measuring") as status:
        for name in options.suites or SUITES:
            status.update(f"measuring {name}")
            for figure in SUITES[name].run(options.smoke):
                status.update(f"measuring {name}: after {figure.what}")
                bound = "at most" if figure.lower_is_better else "at least"
                missed += not figure.reached
                value, goal = f"{figure.value:,.3g} {figure.unit}", f"{bound} {figure.goal:,g}"
                table.add_row(figure.what, figure.peer, value, goal, "yes" if figure.reached else "NO", figure.note)
    console.print(table)
    console.print("all goals reached" if not missed else f"{missed} goal(s) missed in this run")


if __name__ == "__main__":
    main()
