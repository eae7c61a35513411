"""The command line. Commands import what they need when they run, so that help comes at once."""

from __future__ import annotations

import click

from .. import __version__
from .audit import audit
from .export import export
from .failures import Commands, debug_option
from .inspect import inspect
from .measure import measure
from .options import example
from .plot import plot
from .population import population
from .profile import profile
from .record import record
from .report import report
from .significance import significance
from .verify import verify
from .view import view

__all__ = ["main"]


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("dnn2graph verify data/digits_cnn.pt2"),
)
@debug_option
@click.version_option(__version__, prog_name="dnn2graph")
def main() -> None:
    """Turn a trained neural network into the weighted directed graph that computes it.

    Exit codes: 0 done, 1 the check says no, 2 bad input.
    """


for command in (
    inspect,
    export,
    audit,
    measure,
    profile,
    significance,
    verify,
    record,
    plot,
    view,
    report,
    population,
):
    main.add_command(command)
