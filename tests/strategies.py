"""Hypothesis strategies: random geometries of linear maps, and random architectures with an input that fits them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from dnn2graph.links import Axis, Convolution, Links, Window
from dnn2graph.nodes import Nodes
from dnn2graph.weights import Constant

# --- linear maps -----------------------------------------------------------------------------------------------------


@st.composite
def sliding_axes(draw, transposed=False):
    """Draw an axis of a convolution with at least one output position; the far end may lie in padding or not."""
    inputs, taps = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    stride, dilation, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 3))
    reach = (taps - 1) * dilation + 1
    if transposed:
        outputs = (inputs - 1) * stride + reach - 2 * padding + draw(st.integers(0, stride - 1))
        outputs, padding = (outputs, padding) if outputs > 0 else (outputs + 2 * padding, 0)
        return Axis.transposed(inputs, outputs, taps, stride=stride, dilation=dilation, padding=padding)
    outputs = (inputs + 2 * padding - reach) // stride + 1
    outputs = max(1, outputs + draw(st.integers(-1, 1)))  # ceil mode, or positions that are left over
    return Axis.convolution(inputs, outputs, taps, stride=stride, dilation=dilation, padding=padding)


@st.composite
def window_axes(draw):
    """Draw an axis of pooling windows: any members, in increasing order, and divisors from a few kinds."""
    inputs = draw(st.integers(1, 6))
    members = st.sets(st.integers(0, inputs - 1)).map(sorted)
    window = st.builds(
        lambda m, kind: Window(np.array(m, np.int64), kind, len(m) + kind), members, st.sampled_from([1, 2, 4])
    )
    return Axis.windows(inputs, draw(st.lists(window, min_size=1, max_size=5)))[0]


any_axis = st.one_of(sliding_axes(), sliding_axes(transposed=True), window_axes())
axis_lists = st.one_of(
    st.lists(sliding_axes(), max_size=3),
    st.lists(sliding_axes(transposed=True), min_size=1, max_size=2),
    st.lists(any_axis, min_size=1, max_size=3),
).filter(lambda axes: np.prod([a.inputs * a.outputs for a in axes], dtype=float) < 20_000)


@st.composite
def convolutions(draw):
    """Draw the geometry of a linear map."""
    axes, groups = draw(axis_lists), draw(st.integers(1, 3))
    channels = [groups * draw(st.integers(1, 3)) for _ in range(2)]
    return Convolution(*channels, tuple(axes), groups, draw(st.integers(1, 3)))


@st.composite
def links(draw, maps=None):
    """Draw links between elements that are one node each, with weights in [-4, 4] of which a third are zero.

    Small whole numbers: sums of them are exact in every order, so that results can be compared for equality.
    """
    geometry = draw(convolutions() if maps is None else maps)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel = random.integers(-4, 5, geometry.kernel_shape) * (random.random(geometry.kernel_shape) < 2 / 3)
    return linked(geometry, torch.from_numpy(kernel.astype(np.float64)))


def linked(geometry: Any, kernel: Tensor, source: Any = None, target: Any = None) -> Links:
    """Make links of a geometry; sources are numbered first, then targets, where no nodes are given."""
    inputs, outputs = int(np.prod(geometry.in_shape)), int(np.prod(geometry.out_shape))
    source = Nodes(range(inputs), geometry.in_shape) if source is None else Nodes(source)
    target = Nodes(range(inputs, inputs + outputs), geometry.out_shape) if target is None else Nodes(target)
    return Links("weight", source, target, geometry, Constant(kernel), dtype=kernel.dtype)


def matrix_of(geometry: Any, kernel: Tensor) -> np.ndarray:
    """Write a map out as a dense matrix (inputs, outputs) from its definition: loops over triples, nothing shared."""
    dense = np.zeros((*geometry.in_shape, *geometry.out_shape))
    per_in, per_out = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    reaches: list[list[tuple[int, int, int]]] = [
        list(zip(axis.source.tolist(), axis.tap.tolist(), axis.target.tolist(), strict=True)) for axis in geometry.axes
    ]
    joint: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [((), (), ())]
    for triples in reaches:
        joint = [((*s, i), (*t, k), (*o, j)) for s, t, o in joint for i, k, j in triples]
    for copy in range(geometry.copies):
        for i in range(geometry.in_channels):
            group = i // per_in
            for j in range(group * per_out, (group + 1) * per_out):
                for source, tap, target in joint:
                    dense[(copy, i, *source, copy, j, *target)] += float(kernel[(j, i % per_in, *tap)])
    return dense.reshape(int(np.prod(geometry.in_shape)), -1)


# --- architectures ---------------------------------------------------------------------------------------------------


class Net(nn.Module):
    """A module from its forward function, which gets the module first, and its parts."""

    def __init__(self, forward_function: Any, **parts: Any) -> None:
        super().__init__()
        self.forward_function = forward_function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward_function(self, *args, **kwargs)

    def extra_repr(self) -> str:
        own = {k: v for k, v in vars(self).items() if k not in vars(nn.Module()) and k != "forward_function"}
        return ", ".join([self.forward_function.__name__, *(f"{name}={value}" for name, value in own.items())])


ACTIVATIONS = [
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh,
    nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink, nn.Softplus, nn.Softsign, nn.Tanhshrink,
    nn.LogSigmoid, nn.RReLU, nn.PReLU, nn.Softmax, nn.LogSoftmax, nn.Softmin,
]  # fmt: skip


class Case(NamedTuple):
    """A model with random weights in eval mode, and an input (samples, *shape) for it."""

    model: nn.Module
    x: Tensor


Shape = tuple[int, ...]  # (channels, *positions) of one sample


def make_activation(kind: type[nn.Module], channels: int) -> nn.Module:
    if kind is nn.PReLU:
        return nn.PReLU(channels)
    return kind(dim=1) if kind in (nn.Softmax, nn.LogSoftmax, nn.Softmin) else kind()


@st.composite
def activations(draw, shape: Shape):
    return make_activation(draw(st.sampled_from(ACTIVATIONS)), shape[0])


@st.composite
def conv_layers(draw, shape: Shape, out: int | None = None):
    """Draw a convolution that fits a shape."""
    channels, *lengths = shape
    groups = draw(st.sampled_from([g for g in (1, 2, 3, channels) if channels % g == 0]))
    out = groups * draw(st.integers(1, max(1, 4 // groups))) if out is None else out
    groups = groups if out % groups == 0 else 1
    mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "circular", "replicate"]))
    settings = []
    for length in lengths:
        padding = draw(st.integers(0, 2))
        padding = min(padding, length - 1 if mode == "reflect" else length)
        kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        while (kernel - 1) * dilation + 1 > length + 2 * padding:
            kernel, dilation = (kernel, 1) if dilation > 1 else (kernel - 1, 1)
        settings.append((kernel, draw(st.integers(1, 2)), padding, dilation))
    kernel, stride, padding, dilation = zip(*settings, strict=True)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(lengths) - 1]
    bias = draw(st.booleans())
    return kind(channels, out, kernel, stride, padding, dilation, groups, bias, mode)


@st.composite
def transposed_layers(draw, shape: Shape):
    channels, *lengths = shape
    groups = draw(st.sampled_from([g for g in (1, channels) if channels % g == 0]))
    stride, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    extra = draw(st.integers(0, max(stride, dilation) - 1))
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(lengths) - 1]
    kernel, padding = draw(st.integers(1, 3)), draw(st.integers(0, 1))
    if any((n - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1 < 1 for n in lengths):
        padding = 0
    out = groups * draw(st.integers(1, 2))
    return kind(channels, out, kernel, stride, padding, extra, groups, draw(st.booleans()), dilation)


@st.composite
def pools(draw, shape: Shape):
    dims, lengths = len(shape) - 1, shape[1:]
    choice = draw(st.sampled_from(["max", "average", "adaptive max", "adaptive average", "global"]))
    if choice.startswith("adaptive") or choice == "global":
        average = draw(st.booleans()) if choice == "global" else "average" in choice
        size = tuple(1 if choice == "global" else draw(st.integers(1, n)) for n in lengths)
        name = f"Adaptive{'Avg' if average else 'Max'}Pool{dims}d"
        return getattr(nn, name)(size if dims > 1 else size[0])
    kernel = tuple(draw(st.integers(1, min(3, n))) for n in lengths)
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": tuple(draw(st.integers(1, 3)) for _ in lengths),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    if choice == "average":
        options["count_include_pad"] = draw(st.booleans())
        if dims > 1 and draw(st.booleans()):
            options["divisor_override"] = draw(st.integers(1, 5))
    return getattr(nn, f"{'Avg' if choice == 'average' else 'Max'}Pool{dims}d")(**options)


@st.composite
def spatial_blocks(draw, shape: Shape):
    """Draw a module that takes (samples, channels, *positions)."""
    channels, *lengths = shape
    dims = len(lengths)
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1]
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    small = np.prod(lengths) <= 36
    choices = ["conv", "conv", "activation", "activation", "pool", "norm", "residual", "concat", "move", "pad", "gate"]
    choice = draw(st.sampled_from(choices + ["transposed", "upsample"] * bool(small)))
    match choice:
        case "conv":
            return draw(conv_layers(shape))
        case "transposed":
            return draw(transposed_layers(shape))
        case "activation":
            return draw(activations(shape))
        case "pool":
            return draw(pools(shape))
        case "norm":
            return norm(channels, affine=draw(st.booleans()))
        case "upsample":
            return nn.Upsample(scale_factor=2, mode=draw(st.sampled_from(["nearest", "nearest-exact"])))
        case "residual":
            parts: list[nn.Module] = [conv(channels, channels, 3, padding=1), draw(activations(shape))]
            parts += [norm(channels)] * draw(st.booleans()) + [conv(channels, channels, 1)] * draw(st.booleans())
            shortcut = conv(channels, channels, 1) if draw(st.booleans()) else nn.Identity()
            return Net(residual, inner=nn.Sequential(*parts), shortcut=shortcut)
        case "concat":
            return Net(concatenated, inner=conv(channels, draw(st.integers(1, 2)), 1), after=draw(st.booleans()))
        case "move":
            order = draw(st.permutations(range(channels)))[: draw(st.integers(1, channels))]
            return Net(reordered, order=order)
        case "pad":
            values = st.sampled_from([0.0, 0.0, 0.7])
            return Net(padded, value=draw(values))
        case _:
            gate = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
            return Net(gated, gate=gate)


@st.composite
def flat_blocks(draw, shape: Shape):
    """Draw a module that takes (samples, features)."""
    (features,) = shape
    choices = ["linear", "linear", "activation", "norm", "residual", "product", "dropout", "affine"]
    choice = draw(st.sampled_from(choices))
    match choice:
        case "linear":
            return nn.Linear(features, draw(st.integers(1, 5)), bias=draw(st.booleans()))
        case "activation":
            return draw(activations(shape))
        case "norm":
            return nn.BatchNorm1d(features)
        case "residual":
            return Net(residual, inner=nn.Sequential(nn.Linear(features, features), nn.Tanh()), shortcut=nn.Identity())
        case "product":
            return Net(multiplied, inner=nn.Linear(features, features))
        case "dropout":
            return nn.Dropout(0.5)
        case _:
            return Net(scaled, shift=random_parameter(features), scale=random_parameter(1))


@st.composite
def token_blocks(draw, shape: Shape):
    """Draw a module that takes (samples, tokens, features) and keeps both counts."""
    tokens, features = shape
    choice = draw(st.sampled_from(["linear", "activation", "mix", "residual", "position"]))
    match choice:
        case "linear":
            return nn.Linear(features, features)
        case "activation":
            kinds = [kind for kind in ACTIVATIONS if kind is not nn.PReLU]
            return make_activation(draw(st.sampled_from(kinds)), tokens)
        case "mix":
            return Net(mixed, inner=nn.Linear(tokens, tokens))
        case "residual":
            return Net(residual, inner=nn.Sequential(nn.Linear(features, features), nn.GELU()), shortcut=nn.Identity())
        case _:
            return Net(scaled, shift=random_parameter(tokens, features), scale=random_parameter(1))


def residual(self: Any, x: Tensor) -> Tensor:
    out = self.inner(x)
    out += self.shortcut(x)
    return out


def concatenated(self: Any, x: Tensor) -> Tensor:
    return torch.cat([x, self.inner(x)] if self.after else [self.inner(x), x], 1)


def gated(self: Any, x: Tensor) -> Tensor:
    share = self.gate(x.flatten(2).mean(2))
    return x * share.view(*share.shape, *[1] * (x.dim() - 2))


def reordered(self: Any, x: Tensor) -> Tensor:
    return x[:, self.order].flip(-1)


def padded(self: Any, x: Tensor) -> Tensor:
    return F.pad(x, (1, 0), value=self.value)


def multiplied(self: Any, x: Tensor) -> Tensor:
    return self.inner(x) * x - x / 2


def scaled(self: Any, x: Tensor) -> Tensor:
    return (x + self.shift) * self.scale


def mixed(self: Any, x: Tensor) -> Tensor:
    return self.inner(x.transpose(1, 2)).transpose(1, 2)


def random_parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))  # filled with the other weights


@st.composite
def architectures(draw, dtype: torch.dtype = torch.float64, most: int = 5):
    """Draw a chain of blocks over 0 to 3 positional axes or over tokens, and a batch of two samples for it."""
    kind = draw(st.sampled_from(["flat", "1d", "2d", "2d", "3d", "tokens"]))
    if kind == "flat":
        start: Shape = (draw(st.integers(1, 5)),)
    elif kind == "tokens":
        start = (draw(st.integers(2, 4)), draw(st.integers(2, 4)))
    else:
        dims = int(kind[0])
        start = (draw(st.integers(1, 4)), *(draw(st.integers(2, 7 - dims)) for _ in range(dims)))
    x = torch.zeros(2, *start)
    shape, blocks = start, []
    for _ in range(draw(st.integers(1, most))):
        if kind == "tokens":
            block = draw(token_blocks(shape))
        elif len(shape) == 1:
            block = draw(flat_blocks(shape))
        elif draw(st.integers(0, 7)) == 0:
            block = nn.Flatten()
        else:
            block = draw(spatial_blocks(shape))
        with torch.no_grad():
            after = tuple(block.eval()(torch.zeros(2, *shape)).shape[1:])
        if not np.prod(after) or np.prod(after) > 600:
            continue
        shape = after
        blocks.append(block)
    kept = draw(st.sets(st.integers(0, max(0, len(blocks) - 2)), max_size=2)) if len(blocks) > 1 else set()
    model = fill(Chain(blocks, kept), draw(st.integers(0, 2**31 - 1))).to(dtype)
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    return Case(model, torch.randn(x.shape, generator=random, dtype=torch.float64).to(dtype))


class Chain(nn.Sequential):
    """A chain of blocks that returns the last output, and those of some blocks before it."""

    def __init__(self, blocks: list[nn.Module], kept: set[int]) -> None:
        super().__init__(*blocks)
        self.kept = kept

    def extra_repr(self) -> str:
        return f"kept={self.kept}"

    def forward(self, x: Tensor) -> Any:
        outputs = []
        for place, block in enumerate(self):
            x = block(x)
            if place in self.kept:
                outputs.append(x)
        return {"last": x, "before": outputs} if outputs else x


def fill(model: nn.Module, seed: int) -> nn.Module:
    """Give a model random weights and running statistics, reproducibly, and set it to eval mode."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = max(1.0, parameter.numel() / max(1, len(parameter))) ** -0.5 if parameter.dim() > 1 else 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=random) * spread + 0.1)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=random))
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=random) + 0.5)
    return model.eval()
