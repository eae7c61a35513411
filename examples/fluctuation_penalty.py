"""Train a network whose graph is kept even: the fluctuation of its layers is part of the loss.

    python -m examples.fluctuation_penalty

trains the digits perceptron twice from the same weights, without and with the penalty, and prints what it does to each
layer's fluctuation and to the accuracy; about ten seconds on one core.
"""

from __future__ import annotations

import argparse

import torch
from torch.nn.functional import cross_entropy

import dnn2graph as dg
from examples.train_digits import accuracy, digits, digits_mlp

EPOCHS = 30
BATCH_SIZE = 64
LEARNING_RATE = 1e-2


def train(penalty: float, seed: int) -> tuple[torch.nn.Module, dg.NeuralGraph]:
    """Train the perceptron; return it and its graph, which follows its weights."""
    torch.manual_seed(seed)
    model = digits_mlp()
    graph = dg.from_torch(model, torch.zeros(1, 64))  # traced once: the topology does not change
    images, labels = digits("train", (64,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = cross_entropy(model(images[batch]), labels[batch])
            loss = loss + penalty * dg.functional.fluctuation(graph, model).square().sum()
            loss.backward()
            optimizer.step()
    return model, graph


def main() -> None:
    """Train without and with the penalty, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--penalty", type=float, default=1e-3, help="weight of squared fluctuations (default: 1e-3)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default: 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for penalty in (0.0, options.penalty):
        model, graph = train(penalty, options.seed)
        layers = zip(graph.layers, dg.fluctuation(graph), strict=True)
        listed = ", ".join(f"{layer.name} {value:.2f}" for layer, value in layers)
        print(f"penalty {penalty:g}: test accuracy {accuracy(model, *digits('test', (64,))):.2%}, fluctuation {listed}")


if __name__ == "__main__":
    main()
