"""Complex numbers among neurons, and Fourier transforms of activations: pairs of real neurons."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import dnn2graph as dg
from dnn2graph.trace.rules.complex_numbers import waves
from tests.oracles import assert_represented
from tests.strategies import Net

fft = torch.fft


def complex_parameter(*shape):
    return nn.Parameter(torch.randn(*shape, dtype=torch.cdouble))


def fourier_mixing(self, x):  # FNet
    return self.l(fft.fft(fft.fft(x, dim=-1), dim=-2).real)


def global_filter(self, x):  # GFNet
    spectrum = fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.w)
    return self.l(fft.irfft2(spectrum, s=(4, 4), dim=(1, 2), norm="ortho"))


def neural_operator(self, x):  # FNO
    spectrum = fft.rfft2(x)
    kept = torch.zeros(len(x), 3, 6, 4, dtype=torch.cdouble)
    kept[:, :, :2, :2] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :2, :2], self.low)
    kept[:, :, -2:, :2] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, -2:, :2], self.high)
    return F.gelu(fft.irfft2(kept, s=x.shape[-2:]) + self.c(x))


def rotated(self, x):  # rotary positions
    pairs = torch.view_as_complex(self.l(x).unflatten(-1, (3, 2)))
    angles = torch.arange(12, dtype=x.dtype).view(4, 3)
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(2)


def spectrogram(self, x):
    window = torch.hann_window(8, dtype=x.dtype)
    return self.l(torch.stft(x, 8, 4, window=window, return_complex=True).abs().mT)


def arithmetic(self, x):
    z = fft.fft(self.l(x))
    return (z * z.conj()).real + z.angle() + (z / (z + 2)).imag - (2j * z / 3).real + (-z).exp().real


def moved(self, x):
    z = torch.cat([fft.fft(self.l(x)), torch.complex(x, x.flip(-1))], -1)
    return (z.roll(2, -1).flip(-1)[..., [0, 3, 5]].sum(-1, keepdim=True) + z.mean(-1, keepdim=True)).imag


def convolved(self, x):
    return fft.irfft(fft.rfft(x, n=10) * fft.rfft(self.k, n=10), n=10)[..., :5]


def among_learned(self, x):
    z = self.z.expand(len(x), 4).clone()
    z[:, 1:3] = fft.rfft(x)[:, :2]
    return torch.view_as_real(z * 2)


def weighted(self, x):
    return (torch.addmm(self.b, x.to(torch.cdouble), self.w) @ self.w).abs()


CASES = {
    "fourier mixing": (Net(fourier_mixing, l=nn.Linear(6, 3)), (2, 5, 6)),
    "global filter": (Net(global_filter, w=nn.Parameter(torch.randn(4, 3, 5, 2)), l=nn.Linear(5, 2)), (2, 4, 4, 5)),
    "neural operator": (
        Net(
            neural_operator,
            low=complex_parameter(2, 3, 2, 2),
            high=complex_parameter(2, 3, 2, 2),
            c=nn.Conv2d(2, 3, 1),
        ),
        (2, 2, 6, 6),
    ),
    "rotated": (Net(rotated, l=nn.Linear(6, 6)), (2, 4, 6)),
    "spectrogram": (Net(spectrogram, l=nn.Linear(5, 2)), (2, 32)),
    "arithmetic": (Net(arithmetic, l=nn.Linear(6, 6)), (2, 6)),
    "moved": (Net(moved, l=nn.Linear(5, 5)), (2, 5)),
    "convolved": (Net(convolved, k=nn.Parameter(torch.randn(3, 5))), (2, 3, 5)),
    "among learned": (Net(among_learned, z=complex_parameter(1, 4)), (1, 5)),
    "weighted": (Net(weighted, w=complex_parameter(4, 4), b=complex_parameter(4)), (2, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_models_with_complex_numbers_are_represented(name):
    model, shape = CASES[name]
    assert_represented(model, torch.randn(shape, dtype=torch.float64))


@pytest.mark.parametrize("name", ["neural operator", "among learned"])
def test_complex_parameters_can_be_exchanged(name):
    model, shape = CASES[name]
    model, x = model.double(), torch.randn(shape, dtype=torch.float64)
    graph = dg.from_torch(model, x, "position")
    other = {key: 3 * value for key, value in model.state_dict().items()}
    replayed = graph.with_weights(other).replay(x)
    torch.testing.assert_close(replayed, torch.func.functional_call(model, other, (x,)))


@given(
    length=st.integers(1, 9),
    forward=st.sampled_from(["fft", "ifft", "rfft", "hfft", "irfft", "ihfft"]),
    norm=st.sampled_from(["backward", "ortho", "forward"]),
)
def test_every_transform_is_the_one_of_torch(length, forward, norm):
    x = torch.randn(2, 3, length, dtype=torch.float64)

    def transformed(self, x):
        z = getattr(fft, forward)(x * 2, dim=-1, norm=norm, n=max(2, length))
        return torch.view_as_real(z.resolve_conj()) if z.is_complex() else z

    model = Net(transformed)
    graph = dg.from_torch(model, x, "position")
    torch.testing.assert_close(graph.replay(x), model(x), rtol=1e-9, atol=1e-9)


def test_a_transform_is_a_dense_layer_whose_zeros_are_no_edges():
    graph = dg.from_torch(Net(lambda self, x: torch.view_as_real(fft.rfft(x))), torch.zeros(1, 4), "position")
    expected = [[1, 0, 1, 0, 1, 0], [1, 0, 0, -1, -1, 0], [1, 0, -1, 0, 1, 0], [1, 0, 0, 1, -1, 0]]
    assert graph.adjacency().toarray()[:4, 4:].tolist() == expected


@pytest.mark.parametrize("period", range(1, 13))
def test_waves_cross_zero_exactly(period):
    cosine, sine = waves(period, period)
    turns = torch.arange(period)[:, None] * torch.arange(period) % period
    assert torch.equal(sine == 0, 2 * turns % period == 0)
    assert torch.equal(cosine == 0, (4 * turns - period) % (2 * period) == 0)


def test_without_weights_too():
    model, shape = CASES["neural operator"]
    with torch.device("meta"):
        hollow = Net(
            neural_operator,
            low=complex_parameter(2, 3, 2, 2),
            high=complex_parameter(2, 3, 2, 2),
            c=nn.Conv2d(2, 3, 1),
        ).double()
    x = torch.randn(shape, dtype=torch.float64)
    graph = dg.from_torch(hollow, x, "position").with_weights(model.double().state_dict())
    torch.testing.assert_close(graph.replay(x), model(x))


def test_complex_inputs_and_outputs_are_refused_with_the_remedy():
    with pytest.raises(dg.InputError, match=r"given torch\.view_as_real"):
        dg.from_torch(Net(lambda self, z: z.abs()), torch.zeros(1, 3, dtype=torch.cfloat))
    with pytest.raises(dg.UnsupportedOperation, match=r"output 0: complex numbers .*return torch\.view_as_real"):
        dg.from_torch(Net(lambda self, x: fft.fft(x)), torch.zeros(1, 3))
    with pytest.raises(dg.UnsupportedOperation, match=r"sqrt.*complex numbers"):
        dg.from_torch(Net(lambda self, x: fft.fft(x).sqrt().abs()), torch.zeros(1, 3))
    with pytest.raises(dg.UnsupportedOperation, match="padded with others than 0"):
        dg.from_torch(Net(lambda self, x: F.pad(fft.fft(x), (1, 1), value=2.0).abs()), torch.zeros(1, 3))
