"""``dnn2graph verify``: the proof that the graph computes what the network computes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .options import NUMBERS, Source, example, json_option, takes_model
from .terminal import print_json, working

if TYPE_CHECKING:
    from torch import Tensor

    from ..load import LoadedModel

DIFFERENT = 1


@click.command(
    epilog=example(
        "dnn2graph verify data/digits_cnn.pt2",
        "dnn2graph verify data/digits_cnn.pt2 --images digits --samples 100",
    )
)
@takes_model
@click.option("--samples", type=click.IntRange(1), default=16, show_default=True, help="How many inputs to compare on.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random inputs.")
@click.option(
    "--images", type=click.Choice(("digits", "mnist", "cifar10")), help="Compare on test images, not on random inputs."
)
@click.option("--data", type=click.Path(), help="Folder of data sets.  [DNN2GRAPH_DATA, else data]")
@click.option("--mean", type=NUMBERS, default="0", show_default=True, help="Subtracted from the images, by channel.")
@click.option("--std", type=NUMBERS, default="1", show_default=True, help="What the images are then divided by.")
@click.option("--tolerance", type=float, help="Largest relative error.  [1e-5 in float32, 1e-12 in float64]")
@json_option
def verify(
    source: Source,
    samples: int,
    seed: int,
    images: str | None,
    data: str | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Replay a network's graph and compare it with the network, layer by layer.

    Exit code 0 if they agree within the tolerance, 1 if not.
    """
    from ..errors import InputError
    from ..verify import verify as compare

    loaded, graph = source.open()
    if loaded.is_chain:
        raise InputError(f"'{source.path}' is a state dict without a model to compare with: name one by --arch")
    graph.check_finite()
    if images is None:
        args, kwargs = _random_inputs(loaded, samples, seed)
    else:
        args, kwargs = (_images(loaded, images, data, samples, mean, std),), {}
    with working(f"comparing on {samples} samples"):
        found = compare(loaded.model, graph, args, example_kwargs=kwargs, tolerance=tolerance)
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(str(found))
    if not found.ok:
        click.get_current_context().exit(DIFFERENT)


def _random_inputs(loaded: LoadedModel, samples: int, seed: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give normally distributed inputs of the example's shapes; integers stay as they are."""
    import torch
    from torch.utils._pytree import tree_map_only

    from ..trace.inputs import input_tensors

    generator = torch.Generator().manual_seed(seed)
    batched = any(x.dim() > 1 for x in input_tensors(loaded.args, loaded.kwargs))

    def random(x: Tensor) -> Tensor:
        shape = (samples, *x.shape[1:]) if batched and x.dim() else x.shape
        if not x.dtype.is_floating_point:
            return x[:1].expand(shape) if x.dim() else x
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(x.dtype)

    return tree_map_only(torch.Tensor, random, (tuple(loaded.args), dict(loaded.kwargs)))


def _images(
    loaded: LoadedModel, name: str, data: str | None, samples: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Tensor:
    """Give test images, normalised, in the shape of the model's one input."""
    import torch

    from ..datasets import load
    from ..errors import InputError
    from ..trace.inputs import input_tensors

    inputs = input_tensors(loaded.args, loaded.kwargs)
    if len(inputs) != 1:
        raise InputError(f"the model takes {len(inputs)} inputs, images are one: leave --images out")
    images = torch.from_numpy(load(name, data, split="test").images[:samples])  # (N, C, H, W)
    for option, values in (("--mean", mean), ("--std", std)):
        if len(values) not in (1, images.shape[1]):
            raise InputError(f"{option} has {len(values)} values for {images.shape[1]} channels: give one or all")
    if 0 in std:
        raise InputError("--std is zero: give what the training divided by")
    images = (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    if images[0].numel() != inputs[0][0].numel():
        raise InputError(
            f"images of {name!r} have shape {tuple(images.shape[1:])}, the model takes {tuple(inputs[0].shape[1:])}: "
            "name the data set that it was trained on"
        )
    return images.reshape(len(images), *inputs[0].shape[1:]).to(inputs[0].dtype)
