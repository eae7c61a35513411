"""``dnn2graph report``: one page that tells a person everything about a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .failures import printable
from .images import Images, accuracy, takes_images
from .options import Separated, Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, progress_bar, working

if TYPE_CHECKING:
    from ..activity import Activity
    from ..graph import NeuralGraph
    from ..load import LoadedModel

# Written out, since the library's own numbers come with torch, and help should not wait for it.
NULLS, MAX_EDGES, SAMPLES = 999, 1500, 1000
NULL_MODELS = (
    "weight-shuffle",
    "in-weight-shuffle",
    "out-weight-shuffle",
    "sign-shuffle",
    "rewire",
    "gaussian",
)
BATCH = 100  # samples that a model is given at a time


@click.command(
    epilog=example(
        "dnn2graph report data/digits_cnn.pt2 -o digits.html",
        "dnn2graph report data/digits_cnn.pt2 --images digits -o digits.html",
    )
)
@takes_model
@click.option("-o", "--output", required=True, type=click.Path(), help="The page: .html.")
@takes_images
@click.option(
    "--samples", type=click.IntRange(1), default=SAMPLES, show_default=True, help="How many images are used at most."
)
@click.option(
    "--nulls",
    type=click.IntRange(0),
    default=NULLS,
    show_default=True,
    help="Graphs that are drawn from each null model; 0 for no comparison.",
)
@click.option(
    "--null-models",
    type=Separated("weight-shuffle,rewire", str, NULL_MODELS),
    default="weight-shuffle,in-weight-shuffle",
    show_default=True,
    help=f"What is compared with: {', '.join(NULL_MODELS)}.",
)
@click.option(
    "--measures", type=Separated("strength,cores", str), help="See dnn2graph profile --list.  [the default ones]"
)
@click.option(
    "--max-edges", type=click.IntRange(1), default=MAX_EDGES, show_default=True, help="That the backbone keeps."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes; -1 for one on each core.")
@click.option("--title", help="Of the page.  [name of the file]")
@kinds_option
@json_option
def report(
    source: Source,
    output: str,
    images: Images | None,
    samples: int,
    nulls: int,
    null_models: tuple[str, ...],
    measures: tuple[str, ...] | None,
    max_edges: int,
    seed: int,
    jobs: int,
    title: str | None,
    kinds: tuple[str, ...] | None,
    as_json: bool,
) -> None:
    """Write a page that tells what a network is, what is odd about it, and what of it is more than chance.

    Layers, strengths and weights, the backbone, standard measures of network science, communities, and the network
    beside null models of it; with images also dead and saturated neurons. Every number can be saved as CSV. The page is
    one file that needs nothing else, no network and no server. It appears at its path only when it is complete.
    """
    from ..plot.page.template import check_page_path
    from ..profile.measure import chosen
    from ..report import report as write

    path = Path(output)
    check_page_path(path)
    chosen(measures)  # an unknown name is told before the model is read
    loaded, graph = source.open()
    about: dict[str, Any] = {"file": Path(source.path).name}
    if source.arch:
        about["architecture"] = source.arch
    activity = None if images is None else _activity(loaded, graph, images, samples, about)
    with progress_bar(f"writing {path.name}") as progress:
        write(
            graph,
            path,
            Path(source.path).stem if title is None else title,
            activity=activity,
            about=about,
            kinds=kinds,
            measures=measures,
            nulls=nulls,
            null_models=null_models,
            max_edges=max_edges,
            seed=seed,
            jobs=jobs,
            progress=progress,
        )
    if as_json:
        size = path.stat().st_size
        print_json({"path": str(path), "nodes": len(graph), "edges": graph.number_of_edges(kinds), "bytes": size})
    else:
        click.echo(printable(f"wrote {path}: open it in a browser"))


def _activity(
    loaded: LoadedModel, graph: NeuralGraph, images: Images, samples: int, about: dict[str, Any]
) -> Activity:
    """Run images through the network, and note how many it classifies correctly."""
    from ..activity import activations
    from ..errors import InputError

    if loaded.is_chain:
        raise InputError(
            "a state dict without a model cannot be run on images: name a model by --arch, or leave --images out"
        )
    with working(f"reading {images.name}"):
        inputs, labels = images.load(loaded, samples)
        about[f"accuracy on the first {len(labels):,} test images of {images.name}"] = (
            f"{accuracy(loaded, inputs, labels):.1%}"
        )
    with progress_bar(f"running {len(labels):,} images") as progress:
        return activations(graph, inputs.split(BATCH), model=loaded.model, progress=progress)
