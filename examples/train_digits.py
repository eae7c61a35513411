"""Train two small networks on scikit-learn's digits and write them as state dicts and exported programs.

    python -m examples.train_digits --out data --seed 0

writes `digits_mlp.pt`, `digits_cnn.pt` (state dicts) and `digits_mlp.pt2`, `digits_cnn.pt2` (torch.export), in about
ten seconds on one core, and prints each test accuracy. The same seed and torch version give the same weights.

The builders take no arguments, so that a state dict finds its architecture by name:
`--arch examples.train_digits:digits_cnn`.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from dnn2graph.datasets import load
from dnn2graph.errors import DataError

EPOCHS = 60
BATCH_SIZE = 64
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.1  # in five-fold cross-validation of the training split: 97.6 % for the perceptron, 96.3 % without


def digits_mlp() -> nn.Sequential:
    """Build the perceptron 64-32-16-10 with ReLU; input (N, 64), output (N, 10)."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10))


class DigitsCNN(nn.Module):
    """A residual network with batch normalisation; input (N, 1, 8, 8), output (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        # No conv biases: the batch normalisation that follows would cancel them.
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the class scores (N, 10) of images (N, 1, 8, 8)."""
        x = self.relu(self.norm1(self.conv1(images)))  # (N, 8, 8, 8)
        x = self.relu(self.norm2(self.conv2(x)))  # (N, 16, 4, 4)
        x = self.relu(self.norm3(self.conv3(x)) + x)  # (N, 16, 4, 4)
        return self.classifier(self.pool(x).flatten(1))  # (N, 10)


def digits_cnn() -> DigitsCNN:
    """Build the residual network; input (N, 1, 8, 8), output (N, 10)."""
    return DigitsCNN()


BUILDERS = {"digits_mlp": digits_mlp, "digits_cnn": digits_cnn}
INPUT_SHAPE = {"digits_mlp": (64,), "digits_cnn": (1, 8, 8)}  # of one image


def digits(split: str, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Give one split's images (N, *shape), float32 in [0, 1], and labels (N,), int64."""
    dataset = load("digits", split=split)
    return torch.from_numpy(dataset.images).reshape(-1, *shape), torch.from_numpy(dataset.labels)


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Train the model in place with AdamW, the rate falling to zero along a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    loss = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Give the share of images whose largest score is their label's."""
    return (model(images).argmax(1) == labels).float().mean().item()


def write(model: nn.Module, example: torch.Tensor, stem: Path) -> None:
    """Write `<stem>.pt` (state dict) and `<stem>.pt2` (program exported at the example's shape), then read them back.

    Raises
    ------
    RuntimeError
        When a file read back does not give the model's own scores.
    """
    torch.save(OrderedDict(model.state_dict()), stem.with_suffix(".pt"))
    program = torch.export.export(model, (example,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of the machine that exported
    torch.export.save(program, stem.with_suffix(".pt2"))

    fresh = BUILDERS[stem.name]().eval()
    fresh.load_state_dict(torch.load(stem.with_suffix(".pt"), weights_only=True))
    reloaded = {".pt": fresh, ".pt2": torch.export.load(stem.with_suffix(".pt2")).module()}
    for suffix, copy in reloaded.items():
        if not torch.equal(copy(example), model(example)):
            raise RuntimeError(f"'{stem}{suffix}' read back gives other scores than the model that was written")


def main() -> None:
    """Train, write and report both networks."""
    parser = argparse.ArgumentParser(
        description="Train a perceptron and a residual network on scikit-learn's digits.",
        epilog="example: python -m examples.train_digits --out data --seed 0",
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write to (default: data)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the order of sums, and so the last bits of the weights, depends on the threads
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, build in BUILDERS.items():
            torch.manual_seed(options.seed)
            model = build()
            train(model, *digits("train", INPUT_SHAPE[name]))
            images, labels = digits("test", INPUT_SHAPE[name])
            write(model, images[:1].clone(), options.out / name)  # a slice would save its whole storage
            print(f"{name}: test accuracy {accuracy(model, images, labels):.2%} of {len(labels)} images")
    except (DataError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
