"""``dnn2graph verify``: the proof that the graph computes what the network computes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .images import Images, takes_images
from .options import Source, example, json_option, takes_model
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
@takes_images
@click.option("--tolerance", type=float, help="Largest relative error.  [1e-5 in float32, 1e-12 in float64]")
@json_option
def verify(
    source: Source,
    samples: int,
    seed: int,
    images: Images | None,
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
        args, kwargs = (images.load(loaded, samples)[0],), {}
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
