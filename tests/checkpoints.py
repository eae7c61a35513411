"""Trained networks that others published, rebuilt in plain torch so that their stored weights load strictly.

    model = load_checkpoint("resnet20")  # eval mode, stored weights
    x, labels = images("resnet20", 16)  # real test images, normalised as in training

The weights are not part of this repository. They are looked for in the folder that DNN2GRAPH_DATA names, else in
`shared` beside the checkout; tests call `require(name)` first, which skips where a file is absent.

Every architecture is written as its authors wrote it, with in-place sums, slices, views and permutes: this is what a
user's model looks like to the tracer. Builders take no arguments: `--arch tests.checkpoints:resnet20` finds them.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

# --- perceptrons -----------------------------------------------------------------------------------------------------


def mnist_mlp_6x100() -> nn.Sequential:
    """Build alpha-beta-CROWN's MNIST perceptron with five hidden layers of 100."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, 100), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Linear(100, 100), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(100, 10))


def mnist_mlp_20() -> nn.Sequential:
    """Build alpha-beta-CROWN's toy perceptron 784-20-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 10))


class TitanicMLP(nn.Module):
    """The tabular perceptron of captum's Titanic tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(12, 12)
        self.sigmoid1 = nn.Sigmoid()
        self.linear2 = nn.Linear(12, 8)
        self.sigmoid2 = nn.Sigmoid()
        self.linear3 = nn.Linear(8, 2)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.sigmoid1(self.linear1(x))
        hidden = self.sigmoid2(self.linear2(hidden))
        return self.softmax(self.linear3(hidden))


def titanic_mlp() -> TitanicMLP:
    return TitanicMLP()


# --- convolutional networks ------------------------------------------------------------------------------------------


def _strided_cnn(channels: int, padding: int, features: int, activation: type[nn.Module]) -> nn.Sequential:
    """Build the small net of the verification literature: two strided convolutions, two dense layers, no pooling."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=padding),
        activation(),
        nn.Conv2d(16, 32, 4, stride=2, padding=padding),
        activation(),
        nn.Flatten(),
        nn.Linear(features, 100),
        activation(),
        nn.Linear(100, 10),
    )


def mnist_cnn() -> nn.Sequential:
    """Build convex_adversarial's robust MNIST network."""
    return _strided_cnn(channels=1, padding=1, features=32 * 7 * 7, activation=nn.ReLU)


def cifar10_cnn() -> nn.Sequential:
    """Build alpha-beta-CROWN's CNN-A-Mix."""
    return _strided_cnn(channels=3, padding=1, features=32 * 8 * 8, activation=nn.ReLU)


def cifar10_cnn_sigmoid() -> nn.Sequential:
    """Build alpha-beta-CROWN's small sigmoid network."""
    return _strided_cnn(channels=3, padding=0, features=32 * 6 * 6, activation=nn.Sigmoid)


class LeNet(nn.Module):
    """The CIFAR-10 network of captum's tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool1(self.relu1(self.conv1(x)))  # (N, 6, 14, 14)
        x = self.pool2(self.relu2(self.conv2(x)))  # (N, 16, 5, 5)
        x = x.view(-1, 16 * 5 * 5)
        x = self.relu3(self.fc1(x))
        x = self.relu4(self.fc2(x))
        return self.fc3(x)


def cifar10_lenet() -> LeNet:
    return LeNet()


class BurnCNN(nn.Module):
    """The network of burn's import example: batch normalisation after the ReLU, and again on the class scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.conv3 = nn.Conv2d(16, 24, 3)
        self.norm1 = nn.BatchNorm2d(24)
        self.dropout1 = nn.Dropout(0.3)
        self.fc1 = nn.Linear(24 * 22 * 22, 32)
        self.fc2 = nn.Linear(32, 10)
        self.norm2 = nn.BatchNorm1d(10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x))
        x = self.norm1(x)  # (N, 24, 22, 22)
        x = torch.flatten(x, 1)
        x = self.dropout1(F.relu(self.fc1(x)))
        x = self.norm2(self.fc2(x))
        return F.log_softmax(x, dim=1)


def mnist_cnn_bn() -> BurnCNN:
    return BurnCNN()


# --- residual networks -----------------------------------------------------------------------------------------------


class LambdaLayer(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class BasicBlock(nn.Module):
    """A residual block with batch normalisation; a narrower input is padded with zero channels (option A)."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or in_planes != planes:
            added = (planes - in_planes) // 2  # zero channels on either side
            self.shortcut = LambdaLayer(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, added, added)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    """The CIFAR-10 residual network of He et al. 2015, as in pytorch_resnet_cifar10: stages of 16, 32, 64 channels."""

    def __init__(self, blocks_per_stage: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(BasicBlock, 16, 16, blocks_per_stage, stride=1)
        self.layer2 = _stage(BasicBlock, 16, 32, blocks_per_stage, stride=2)
        self.layer3 = _stage(BasicBlock, 32, 64, blocks_per_stage, stride=2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size()[3])  # (N, 64, 1, 1)
        out = out.view(out.size(0), -1)
        return self.linear(out)


def _stage(block: type[nn.Module], in_planes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """Build a chain of residual blocks, of which the first one changes the width and the resolution."""
    rest = [block(planes, planes, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(block(in_planes, planes, stride=stride), *rest)


def resnet20() -> ResNet:
    return ResNet(blocks_per_stage=3)


def resnet56() -> ResNet:
    return ResNet(blocks_per_stage=9)


class PlainBlock(nn.Module):
    """A residual block without normalisation; a 1x1 convolution adapts the shortcut."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride=stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.conv1(x))
        out = self.conv2(out)
        out += self.shortcut(x)
        return F.relu(out)


class ResNet2B(nn.Module):
    """The adversarially trained network of two residual blocks from alpha-beta-CROWN."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.layer1 = _stage(PlainBlock, 8, 16, blocks=2, stride=2)
        self.linear1 = nn.Linear(16 * 8 * 8, 100)
        self.linear2 = nn.Linear(100, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.conv1(x))
        out = self.layer1(out)  # (N, 16, 8, 8)
        out = torch.flatten(out, 1)
        out = F.relu(self.linear1(out))
        return self.linear2(out)


def resnet2b() -> ResNet2B:
    return ResNet2B()


# --- face detectors --------------------------------------------------------------------------------------------------


def _conv_bn(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Build convolution, batch normalisation, in-place ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _conv_dw(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Build a depthwise and a pointwise convolution, each with batch normalisation and in-place ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Build a depthwise convolution, ReLU, a pointwise convolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1),
    )


class SlimSSD(nn.Module):
    """The slim single-shot detector of Ultra-Light-Fast-Generic-Face-Detector-1MB, without anchor decoding.

    Heads read the image at four scales, with 3, 2, 2 and 3 anchors per position. Outputs: class probabilities
    (N, anchors, 2) and box regressions (N, anchors, 4); a 240x320 image has 4420 anchors.
    """

    classes = 2
    taps = (8, 11, 13)  # blocks of the base net before each head; the last head reads the extra layers

    def __init__(self) -> None:
        super().__init__()
        self.base_net = nn.Sequential(
            _conv_bn(3, 16, stride=2),
            _conv_dw(16, 32, stride=1),
            _conv_dw(32, 32, stride=2),
            _conv_dw(32, 32, stride=1),
            _conv_dw(32, 64, stride=2),
            *(_conv_dw(64, 64, stride=1) for _ in range(3)),
            _conv_dw(64, 128, stride=2),
            *(_conv_dw(128, 128, stride=1) for _ in range(2)),
            _conv_dw(128, 256, stride=2),
            _conv_dw(256, 256, stride=1),
        )
        self.extras = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(256, 64, 1), nn.ReLU(), _separable(64, 256, stride=2), nn.ReLU())]
        )
        self.classification_headers = self._headers(self.classes)
        self.regression_headers = self._headers(4)

    @staticmethod
    def _headers(values: int) -> nn.ModuleList:
        """Build the head of each scale, which gives `values` numbers per anchor."""
        scales = [_separable(64, 3 * values), _separable(128, 2 * values), _separable(256, 2 * values)]
        return nn.ModuleList([*scales, nn.Conv2d(256, 3 * values, 3, padding=1)])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scales = []
        for start, stop in pairwise((0, *self.taps)):
            for block in self.base_net[start:stop]:
                x = block(x)
            scales.append(x)
        scales.append(self.extras[0](x))
        confidences = self._anchors(self.classification_headers, scales, self.classes)
        locations = self._anchors(self.regression_headers, scales, 4)
        return F.softmax(confidences, dim=2), locations

    @staticmethod
    def _anchors(headers: nn.ModuleList, scales: list[torch.Tensor], values: int) -> torch.Tensor:
        """Give the heads' answers, `values` numbers for each anchor of each scale, shape (N, anchors, values)."""
        found = []
        for header, x in zip(headers, scales, strict=True):
            x = header(x).permute(0, 2, 3, 1).contiguous()  # (N, H, W, anchors per position * values)
            found.append(x.view(x.size(0), -1, values))
        return torch.cat(found, 1)


def facedet_slim() -> SlimSSD:
    return SlimSSD()


class RNet(nn.Module):
    """The second stage of MTCNN in facenet-pytorch. Outputs: box regression (N, 4), class probabilities (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.softmax5_1 = nn.Softmax(dim=1)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)  # (N, 28, 11, 11)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)  # (N, 48, 4, 4)
        x = self.prelu3(self.conv3(x))  # (N, 64, 3, 3)
        # The weights come from a network that flattened (width, height, channel).
        x = x.permute(0, 3, 2, 1).contiguous()
        x = self.prelu4(self.dense4(x.view(x.shape[0], -1)))
        return self.dense5_2(x), self.softmax5_1(self.dense5_1(x))


def mtcnn_rnet() -> RNet:
    return RNet()


# --- attention and recurrence ----------------------------------------------------------------------------------------


class PatchEmbedding(nn.Module):
    """Cut an image into square patches and project each."""

    def __init__(self, side: int, features: int) -> None:
        super().__init__()
        self.side = side
        self.proj = nn.Linear(side * side, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = x.unfold(2, self.side, self.side).unfold(3, self.side, self.side)  # (N, 1, 4, 4, side, side)
        return self.proj(patches.flatten(4).flatten(1, 3))  # (N, 16, features)


class FeedForward(nn.Module):
    """Two dense layers with a GELU between them."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class PostNormEncoder(nn.Module):
    """A transformer's encoder layer that normalises after each residual sum."""

    def __init__(self, features: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(features, heads, dropout=0.1, batch_first=True)
        self.ffn = FeedForward(features, hidden)
        self.norm1 = nn.LayerNorm(features)
        self.norm2 = nn.LayerNorm(features)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended, _ = self.attn(x, x, x)
        x = self.norm1(x + self.drop(attended))
        return self.norm2(x + self.drop(self.ffn(x)))


class MnistViT(nn.Module):
    """The MNIST vision transformer of transformer_poc: 16 patches of 7x7, one encoder layer, their mean classified."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(7, 32)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 32))
        self.encoder = nn.Sequential(PostNormEncoder(32, heads=1, hidden=64))
        self.norm = nn.LayerNorm(32)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encoder(self.patch_embed(x) + self.pos_embed)  # (N, 16, 32)
        return self.classifier(self.norm(x).mean(dim=1))


def mnist_vit() -> MnistViT:
    return MnistViT()


class AminoAcidLSTM(nn.Module):
    """The network of LSTM-Amino-Acids: from a sequence of amino acids, one-hot (N, T, 20), scores of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(20, 60, num_layers=4, batch_first=True)
        self.fc_1 = nn.Linear(60, 128)
        self.fc = nn.Linear(128, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h_0 = torch.zeros(4, x.size(0), 60)
        c_0 = torch.zeros(4, x.size(0), 60)
        _, (hidden, _) = self.lstm(x, (h_0, c_0))
        x = self.fc_1(F.relu(hidden[-1]))  # (N, 128)
        return self.fc(F.relu(x))


def aminoacid_lstm() -> AminoAcidLSTM:
    return AminoAcidLSTM()


class SileroVAD(nn.Module):
    """Silero's voice activity detector for 16 kHz.

    A chunk of 576 samples (N, 576) and the state after the chunk before give the probability of speech (N, 1) and the
    state (2, N, 128). The first 64 samples of a chunk are the last ones of the chunk before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)  # cosines of 129 frequencies, then sines
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.pad(x, (0, 64), "reflect").unsqueeze(1)  # (N, 1, 640)
        x = self.stft_conv(x)  # (N, 258, 4)
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()  # magnitudes
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = convolution(x).relu()
        h, c = self.lstm_cell(x.squeeze(-1), None if state is None else (state[0], state[1]))
        x = self.final_conv(h.unsqueeze(-1).relu()).sigmoid()  # (N, 1, 1)
        return x.squeeze(1).mean(dim=1, keepdim=True), torch.stack([h, c])


def silero_vad() -> SileroVAD:
    return SileroVAD()


# --- the table -------------------------------------------------------------------------------------------------------

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation, one of each per channel

UNIT: Normalisation = ((0.0,), (1.0,))  # inputs in [0, 1] as they are
MNIST: Normalisation = ((0.1307,), (0.3081,))
CIFAR10: Normalisation = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET: Normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CNN_A: Normalisation = ((0.485, 0.456, 0.406), (0.225,) * 3)
HALF: Normalisation = ((0.5,) * 3, (0.5,) * 3)
FACES_SLIM: Normalisation = ((127 / 255,) * 3, (128 / 255,) * 3)
FACES_MTCNN: Normalisation = ((0.5,) * 3, (128 / 255,) * 3)


@dataclass(frozen=True)
class Checkpoint:
    """One stored network: how to build it, and what to feed it."""

    file: str  # name in the folder `checkpoints`
    build: Callable[[], nn.Module]  # gives the architecture with random weights
    input_shape: tuple[int, ...]  # of one input, batch dimension included
    dataset: str | None = None  # what it classifies: "mnist", "cifar10" or nothing that is at hand
    normalise: Normalisation = UNIT  # of inputs in [0, 1]
    accuracy: float | None = None  # percent of the first 1000 test images, `images(name, 1000)`, classified correctly


DIGIT = (1, 1, 28, 28)
COLOUR = (1, 3, 32, 32)

CHECKPOINTS = {
    "resnet20": Checkpoint("resnet20_cifar10.th", resnet20, COLOUR, "cifar10", IMAGENET, 92.8),
    "resnet56": Checkpoint("resnet56_cifar10.th", resnet56, COLOUR, "cifar10", IMAGENET, 95.0),
    "resnet2b": Checkpoint("cifar10_resnet2b_adv.pth", resnet2b, COLOUR, "cifar10", CIFAR10, 68.1),
    "cifar10_cnn": Checkpoint("cifar10_cnn_a_mix.model", cifar10_cnn, COLOUR, "cifar10", CNN_A, 74.0),
    "cifar10_cnn_sigmoid": Checkpoint(
        "cifar10_cnn_sigmoid_fullckpt.pth", cifar10_cnn_sigmoid, COLOUR, "cifar10", CIFAR10, 62.1
    ),
    "cifar10_lenet": Checkpoint("cifar10_lenet_captum.pt", cifar10_lenet, COLOUR, "cifar10", HALF, 58.5),
    "mnist_mlp_6x100": Checkpoint("mnist_mlp_6x100.pth", mnist_mlp_6x100, DIGIT, "mnist", UNIT, 96.0),
    "mnist_mlp_20": Checkpoint("mnist_mlp_784-20-10.pth", mnist_mlp_20, DIGIT, "mnist", UNIT, 86.9),
    "mnist_cnn": Checkpoint("mnist_cnn_convex_adv.pth", mnist_cnn, DIGIT, "mnist", UNIT, 98.2),
    "mnist_cnn_bn": Checkpoint("mnist_cnn_bn_burn.pt", mnist_cnn_bn, DIGIT, "mnist", MNIST, 99.1),
    # The same architecture from another training run.
    "mnist_cnn_bn_safetensors": Checkpoint("mnist_cnn_bn_burn.safetensors", mnist_cnn_bn, DIGIT, "mnist", MNIST, 99.0),
    "titanic_mlp": Checkpoint("titanic_mlp_12-12-8-2.pt", titanic_mlp, (1, 12)),
    "facedet_slim": Checkpoint("facedet_slim320_depthwise.pth", facedet_slim, (1, 3, 240, 320), normalise=FACES_SLIM),
    "mtcnn_rnet": Checkpoint("mtcnn_rnet.pt", mtcnn_rnet, (1, 3, 24, 24), normalise=FACES_MTCNN),
}

# Their graphs have gates and loops: what is tested of them is in test_checkpoints_sequences.py.
SEQUENCE_CHECKPOINTS = {
    "mnist_vit": Checkpoint("mnist_vit_tiny.pth", mnist_vit, DIGIT, "mnist", MNIST, 81.2),
    "aminoacid_lstm": Checkpoint("aminoacid_lstm_4layer.pth", aminoacid_lstm, (1, 4, 20)),
    "silero_vad": Checkpoint("silero_vad_16k.safetensors", silero_vad, (1, 576)),
}

# --- weights and images ----------------------------------------------------------------------------------------------

TEST_FILES = {
    "mnist": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    "cifar10": ("cifar10_test_4000.npz",),
}


def _data_folder() -> Path:
    """Give the folder that should hold `mnist` and `cifar10`; `checkpoints` is beside it. It need not exist."""
    named = os.environ.get("DNN2GRAPH_DATA")
    # Resolved, because the parent of a relative path may be no path of its own.
    folder = Path(named).expanduser().resolve() if named else Path(__file__).resolve().parents[2] / "shared"
    has_data_sets = any((folder / dataset).is_dir() for dataset in TEST_FILES)
    return folder if has_data_sets else folder / "data"


def shared_folder() -> Path | None:
    """Give the folder that holds `checkpoints` and the data sets, or None where there is none."""
    folder = _data_folder().parent
    return folder if folder.is_dir() else None


def checkpoint(name: str) -> Checkpoint:
    """Give a checkpoint of either table."""
    return CHECKPOINTS[name] if name in CHECKPOINTS else SEQUENCE_CHECKPOINTS[name]


def checkpoint_path(name: str) -> Path:
    """Give the path of a checkpoint's file, which need not exist."""
    return _data_folder().parent / "checkpoints" / checkpoint(name).file


def require(name: str) -> None:
    """Skip the calling test unless the weights and the test images of a checkpoint are there."""
    dataset = checkpoint(name).dataset
    files = [checkpoint_path(name)]
    files += [_data_folder() / dataset / file for file in TEST_FILES[dataset]] if dataset else []
    for path in files:
        if not path.is_file():
            pytest.skip(f"'{path.name}' is not in '{path.parent}': DNN2GRAPH_DATA may name another folder")


def load_checkpoint(name: str) -> nn.Module:
    """Build a network in eval mode with its stored weights: every stored tensor is used, every parameter is stored."""
    model = checkpoint(name).build()
    model.load_state_dict(_state_dict(checkpoint_path(name)), strict=True)
    return model.eval()


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict out of whatever its authors wrapped it in."""
    if path.suffix == ".safetensors":
        return load_file(path)
    stored = torch.load(path, map_location="cpu", weights_only=True)  # some were saved from a GPU
    stored = stored.get("state_dict", stored)
    if isinstance(stored, list):
        (stored,) = stored
    # A plain dict also drops the version mark: torch then accepts batch norms of the time before they counted batches.
    return {key.removeprefix("module."): value for key, value in stored.items()}


def images(name: str, count: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Give inputs (count, ...) float32 for a network, normalised as in its training, and their classes (count,) int64.

    The inputs are the first ones of the test set. A network without a data set gets uniform noise, the same at each
    call, and None for the classes.
    """
    stored = checkpoint(name)
    labels = None
    if stored.dataset:
        pixels, classes = _test_set(_data_folder(), stored.dataset)
        x, labels = torch.from_numpy(pixels[:count]).float() / 255, torch.from_numpy(classes[:count]).long()
    else:
        x = torch.rand(count, *stored.input_shape[1:], generator=torch.Generator().manual_seed(0))
    # (C,) against (N, C) or (N, C, H, W)
    mean, std = (torch.tensor(values).view(-1, *[1] * (x.ndim - 2)) for values in stored.normalise)
    return (x - mean) / std, labels


@lru_cache(maxsize=2)  # one for each data set: decompressing one takes longer than most forward passes
def _test_set(data_folder: Path, dataset: str) -> tuple[np.ndarray, np.ndarray]:
    """Read test images uint8 (N, C, H, W) and their classes uint8 (N,)."""
    paths = [data_folder / dataset / file for file in TEST_FILES[dataset]]
    if dataset == "cifar10":
        with np.load(paths[0]) as archive:
            # Contiguous, as a data loader gives them: networks that flatten by `view` refuse channels-last images.
            return np.ascontiguousarray(archive["images"].transpose(0, 3, 1, 2)), archive["labels"]
    # idx: a header of 4 bytes per dimension and 4 more, then the values
    images_idx, labels_idx = (gzip.decompress(path.read_bytes()) for path in paths)
    pixels = np.frombuffer(bytearray(images_idx), np.uint8, offset=16)
    return pixels.reshape(-1, 1, 28, 28), np.frombuffer(bytearray(labels_idx), np.uint8, offset=8)
