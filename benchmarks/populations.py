"""Training and measuring many small networks at once, against loops that take one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

import dnn2graph as dg
from dnn2graph.population.batches import Batches
from dnn2graph.population.calibration import calibrate
from dnn2graph.population.design import Design
from dnn2graph.population.group import Group
from dnn2graph.population.initialisation import initial_weights

from .measuring import Figure, medians

IMAGES = 60_000  # as many as MNIST has: what is gathered from them is not in a cache
LOOP = "a loop of ordinary PyTorch"


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures; what is trained together takes as many network-steps as the loop it is compared with."""
    for batch_size, order, goal in ((32, "own", 2.5), (256, "common", 2.5), (256, "own", 1.4)):
        yield _perceptrons(batch_size, order, goal, 5 if smoke else 25)
    yield _convolutions(5 if smoke else 15)
    yield _measuring(5 if smoke else 15)


def _perceptrons(batch_size: int, order: str, goal: float, repeat: int) -> Figure:
    """Own batches cannot win as much: as many images are gathered as in the loop, and multiplied by each network."""
    networks = 64
    design = Design("mnist", "fc", 32, networks, batch_size=batch_size, batch_order=order)
    images, labels = _data(design)
    calls = {
        "loop": _loop(design, images, labels, networks),
        "ours": _together(design, images, labels, networks),
    }
    took = medians(calls, repeat)
    note = f"{_speed(took['ours'], networks)}, the loop {_speed(took['loop'], networks)} network-steps/s"
    what = f"training 64 MLPs 784-32-10, {order} batches of {batch_size}"
    return Figure(what, LOOP, took["loop"] / took["ours"], goal, note=note)


def _convolutions(repeat: int) -> Figure:
    steps = 4
    design = Design("mnist", "cnn", 10, 64, batch_size=256)
    images, labels = _data(design)
    size = calibrate(design, images, labels, design.networks)
    calls = {"loop": _loop(design, images, labels, steps), "ours": _together(design, images, labels, size)}
    took = medians(calls, repeat)
    ours = took["ours"] / size
    note = (
        f"calibration chose groups of {size}; {ours * 1e3:.1f} ms, the loop {took['loop'] / steps * 1e3:.1f} ms a step"
    )
    return Figure("training CNNs of 10 channels, MNIST's size", LOOP, took["loop"] / steps / ours, 1, note=note)


def _measuring(repeat: int) -> Figure:
    """Strengths of a population in one call, against a loop over its networks."""
    torch.manual_seed(0)
    design = Design("digits", "fc", 32)
    states = [design.model().state_dict() for _ in range(1000)]
    graph = dg.from_torch(design.model(), design.example_input())
    population = dg.Population.of(graph, states)
    calls = {
        "ours": population.strength,
        "loop": lambda: [dg.strength(graph.with_weights(state)) for state in states],
    }
    took = medians(calls, repeat)
    note = f"{took['ours'] * 1e3:.1f} ms against {took['loop'] * 1e3:.0f} ms"
    return Figure("strengths of 1000 MLPs 64-32-10", "a loop over networks", took["loop"] / took["ours"], 20, note=note)


def _data(design: Design) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, *design.input_shape, generator=generator)
    return images, torch.randint(10, (IMAGES,), generator=generator)


def _together(design: Design, images: Tensor, labels: Tensor, size: int) -> Callable[[], None]:
    """One step of a group."""
    group = Group(design.model(), initial_weights(design, range(size)))
    batches = Batches(design, range(size), images, labels)
    steps = count()
    return lambda: group.learn(*batches.at(next(steps)), design.learning_rate)


def _loop(design: Design, images: Tensor, labels: Tensor, steps: int) -> Callable[[], None]:
    """Some steps of one network, as everybody writes them."""
    model = design.model()
    optimiser = torch.optim.SGD(model.parameters(), lr=design.learning_rate)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).split(design.batch_size)[:-1]
    numbers = count()

    def train() -> None:
        for _ in range(steps):
            chosen = order[next(numbers) % len(order)]
            optimiser.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimiser.step()

    return train


def _speed(seconds: float, steps: int) -> str:
    return f"{steps / seconds:,.0f}"
