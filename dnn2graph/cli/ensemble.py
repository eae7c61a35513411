"""``dnn2graph population measure | analyse | reproduce``: what a population says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .failures import debug_option
from .options import GRANULARITIES, example, json_option
from .terminal import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ..population.ensemble import Analysis
    from ..population.measuring import Measured

SCALES = ("quick", "full")
SHOWN = 5  # features of each control, the best

granularity_option = click.option(
    "--granularity",
    type=click.Choice(GRANULARITIES),
    default="position",
    show_default=True,
    help="Nodes are channels, or channels at positions as in the paper.",
)
jobs_option = click.option("--jobs", type=int, default=1, show_default=True, help="Processes; -1 for one on each core.")


@click.command(epilog=example("dnn2graph population measure out/digits -o out/digits.parquet"))
@click.argument("folder", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The table: .csv or .parquet.")
@granularity_option
@jobs_option
@json_option
@debug_option
def measure(folder: str, output: str, granularity: str, jobs: int, as_json: bool) -> None:
    """Measure every network of a population at every snapshot: a row each.

    Columns are what is known of it (network, step, accuracy, …) and, for each layer, summaries of its strengths and of
    the weights of the links that enter it.
    """
    from ..export.tables import check_table_path, write_table

    check_table_path(output)
    measured = _measured(folder, granularity, jobs)
    write_table(measured.members.join(measured.features), output)
    found = {"members": len(measured), "features": measured.features.shape[1], "path": output}
    if as_json:
        print_json(found)
    else:
        click.echo(f"wrote {output}: {len(measured):,} networks at snapshots, {found['features']} features of each")


@click.command(epilog=example("dnn2graph population analyse out/digits -o out/analysis"))
@click.argument("folder", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder for tables and figures.")
@click.option("--bin-width", type=float, default=0.1, show_default=True, help="Of accuracy; the paper has 0.025.")
@click.option("--initialisation", help="Pool only networks of this initialisation into densities.  [all]")
@click.option("--support", type=float, help="Pool only networks of this support.  [all]")
@click.option("--bootstrap", type=click.IntRange(2), default=1000, show_default=True, help="Resamples of networks.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@click.option("--title", help="Of the figures.  [name of the folder]")
@granularity_option
@jobs_option
@json_option
@debug_option
def analyse(
    folder: str,
    output: str,
    bin_width: float,
    initialisation: str | None,
    support: float | None,
    bootstrap: int,
    seed: int,
    title: str | None,
    granularity: str,
    jobs: int,
    as_json: bool,
) -> None:
    """Ask what separates accurate networks from poor ones, layer by layer, as the paper does and with controls.

    Writes separation.csv, divergences.csv, members.csv, and the figures densities.png, divergences.png, fluctuation.png
    and separation.png.
    """
    import numpy as np

    from ..errors import InputError
    from ..export.tables import write_table
    from ..plot.population import write_figures
    from ..population.ensemble import analyse as analyse_members
    from ..population.store import make_folder

    measured = _measured(folder, granularity, jobs)
    chosen = {"initialisation": initialisation, "support": support}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    pool = np.ones(len(measured), bool)
    for name, value in chosen.items():
        pool &= (measured.members[name] == value).to_numpy()
        if not pool.any():
            known = ", ".join(map(str, measured.members[name].unique()))
            raise InputError(f"no network of '{folder}' has {name} {value}: theirs are {known}")
    with progress_bar("analysing") as progress:
        analysis = analyse_members(
            measured,
            folder,
            pool=pool,
            bin_width=bin_width,
            bootstrap=bootstrap,
            seed=seed,
            jobs=jobs,
            progress=progress,
        )
    out = Path(output)
    make_folder(out)
    write_table(analysis.separation, out / "separation.csv")
    write_table(analysis.divergences(), out / "divergences.csv")
    write_table(measured.members.join(measured.features), out / "members.csv")
    pooled = ", ".join(f"{name} {value}" for name, value in chosen.items())
    write_figures(measured, analysis, out, title or Path(folder).name, pooled)
    if as_json:
        print_json(
            {
                "members": len(measured),
                "diverged": analysis.diverged,
                "bins": {"edges": analysis.edges.tolist(), "members": analysis.networks.tolist()},
                "separation": analysis.separation.to_dict("records"),
            }
        )
        return
    titles = ("control", "feature", "AUC", "95 % from", "to", "p, corrected")
    print_table(titles, _best(analysis), "what separates best")
    count = f"{len(measured):,} networks at snapshots, {analysis.diverged} diverged"
    click.echo(f"{count}: tables and figures are in {out}")


@click.command(epilog=example("dnn2graph population reproduce --scale quick --jobs 2 -o out/reproduction.md"))
@click.option("--scale", type=click.Choice(SCALES), default="quick", show_default=True, help="Ten minutes, or hours.")
@click.option(
    "-o", "--output", type=click.Path(), default="out/reproduction.md", show_default=True, help="The document."
)
@click.option(
    "--work", type=click.Path(), default="out/reproduction-populations", show_default=True, help="Trained networks."
)
@click.option("--data", type=click.Path(), help="Folder of data sets.  [DNN2GRAPH_DATA, else data]")
@jobs_option
@json_option
@debug_option
def reproduce(scale: str, output: str, work: str, data: str | None, jobs: int, as_json: bool) -> None:
    """Train the paper's populations, and write down which of its claims hold.

    What is trained already is not trained again: a run that was stopped goes on.
    """
    from dataclasses import asdict

    from ..population.reproduction import reproduce as reproduce_all

    results = reproduce_all(output, scale, work=work, data=data, jobs=jobs, watching=progress_bar)
    if as_json:
        print_json({each.experiment.name: [asdict(found) for found in each.findings] for each in results})
        return
    rows = [
        (each.experiment.name, found.control, found.claim, found.verdict)
        for each in results
        for found in each.findings
        if found.control in ("none", "time and initialisation")
    ]
    print_table(("population", "control", "claim", "verdict"), rows, "the paper's claims")
    click.echo(f"wrote {output}")


def _measured(folder: str, granularity: str, jobs: int) -> Measured:
    from ..population.measuring import measure as measure_members

    with progress_bar("measuring") as progress:
        return measure_members(folder, granularity, jobs=jobs, progress=progress)


def _best(analysis: Analysis) -> list[tuple[str, str, float, float, float, float]]:
    """Choose the features that separate best, for each control."""
    table = analysis.separation.assign(distance=(analysis.separation["auc"] - 0.5).abs())
    rows = []
    for control, group in table.groupby("control", sort=False):
        best = group.nlargest(SHOWN, "distance")[["feature", "auc", "auc_low", "auc_high", "pvalue_corrected"]]
        rows += [(str(control), *row) for row in best.itertuples(index=False)]
    return rows
