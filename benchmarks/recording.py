"""Recording a run against the training itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

import dnn2graph as dg
from dnn2graph.datasets import data_folder, load
from dnn2graph.dynamics import Recorder

from .measuring import Figure

BATCH, IMAGES, SNAPSHOTS = 64, 60_000, 20
NETWORKS = {
    "3x3 of 10 channels": lambda: nn.Sequential(nn.Conv2d(1, 10, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6760, 10)),
    "3x3 of 16 and 32 channels": lambda: nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1568, 10)),
    ),
}


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    images, labels, what = _data(IMAGES // 10 if smoke else IMAGES)
    for name, build in list(NETWORKS.items())[smoke:]:  # what the first snapshot pays for once is much for the first
        for granularity in dg.graph.GRANULARITIES:
            torch.manual_seed(0)
            yield _share(build(), images, labels, granularity, f"CNN {name}, {what}")


def _share(model: nn.Module, images: Tensor, labels: Tensor, granularity: str, note: str) -> Figure:
    """Train for an epoch and record along the way: the time of the recordings as a share of the rest."""
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    graph = dg.from_torch(model, images[:1], granularity=granularity)
    model.train()
    recordings = []
    with TemporaryDirectory() as folder:
        recorder = Recorder(graph, folder, every=-(-IMAGES // BATCH // SNAPSHOTS))
        begin = time.perf_counter()
        for step, batch in enumerate(torch.randperm(len(images)).split(BATCH)):
            optimizer.zero_grad()
            error = loss(model(images[batch]), labels[batch])
            error.backward()
            optimizer.step()
            before = time.perf_counter()
            if recorder.step(model, step, loss=error):
                recordings.append(time.perf_counter() - before)
        took = time.perf_counter() - begin
    note += f"; {len(graph):,} nodes, {len(recordings)} snapshots of {sum(recordings) / len(recordings) * 1e3:.1f} ms"
    what = f"recording, {SNAPSHOTS} snapshots per epoch, {granularity}"
    peer = f"the epoch's {took - sum(recordings):.1f} s of training"
    return Figure(what, peer, sum(recordings) / (took - sum(recordings)), 0.02, "of the time", note, True)


def _data(count: int) -> tuple[Tensor, Tensor, str]:
    """Give images of MNIST, or random ones of the same shape where it is not at hand."""
    if (data_folder() / "mnist").is_dir():
        mnist = load("mnist")
        return torch.from_numpy(mnist.images[:count]), torch.from_numpy(mnist.labels[:count]), "MNIST"
    return torch.rand(count, 1, 28, 28), torch.randint(10, (count,)), "random images as of MNIST"
