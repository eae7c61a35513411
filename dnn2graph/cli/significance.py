"""``dnn2graph significance``: is a measure of a network more than chance?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .failures import printable
from .options import KINDS, Separated, Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, print_table, progress_bar, working

if TYPE_CHECKING:
    from torch import nn

# Written out, as in options: help should not wait for the library.
NULLS = (
    "weight-shuffle",
    "in-weight-shuffle",
    "out-weight-shuffle",
    "sign-shuffle",
    "rewire",
    "initialisation",
    "gaussian",
)
ALTERNATIVES = ("two-sided", "greater", "less")
CORRECTIONS = ("holm", "fdr", "none")
REDUCTIONS = ("mean", "std", "min", "max")
SHOWN = ("measure", "place", "observed", "null_mean", "null_std", "z", "pvalue", "pvalue_corrected", "note")


@click.command(
    epilog=example(
        "dnn2graph significance data/digits_cnn.pt2",
        "dnn2graph significance data/digits_mlp.pt --null sign-shuffle -m fluctuation -m link_weights -n 199 -o z.csv",
    )
)
@takes_model
@click.option(
    "--null", "null", type=click.Choice(NULLS), default=NULLS[0], show_default=True, help="What nulls are drawn from."
)
@click.option(
    "-m",
    "--measure",
    "measures",
    multiple=True,
    default=("fluctuation",),
    show_default=True,
    help="Of the weights or of a profile, such as 'fluctuation of layer conv1'; may be given more than once.",
)
@click.option("-n", "number", type=click.IntRange(1), default=999, show_default=True, help="Number of nulls.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the nulls.")
@kinds_option
@click.option(
    "--null-kinds",
    type=Separated("weight,recurrent", str, KINDS),
    default=("weight",),
    help="Kinds of links that are drawn.  [weight]",
)
@click.option(
    "--reduce",
    type=click.Choice(REDUCTIONS),
    default=REDUCTIONS[0],
    show_default=True,
    help="What makes one number of a layer of a measure of nodes.",
)
@click.option(
    "--alternative",
    type=click.Choice(ALTERNATIVES),
    default=ALTERNATIVES[0],
    show_default=True,
    help="Which nulls are as extreme as the network.",
)
@click.option(
    "--correction",
    type=click.Choice(CORRECTIONS),
    default=CORRECTIONS[0],
    show_default=True,
    help="Of p-values for the number of measures.",
)
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes; -1 for one on each core.")
@click.option("-o", "--output", type=click.Path(), help="Write the table here (.csv or .parquet).")
@json_option
def significance(
    source: Source,
    null: str,
    measures: tuple[str, ...],
    number: int,
    seed: int,
    kinds: tuple[str, ...] | None,
    null_kinds: tuple[str, ...],
    reduce: str,
    alternative: str,
    correction: str,
    jobs: int,
    output: str | None,
    as_json: bool,
) -> None:
    """Compare measures of a network with those of graphs drawn from a null model, and say in words how unusual it is.

    p-values are shares of graphs at least as extreme, the network counted as one of them: with 999 nulls, 0.001 is the
    smallest there can be. Fresh parameters are drawn as the model draws its own; for a .pt2 file, by their shapes.
    """
    from ..export.tables import check_table_path, write_table
    from ..nulls import significance as compare

    if output:
        check_table_path(output)
    loaded, graph = source.open()
    model = loaded.model if null == "initialisation" and _can_initialise(loaded.model) else None
    with progress_bar("drawing nulls") as progress:
        found = compare(
            graph,
            measures,
            null,
            number,
            seed=seed,
            kinds=kinds,
            null_kinds=null_kinds,
            reduce=reduce,
            alternative=alternative,
            correction=None if correction == "none" else correction,
            jobs=jobs,
            progress=progress,
            model=model,
        )
    if output:
        with working("writing"):
            write_table(found.table, output)
    if as_json:
        print_json(
            {
                "file": source.path,
                "null": found.kind,
                "n": found.n,
                "seed": found.seed,
                "alternative": found.alternative,
                "correction": found.correction,
                "rows": found.table.to_dict("records"),
                "sentences": found.sentences(),
                "notes": list(found.notes),
            }
        )
        return
    rows = found.table[list(SHOWN)].to_numpy(object).tolist()
    print_table([title.replace("_", " ") for title in SHOWN], rows, f"{found.n:,} nulls, {found.kind}")
    for line in str(found).splitlines():
        click.echo(printable(line))


def _can_initialise(model: nn.Module) -> bool:
    """Whether a model's modules know how they are initialised; those of a .pt2 file no longer do."""
    return any(hasattr(module, "reset_parameters") for module in model.modules())
