"""Record a network while it learns, and look at what happened to its graph.

    python -m examples.record_training --out out

trains the digits network with a Recorder in the loop, then writes curves, a film of the strength distributions and a
dynamic GEXF file for Gephi; about half a minute on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import dnn2graph as dg
from dnn2graph.plot import save_animation, save_figure, training_curves
from examples.train_digits import accuracy, digits, digits_cnn

EPOCHS = 12
BATCH_SIZE = 64
LEARNING_RATE = 1e-2
EVERY = 5  # steps


def train(folder: Path, seed: int = 0) -> dg.NeuralGraph:
    """Train the network, recording every few steps; return its graph."""
    torch.manual_seed(seed)
    model = digits_cnn()
    graph = dg.from_torch(model, torch.zeros(1, 1, 8, 8))
    recorder = dg.Recorder(graph, folder, every=EVERY)
    images, labels = digits("train", (1, 8, 8))
    held_out = digits("test", (1, 8, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    step = 0
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH_SIZE):
            if step % EVERY == 0:
                model.eval()
                recorder.step(model, step=step, accuracy=accuracy(model, *held_out))
                model.train()
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1
    return graph.with_weights(model.state_dict())


def main() -> None:
    """Train, and write what was recorded in all forms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what it makes (default: out)")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    graph = train(out / "run")
    run = dg.read_run(out / "run")
    print(run.groupby("measure")["value"].describe().round(3).to_string())
    save_figure(training_curves(run, "digits"), out / "run.png")
    save_animation(run, out / "run.gif", title="digits")
    dg.write_gexf(graph, out / "run.gexf", run)
    print(f"wrote run.png, run.gif and run.gexf to {out}; the record itself is {out / 'run'}")


if __name__ == "__main__":
    main()
