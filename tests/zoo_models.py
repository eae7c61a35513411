"""The ideas of well-known architectures, each in a network of a few neurons.

``MODELS`` maps a name to a function that builds the network and an example of its inputs, two samples each. What is
published under these names is larger; what a tracer must understand of it is here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.strategies import Net

MODELS = {}
R = torch.randn


def model(build):
    MODELS[build.__name__] = build
    return build


def tokens(count=4, vocabulary=11):
    return torch.arange(2 * count).reshape(2, count) * 3 % vocabulary


def conv_bn(ins, outs, kernel=3, **options):
    options = {"padding": kernel // 2, "bias": False} | options
    return nn.Sequential(nn.Conv2d(ins, outs, kernel, **options), nn.BatchNorm2d(outs), nn.ReLU(inplace=True))


# --- images ----------------------------------------------------------------------------------------------------------


@model
def resnet():
    """A bottleneck with a strided shortcut, an in-place sum."""

    def forward(self, x):
        out = self.norm(self.widen(self.inner(self.narrow(x))))
        out += self.shortcut(x)
        return self.head(F.adaptive_avg_pool2d(F.relu(out), 1).flatten(1))

    parts = {
        "narrow": conv_bn(3, 2, 1),
        "inner": conv_bn(2, 2, stride=2),
        "widen": nn.Conv2d(2, 6, 1, bias=False),
        "norm": nn.BatchNorm2d(6),
        "shortcut": nn.Sequential(nn.Conv2d(3, 6, 1, stride=2, bias=False), nn.BatchNorm2d(6)),
        "head": nn.Linear(6, 3),
    }
    return Net(forward, **parts), R(2, 3, 6, 6)


@model
def densenet():
    """Every layer reads all layers before it."""

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.transition(torch.cat(features, 1))

    def layer(ins):
        return nn.Sequential(nn.BatchNorm2d(ins), nn.ReLU(), nn.Conv2d(ins, 2, 3, padding=1))

    layers = nn.ModuleList([layer(3), layer(5), layer(7)])
    return Net(forward, layers=layers, transition=nn.Sequential(nn.Conv2d(9, 4, 1), nn.AvgPool2d(2))), R(2, 3, 4, 4)


@model
def mobilenet():
    """An inverted residual: widen, filter each channel, gate by squeeze and excitation, narrow without activation."""

    def forward(self, x):
        y = self.filter(self.widen(x))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return x + self.narrow(F.hardswish(y * gate))

    parts = {
        "widen": conv_bn(3, 6, 1),
        "filter": conv_bn(6, 6, groups=6),
        "squeeze": nn.Conv2d(6, 2, 1),
        "excite": nn.Conv2d(2, 6, 1),
        "narrow": nn.Sequential(nn.Conv2d(6, 3, 1, bias=False), nn.BatchNorm2d(3)),
    }
    return Net(forward, **parts), R(2, 3, 4, 4)


@model
def shufflenet():
    """Half of the channels pass; the two halves are interleaved."""

    def forward(self, x):
        kept, changed = x.chunk(2, dim=1)
        x = torch.cat([kept, self.branch(changed)], 1)
        n, c, h, w = x.shape
        return self.after(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))

    return Net(forward, branch=conv_bn(2, 2), after=nn.Conv2d(4, 4, 1, groups=2)), R(2, 4, 4, 4)


@model
def inception():
    """Branches of several sizes and a pool side by side."""

    def forward(self, x):
        pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        return torch.cat([self.one(x), self.tall(self.wide(x)), self.after_pool(pooled)], 1)

    parts = {"one": conv_bn(3, 2, 1), "after_pool": conv_bn(3, 2, 1)}
    parts["wide"] = nn.Conv2d(3, 2, (1, 3), padding=(0, 1))
    parts["tall"] = nn.Conv2d(2, 2, (3, 1), padding=(1, 0))
    return Net(forward, **parts), R(2, 3, 4, 4)


@model
def squeezenet():
    """Fire modules and a classifier of convolutions."""

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        x = torch.cat([F.relu(self.expand1(x)), F.relu(self.expand3(x))], 1)
        return self.classifier(F.max_pool2d(x, 3, 2, ceil_mode=True)).mean((2, 3))

    parts = {"squeeze": nn.Conv2d(3, 2, 1), "expand1": nn.Conv2d(2, 3, 1), "expand3": nn.Conv2d(2, 3, 3, padding=1)}
    return Net(forward, **parts, classifier=nn.Conv2d(6, 4, 1)), R(2, 3, 6, 6)


@model
def convnext():
    """Depthwise filters, channels last for the norm and the dense layers, a learned scale on the branch."""

    def forward(self, x):
        y = self.filter(x).permute(0, 2, 3, 1)
        y = self.narrow(F.gelu(self.widen(self.norm(y)))) * self.scale
        return x + y.permute(0, 3, 1, 2)

    parts = {"filter": nn.Conv2d(4, 4, 3, padding=1, groups=4), "norm": nn.LayerNorm(4)}
    parts |= {"widen": nn.Linear(4, 8), "narrow": nn.Linear(8, 4), "scale": nn.Parameter(R(4))}
    return Net(forward, **parts), R(2, 4, 4, 4)


@model
def unet():
    """Down and up again by transposed convolutions, with a cropped bridge between."""

    def forward(self, x):
        outer = self.down(x)  # (N, 3, 4, 4)
        inner = self.up(self.bottom(F.max_pool2d(outer, 2)))
        return self.out(torch.cat([outer[:, :, 1:, 1:], inner[:, :, :3, :3]], 1))

    parts = {"down": conv_bn(2, 3, padding=0), "bottom": conv_bn(3, 4), "up": nn.ConvTranspose2d(4, 3, 2, stride=2)}
    return Net(forward, **parts, out=nn.Conv2d(6, 2, 1)), R(2, 2, 6, 6)


@model
def feature_pyramid():
    """Coarse maps are interpolated and added to finer ones."""

    def forward(self, x):
        fine = self.first(x)
        coarse = self.second(fine)
        up = F.interpolate(self.lateral2(coarse), scale_factor=2, mode="bilinear", align_corners=False)
        nearest = F.interpolate(self.lateral2(coarse), size=fine.shape[2:], mode="nearest")
        return self.lateral1(fine) + up, self.lateral1(fine) + nearest

    parts = {"first": conv_bn(2, 3), "second": conv_bn(3, 4, stride=2)}
    return Net(forward, **parts, lateral1=nn.Conv2d(3, 2, 1), lateral2=nn.Conv2d(4, 2, 1)), R(2, 2, 4, 4)


@model
def hourglass():
    """A symmetric net that calls itself at half the size."""

    def forward(self, x):
        low = self.before(F.max_pool2d(x, 2))
        low = low if self.inner is None else self.inner(low)
        return self.skip(x) + F.interpolate(low, scale_factor=2)

    def level(inner=None):
        return Net(forward, before=nn.Conv2d(2, 2, 3, padding=1), skip=nn.Conv2d(2, 2, 1), inner=inner)

    return level(level()), R(2, 2, 4, 4)


@model
def autoencoder():
    """Strided convolutions, a code, transposed convolutions."""
    encoder = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.ELU(), nn.Flatten(), nn.Linear(8, 3))
    up = nn.ConvTranspose2d(2, 1, 3, 2, 1, output_padding=1)
    decoder = nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 2, 2)), up, nn.Sigmoid())
    return nn.Sequential(encoder, decoder), R(2, 1, 4, 4)


@model
def super_resolution():
    """Channels become pixels."""
    first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
    return nn.Sequential(first, nn.PReLU(4), second, nn.PixelShuffle(2)), R(2, 1, 3, 3)


@model
def style_transfer():
    """Reflection padding and instance norm."""
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, affine=True), nn.ReLU(),
                         nn.Conv2d(3, 2, 1), nn.GroupNorm(2, 2), nn.Tanh()), R(2, 2, 4, 4)  # fmt: skip


@model
def cbam():
    """Attention by maxima and means, over channels and then over places."""

    def forward(self, x):
        gate = torch.sigmoid(self.dense(x.mean((2, 3))) + self.dense(x.amax((2, 3))))
        x = x * gate[:, :, None, None]
        summary = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * torch.sigmoid(self.place(summary))

    dense = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4))
    return Net(forward, dense=dense, place=nn.Conv2d(2, 1, 3, padding=1)), R(2, 4, 4, 4)


# --- sets and sequences of features ----------------------------------------------------------------------------------


class SelfAttention(nn.Module):
    """Several heads, written out by hand."""

    def __init__(self, features, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features)
        self.out = nn.Linear(features, features)

    def forward(self, x, bias=None):
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        weights = (scores if bias is None else scores + bias).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, t, d))


def prenorm(self, x):
    x = x + self.attention(self.norm1(x))
    return x + self.dense(self.norm2(x))


def transformer_block(attention, features=4):
    dense = nn.Sequential(nn.Linear(features, 6), nn.GELU(), nn.Linear(6, features))
    return Net(prenorm, attention=attention, dense=dense, norm1=nn.LayerNorm(features), norm2=nn.LayerNorm(features))


@model
def vit():
    """Patches, a class token, learned positions, a block, the class token read."""

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)  # (N, 4, 4)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        return self.head(self.norm(self.block(x))[:, 0])

    parts = {"patches": nn.Conv2d(1, 4, 2, stride=2), "block": transformer_block(SelfAttention(4, 2))}
    parts |= {"token": nn.Parameter(R(1, 1, 4)), "places": nn.Parameter(R(1, 5, 4))}
    return Net(forward, **parts, norm=nn.LayerNorm(4), head=nn.Linear(4, 3)), R(2, 1, 4, 4)


@model
def swin():
    """Attention within windows that are shifted, with a bias for each relative position."""

    def forward(self, x):  # (N, 4, 4, features)
        n, side, window = len(x), 4, 2
        y = torch.roll(x, (-1, -1), (1, 2))
        y = y.view(n, side // window, window, side // window, window, -1).permute(0, 1, 3, 2, 4, 5)
        bias = self.table[self.index.reshape(-1)].reshape(4, 4, -1).permute(2, 0, 1)
        y = self.attention(y.reshape(-1, window * window, 4), bias[None])
        y = y.view(n, side // window, side // window, window, window, -1).permute(0, 1, 3, 2, 4, 5)
        return x + torch.roll(y.reshape(n, side, side, -1), (1, 1), (1, 2))

    net = Net(forward, attention=SelfAttention(4, 2), table=nn.Parameter(R(9, 2)))
    places = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
    apart = places[:, :, None] - places[:, None] + 1
    net.register_buffer("index", apart[0] * 3 + apart[1])
    return net, R(2, 4, 4, 4)


@model
def mixer():
    """Dense layers over tokens, then over features."""

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.features(self.norm2(x))

    def dense(width):
        return nn.Sequential(nn.Linear(width, 5), nn.GELU(), nn.Linear(5, width))

    return Net(forward, tokens=dense(3), features=dense(4), norm1=nn.LayerNorm(4), norm2=nn.LayerNorm(4)), R(2, 3, 4)


@model
def perceiver():
    """A few learned queries read a long input."""

    def forward(self, x):
        latents = self.latents.expand(len(x), -1, -1)
        read, _ = self.cross(latents, x, x)
        return self.block(latents + read).mean(1)

    parts = {"latents": nn.Parameter(R(2, 4)), "block": transformer_block(SelfAttention(4, 1))}
    parts["cross"] = nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True)
    return Net(forward, **parts), R(2, 5, 3)


@model
def encoder_decoder():
    """The transformer of torch, with a causal mask."""
    net = nn.Transformer(4, 2, 1, 1, 6, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(3)

    def forward(self, source, target):
        return self.transformer(source, target, tgt_mask=mask.to(source), tgt_is_causal=True)

    return Net(forward, transformer=net), R(2, 4, 4), R(2, 3, 4)


@model
def llama():
    """Root mean square norms, rotated queries and keys, shared keys and values, a gated dense layer, tied weights."""

    def norm(self, x):
        return self.scale * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)

    def rotate(x, cos, sin):
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def attend(self, x):
        n, t, _ = x.shape
        q, k, v = (p(x).view(n, t, -1, 2).transpose(1, 2) for p in (self.q, self.k, self.v))
        angle = torch.arange(t, dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.1], dtype=x.dtype)
        q, k = (rotate(z, angle.cos(), angle.sin()) for z in (q, k))
        mixed = F.scaled_dot_product_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), is_causal=True)
        return self.o(mixed.transpose(1, 2).reshape(n, t, -1))

    def forward(self, ids):
        x = self.embedding(ids)
        x = x + self.attention(self.norm1(x))
        y = self.norm2(x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return F.linear(x, self.embedding.weight)

    def dense(ins, outs):
        return nn.Linear(ins, outs, bias=False)

    attention = Net(attend, q=dense(4, 4), k=dense(4, 2), v=dense(4, 2), o=dense(4, 4))
    norms = {f"norm{i}": Net(norm, scale=nn.Parameter(R(4))) for i in (1, 2)}
    parts = {"gate": dense(4, 6), "up": dense(4, 6), "down": dense(6, 4), "embedding": nn.Embedding(11, 4)}
    return Net(forward, attention=attention, **norms, **parts), tokens()


@model
def mixture_of_experts():
    """A soft choice: every expert answers, weighed by a gate."""

    def forward(self, x):
        gates = self.gate(x).softmax(-1)  # (N, experts)
        answers = torch.stack([expert(x) for expert in self.experts], 1)  # (N, experts, out)
        return torch.einsum("ne,neo->no", gates, answers)

    experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)) for _ in range(3))
    return Net(forward, gate=nn.Linear(4, 3), experts=experts), R(2, 4)


@model
def mamba():
    """A state whose decay and input depend on the input, in a loop over time."""

    def forward(self, x):  # (N, T, features)
        x, gate = self.split(x).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        delta, read, write = F.softplus(self.delta(x)), self.read(x), self.write(x)
        decay = torch.exp(delta[..., None] * -torch.exp(self.log_a))  # (N, T, features, state)
        state, outputs = x.new_zeros(len(x), 3, 2), []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + (delta * x)[:, t, :, None] * write[:, t, None]
            outputs.append((state * read[:, t, None]).sum(-1))
        return self.out((torch.stack(outputs, 1) + self.skip * x) * F.silu(gate))

    parts = {"split": nn.Linear(3, 6), "conv": nn.Conv1d(3, 3, 2, padding=1, groups=3), "delta": nn.Linear(3, 3)}
    parts |= {"read": nn.Linear(3, 2), "write": nn.Linear(3, 2), "log_a": nn.Parameter(R(3, 2))}
    return Net(forward, **parts, skip=nn.Parameter(R(3)), out=nn.Linear(3, 3)), R(2, 4, 3)


@model
def pointnet():
    """One function for every point, a maximum over them."""
    each = nn.Sequential(nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 5, 1))
    return Net(lambda self, x: self.head(self.each(x).max(2)[0]), each=each, head=nn.Linear(5, 2)), R(2, 3, 6)


@model
def graph_convolution():
    """Features are spread along the edges of a fixed graph."""
    adjacency = torch.tensor([[0.5, 0.5, 0, 0], [0.3, 0.4, 0.3, 0], [0, 0.3, 0.4, 0.3], [0, 0, 0.5, 0.5]])

    def forward(self, x):  # (N, vertices, features)
        x = F.relu(self.adjacency @ self.first(x))
        return torch.matmul(self.adjacency, self.second(x)).sum(1)

    net = Net(forward, first=nn.Linear(3, 4), second=nn.Linear(4, 2))
    net.register_buffer("adjacency", adjacency)
    return net, R(2, 4, 3)


@model
def radiance_field():
    """Positions as sines and cosines of several frequencies; the input enters a second time half-way."""

    def forward(self, x):
        phases = (x[..., None] * self.frequencies).flatten(1)
        encoded = torch.cat([x, phases.sin(), phases.cos()], 1)
        density, colour = self.split(torch.cat([self.first(encoded).relu(), encoded], 1)).split([1, 3], 1)
        return F.softplus(density), colour.sigmoid()

    net = Net(forward, first=nn.Linear(15, 4), split=nn.Linear(19, 4))
    net.register_buffer("frequencies", torch.tensor([1.0, 2.0]))
    return net, R(2, 3)


@model
def highway():
    """A learned choice between the layer and what it was given; then a normalised product with a bilinear form."""

    def forward(self, x):
        gate = torch.sigmoid(self.gate(x))
        y = gate * torch.tanh(self.layer(x)) + (1 - gate) * x
        return self.compare(F.normalize(y, dim=1), x)

    return Net(forward, gate=nn.Linear(3, 3), layer=nn.Linear(3, 3), compare=nn.Bilinear(3, 3, 2)), R(2, 3)


@model
def siamese():
    """One network for both inputs, and the distance between what it says of them."""

    def forward(self, one, other):
        a, b = self.tower(one), self.tower(other)
        return (a - b).abs(), F.cosine_similarity(a, b)

    return Net(forward, tower=nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))), R(2, 3), R(2, 3)


# --- sequences in time -----------------------------------------------------------------------------------------------


@model
def wavenet():
    """Dilated convolutions of the past, gates, and the sum of what each layer hands on."""

    def forward(self, x):
        skipped = 0
        for place, (filtered, gated, out) in enumerate(self.layers):
            past = F.pad(x, (2**place, 0))
            y = torch.tanh(filtered(past)) * torch.sigmoid(gated(past))
            skipped = skipped + out(y)
            x = x + out(y)
        return self.last(F.relu(skipped))

    def layer(dilation):
        return nn.ModuleList([*(nn.Conv1d(3, 3, 2, dilation=dilation) for _ in range(2)), nn.Conv1d(3, 3, 1)])

    return Net(forward, layers=nn.ModuleList([layer(1), layer(2)]), last=nn.Conv1d(3, 2, 1)), R(2, 3, 6)


@model
def temporal_convolution():
    """Weight-normalised causal convolutions whose future is chomped off."""

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))[..., :-2])[..., :-2] + self.shortcut(x))

    normed = nn.utils.parametrizations.weight_norm
    parts = {"first": normed(nn.Conv1d(2, 3, 2, padding=2, dilation=2)), "shortcut": nn.Conv1d(2, 3, 1)}
    return Net(forward, **parts, second=normed(nn.Conv1d(3, 3, 2, padding=2, dilation=2))), R(2, 2, 6)


@model
def translator():
    """A recurrent encoder, a recurrent decoder that starts from its state and attends to its outputs."""

    def forward(self, source, target):
        memory, state = self.encoder(self.embedding(source))
        hidden, _ = self.decoder(self.embedding(target), state)
        weights = (hidden @ memory.transpose(1, 2)).softmax(-1)
        return self.out(torch.cat([hidden, weights @ memory], -1))

    recurrent = {name: nn.GRU(3, 4, batch_first=True) for name in ("encoder", "decoder")}
    return Net(forward, embedding=nn.Embedding(11, 3), out=nn.Linear(8, 5), **recurrent), tokens(4), tokens(3)


@model
def tagger():
    """Two layers of LSTMs in both directions."""
    return Net(
        lambda self, ids: self.out(self.lstm(self.embedding(ids))[0]).log_softmax(-1),
        embedding=nn.Embedding(11, 3),
        lstm=nn.LSTM(3, 2, 2, batch_first=True, bidirectional=True),
        out=nn.Linear(4, 3),
    ), tokens(3)


@model
def text_recognition():
    """Columns of a convolved image are the steps of a recurrent network."""

    def forward(self, x):
        columns = self.columns(x).flatten(1, 2).transpose(1, 2)  # (N, width, features)
        return self.out(self.recurrent(columns)[0])

    columns = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d((2, 1)))
    return Net(forward, columns=columns, recurrent=nn.RNN(4, 3, batch_first=True), out=nn.Linear(3, 2)), R(2, 1, 4, 3)


@model
def convolutional_lstm():
    """Gates that are convolutions, in a loop over the frames of a film."""

    def forward(self, film):  # (N, T, channels, height, width)
        h = film.new_zeros(len(film), 2, *film.shape[3:])
        c = h.clone()
        for frame in film.unbind(1):
            i, f, g, o = self.gates(torch.cat([frame, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h

    return Net(forward, gates=nn.Conv2d(3, 8, 3, padding=1)), R(2, 2, 1, 3, 3)


@model
def cells_in_a_loop():
    """An LSTM cell that reads its own answer."""

    def forward(self, x):
        state, answer, answers = None, torch.zeros_like(x[:, 0, :2]), []
        for step in x.unbind(1):
            state = self.cell(torch.cat([step, answer], 1), state)
            answer = self.out(state[0])
            answers.append(answer)
        return torch.stack(answers, 1)

    return Net(forward, cell=nn.LSTMCell(5, 3), out=nn.Linear(3, 2)), R(2, 3, 3)
