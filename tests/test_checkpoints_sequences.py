"""Trained networks with attention and recurrence: they load, are traced, replay, and keep their graphs in files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.verify.dependency import check_dependency
from tests.checkpoints import SEQUENCE_CHECKPOINTS, checkpoint_path, images, load_checkpoint, require

each = pytest.mark.parametrize("name", SEQUENCE_CHECKPOINTS)


class Stream(nn.Module):
    """A voice activity detector on several chunks of sound, each with the state after the one before."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, chunks):
        state, probabilities = None, []
        for chunk in chunks.unbind(1):
            probability, state = self.detector(chunk, state)
            probabilities.append(probability)
        return torch.cat(probabilities, 1)


def network(name, samples=2):
    """Give a trained network and samples; the detector of voices hears three chunks."""
    require(name)
    model, (x, _) = load_checkpoint(name), images(name, samples)
    if name == "silero_vad":
        return Stream(model), torch.randn(samples, 3, 576, generator=torch.Generator().manual_seed(1)) * 0.1
    if name == "aminoacid_lstm":
        letters = torch.randint(20, x.shape[:2], generator=torch.Generator().manual_seed(1))
        return model, nn.functional.one_hot(letters, 20).float()
    return model, x


def names(graph):
    return [layer.name for layer in graph.layers]


# --- the networks are those of the weights ---------------------------------------------------------------------------


@torch.inference_mode()
def test_the_vision_transformer_has_the_stated_accuracy():
    require("mnist_vit")
    x, labels = images("mnist_vit", 1000)
    right = (load_checkpoint("mnist_vit")(x).argmax(1) == labels).double().mean().item()
    # The same thousand images as in the statement: only a near tie may fall differently on another machine.
    assert 100 * right == pytest.approx(SEQUENCE_CHECKPOINTS["mnist_vit"].accuracy, abs=0.3)


@torch.inference_mode()
def test_the_detector_hears_no_voice_in_silence_or_noise():
    model, noise = network("silero_vad")
    assert model(torch.zeros_like(noise)).max() < 0.1
    assert model(noise).max() < 0.5


@torch.inference_mode()
def test_the_detector_begins_with_the_transform_that_its_authors_call_it():
    """Its first weights are the cosines and sines of a windowed Fourier transform, so torch's own says the same."""
    require("silero_vad")
    x = torch.randn(2, 640, generator=torch.Generator().manual_seed(0))
    found = load_checkpoint("silero_vad").stft_conv(x[:, None])
    window = torch.hann_window(256)
    expected = torch.stft(x, 256, 128, window=window, center=False, return_complex=True)
    assert torch.allclose(found[:, :129], expected.real, atol=1e-4)
    assert torch.allclose(found[:, 129:].abs(), expected.imag.abs(), atol=1e-4)


@torch.inference_mode()
def test_the_amino_acid_network_prefers_some_letters_to_others_by_what_came_before():
    model, x = network("aminoacid_lstm")
    one, other = model(x).softmax(1)
    assert (one - other).abs().max() > 0.01


# --- their graphs ----------------------------------------------------------------------------------------------------


@each
def test_the_graph_of_a_trained_network_computes_it(name):
    model, x = network(name)
    graph = dg.from_torch(model, x, granularity="position", shared="unfold")
    found = dg.verify(model, graph, x, tolerance=1e-5)
    assert found.ok, found
    assert found.samples == 2


@each
def test_the_channel_graph_has_the_aggregated_weights(name):
    model, x = network(name)
    found = dg.verify(model, dg.from_torch(model, x), x, tolerance=1e-5)
    assert found.ok, found
    assert found.aggregation_error <= 1e-6


@each
def test_every_stored_tensor_is_in_the_graph(name):
    model, x = network(name)
    assert set(dg.from_torch(model, x).parameters()) == set(model.state_dict())


@each
def test_paths_join_what_derivatives_join(name):
    model, x = network(name)
    found = check_dependency(model, dg.from_torch(model, x), x)
    assert found.ok, found
    assert found.spurious == ()


@pytest.mark.parametrize("name", ["aminoacid_lstm", "silero_vad"])
def test_a_folded_recurrent_network_is_as_large_for_every_length(name):
    model, x = network(name)
    short, long = (dg.from_torch(model, part) for part in (x[:, :2], x))
    assert names(short) == names(long)
    assert short.number_of_nodes() == long.number_of_nodes()
    assert short.number_of_edges() == long.number_of_edges()
    assert np.array_equal(dg.strength(short), dg.strength(long))


@pytest.mark.parametrize(("name", "width"), [("aminoacid_lstm", 4 * 60), ("silero_vad", 128)])
def test_the_loops_of_a_folded_network_hold_the_weights_from_hidden_to_hidden(name, width):
    """Four gates of each layer read its hidden neurons, and its cells are kept through the forget gate."""
    model, x = network(name)
    graph = dg.from_torch(model, x)
    recurrent = [links for links in graph.links if links.kind == "recurrent"]
    read = {name for links in recurrent for name in links.weight.parameters()}
    assert read == {name for name in model.state_dict() if "weight_hh" in name}
    learned = [links for links in recurrent if tuple(links.weight.parameters())]
    entries = sum(model.state_dict()[name].count_nonzero().item() for name in read)
    assert sum(links.nnz for links in learned) == entries
    assert sum(links.nnz for links in recurrent) == entries + width  # from each cell to what is kept of it


@pytest.mark.parametrize(("granularity", "scores", "features"), [("channel", 1, 32), ("position", 256, 512)])
def test_queries_and_keys_gate_the_scores_that_gate_the_values(granularity, scores, features):
    """One head with 32 features of 16 tokens: a score for each pair of tokens, a mixture for each token."""
    model, x = network("mnist_vit")
    graph = dg.from_torch(model, x, granularity)
    products = [layer for layer in graph.layers if layer.kind == "product"]
    assert [layer.size for layer in products] == [scores, features]
    assert products[0].activation == "softmax"
    gates = [sum(links.nnz for links in graph.links if links.target is layer) for layer in products]
    if granularity == "channel":
        assert gates == [32 + 32, 32 + 32]  # of a query and a key; of the scores and a value
    else:
        assert gates == [256 * (32 + 32), 512 * (16 + 16)]
    kinds = {links.kind for links in graph.links if links.target in products}
    assert kinds == {"gate"}


# --- files -----------------------------------------------------------------------------------------------------------


@each
def test_weights_are_attached_to_the_architecture_from_their_file(name):
    require(name)
    model = SEQUENCE_CHECKPOINTS[name].build().eval()  # random weights
    x, _ = images(name, 2)
    graph = dg.load(checkpoint_path(name), model=model, example_input=x, shared="unfold")
    found = dg.verify(load_checkpoint(name), graph, x, tolerance=1e-5)
    assert found.ok, found


@each
@pytest.mark.parametrize("kinds", [None, ("weight", "recurrent")])
def test_the_graph_comes_back_from_graphml(name, kinds, tmp_path):
    model, x = network(name)
    graph = dg.from_torch(model, x)
    path = tmp_path / "graph.graphml"
    dg.write_graphml(graph, path, weight="signed", kinds=kinds)
    again = dg.read(path)
    assert names(again) == names(graph)
    assert (again.adjacency() != graph.adjacency(kinds)).nnz == 0
    assert np.array_equal(again.bias(), graph.bias())


@each
def test_the_unrolled_graph_comes_back_from_npz(name, tmp_path):
    model, x = network(name)
    graph = dg.from_torch(model, x, granularity="position", shared="unfold")
    dg.save_npz(graph, tmp_path / "graph.npz")
    again = dg.read(tmp_path / "graph.npz")
    assert again.number_of_edges() == graph.number_of_edges()
    assert (again.adjacency() != graph.adjacency()).nnz == 0
    assert np.array_equal(again.bias(), graph.bias())
