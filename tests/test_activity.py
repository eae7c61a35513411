"""Activations of nodes: numbers by hand, and what forward hooks on the model's own modules see."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dnn2graph as dg
from dnn2graph.activity import activations, coactivation
from dnn2graph.errors import InputError, MemoryBudgetError, ModelError
from dnn2graph.links import Listed
from tests.networks import GRANULARITIES, NETWORKS, mlp_2_2_1
from tests.strategies import fill

STATISTICS = ("mean", "mean_abs", "std", "min", "max", "zeros")


def position_graph(model, *shape, dtype=torch.float32):
    return dg.from_torch(model, torch.zeros(1, *shape, dtype=dtype), granularity="position")


def samples(count, *shape, seed=0, dtype=torch.float64):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seen(model, modules, x):
    """Give what modules return for a batch, as forward hooks see it, in order."""
    found = {}
    handles = [
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
        for name in modules
    ]
    with torch.no_grad():
        model.eval()(x)
    for handle in handles:
        handle.remove()
    return [found[name].double().numpy() for name in modules]


def described(values):
    """Describe values (samples, nodes) with numpy."""
    return {
        "mean": values.mean(0),
        "mean_abs": np.abs(values).mean(0),
        "std": values.std(0),
        "min": values.min(0),
        "max": values.max(0),
        "zeros": (values == 0).mean(0),
    }


# --- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_of_a_network_by_hand():
    graph = position_graph(mlp_2_2_1(), 2)
    found = activations(graph, torch.tensor([[1.0, 1.0], [-1.0, 2.0], [0.0, 0.0]]))
    # hidden 0: relu(1.5 x + 0.25) = 1.75, 0, 0.25; hidden 1: relu(-2 x + 4 y - 0.5) = 1.5, 9.5, 0
    np.testing.assert_allclose(found.mean, [0, 1, 2 / 3, 11 / 3, 3 + 1 / 3 - 11 / 24], rtol=1e-6, atol=1e-12)
    assert found.mean_abs[0] == pytest.approx(2 / 3)
    assert found.std[:2].tolist() == pytest.approx([np.sqrt(2 / 3), np.sqrt(2 / 3)])
    assert found.min.tolist() == [-1, 0, 0, 0, 3 - 9.5 / 8]
    assert found.max.tolist() == [1, 2, 1.75, 9.5, 3 + 1.75 / 2 - 1.5 / 8]
    assert found.zeros.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3, 0])
    assert np.isnan(found.saturated).all()  # ReLU has one bound, the others have none
    assert found.samples == 3
    assert repr(found) == "Activity(5 nodes, 3 samples, 0 dead nodes)"


def test_a_neuron_that_is_never_active_is_dead():
    model = mlp_2_2_1()
    with torch.no_grad():
        model[0].bias[1] = -100
    found = activations(position_graph(model, 2), samples(20, 2, dtype=torch.float32))
    assert np.flatnonzero(found.dead()).tolist() == [3]
    assert found.layer_table()["dead"].tolist() == [0, 1, 0]


def test_saturation_is_closeness_to_one_of_two_bounds():
    for activation, centre, scale in ((nn.Sigmoid(), 0.5, 1.0), (nn.Tanh(), 0.0, 2.0), (nn.ReLU6(), 3.0, 6.0)):
        model = nn.Sequential(nn.Linear(1, 1, bias=False), activation)
        model[0].weight.data.fill_(1.0)
        x = torch.linspace(-9, 9, 101)[:, None]
        y = activation(x).detach().numpy()
        expected = (np.abs(y - centre) >= 0.49 * scale).mean()
        assert 0 < expected < 1
        assert activations(position_graph(model, 1), x).saturated[1] == pytest.approx(expected)


def test_functions_that_have_no_two_bounds_do_not_saturate():
    for activation in (nn.ReLU(), nn.GELU(), nn.LeakyReLU(), nn.Softplus(), nn.PReLU()):
        model = nn.Sequential(nn.Linear(1, 2), activation)
        assert np.isnan(activations(position_graph(model, 1), torch.ones(1, 1)).saturated).all()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_statistics_are_those_of_what_forward_hooks_see(granularity):
    model = fill(NETWORKS["convolutional"](), 0).double()
    x = samples(13, 2, 6, 6)
    graph = dg.from_torch(model, x, granularity=granularity)
    found = activations(graph, DataLoader(x, batch_size=5), model=model)
    names = {"0": "2", "3": "3", "5": "5"}  # layers, and the modules that make their final values
    values = dict(zip(names, seen(model, names.values(), x), strict=True)) | {"input": x.numpy()}
    assert [layer.name for layer in graph.layers] == ["input", *names]
    for layer in graph.layers:
        value = values[layer.name]
        if granularity == "channel" and value.ndim == 4:  # positions are further samples
            value = np.moveaxis(value, 1, -1).reshape(-1, value.shape[1])
        for statistic, expected in described(value.reshape(-1, layer.size)).items():
            mine = getattr(found, statistic)[layer.start : layer.stop]
            np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=1e-12, err_msg=f"{statistic} of {layer.name}")


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_have_the_statistics_of_all_their_positions(name):
    model = fill(NETWORKS[name](), 1).double()
    x = samples(7, 2, 6, 6)
    channels = dg.from_torch(model, x, shared="unfold")
    found = activations(channels, x, model=model)
    unrolled = dg.from_torch(model, x, granularity="position", shared="unfold")
    by_name = {layer.name: layer for layer in unrolled.layers}
    whole = activations(unrolled, x)
    assert found.positions.min() > 0
    for layer in channels.layers:
        other = by_name[layer.name]
        mean = whole.mean[other.start : other.stop].reshape(other.shape)
        axes = tuple(axis for axis in range(mean.ndim) if axis != other.channel_axis)
        expected = mean.mean(axes) if mean.size > layer.size else mean.reshape(-1)
        np.testing.assert_allclose(found.mean[layer.start : layer.stop], expected, rtol=1e-10, atol=1e-12)
        assert found.max[layer.start : layer.stop].max() == whole.max[other.start : other.stop].max()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_streaming_in_any_batches_gives_what_the_whole_gives(granularity):
    model = fill(NETWORKS["residual"](), 2).double()
    x = samples(23, 2, 6, 6) + 1e4  # a large mean: naive sums of squares would lose the deviations
    graph = dg.from_torch(model, x, granularity=granularity, shared="unfold")
    whole = activations(graph, x, model=model)
    for sizes in ([1] * 23, [10, 10, 3], [22, 1]):
        found = activations(graph, x.split(sizes), model=model)
        assert found.samples == 23
        for statistic in STATISTICS:
            np.testing.assert_allclose(getattr(found, statistic), getattr(whole, statistic), rtol=1e-9)


def test_no_batch_is_kept():
    alive = []

    def loader():
        for place in range(6):
            batch = torch.full((3, 2), float(place))
            alive.append(weakref.ref(batch))
            yield batch
            del batch
            assert sum(each() is not None for each in alive) <= 2  # the last one, while the next is read

    graph = position_graph(mlp_2_2_1(), 2)
    assert activations(graph, loader()).samples == 18


def test_parts_of_a_batch_that_fit_into_memory_give_what_the_whole_gives(monkeypatch):
    model = fill(NETWORKS["convolutional"](), 0)
    x = samples(9, 2, 6, 6, dtype=torch.float32)
    graph = position_graph(model, 2, 6, 6)
    whole = activations(graph, x)
    monkeypatch.setattr("dnn2graph.replay.CHUNK_BYTES", 5000)
    np.testing.assert_allclose(activations(graph, x).std, whole.std, rtol=1e-6, atol=1e-9)


def test_a_channel_graph_with_other_weights_is_run_with_those():
    model, trained = fill(NETWORKS["convolutional"](), 0), fill(NETWORKS["convolutional"](), 5)
    x = samples(4, 2, 6, 6, dtype=torch.float32)
    graph = dg.from_torch(model, x).with_weights(trained.state_dict())
    expected = activations(dg.from_torch(trained, x), x, model=trained)
    np.testing.assert_allclose(activations(graph, x, model=model).mean, expected.mean, rtol=1e-5, atol=1e-6)


def test_the_channels_of_a_network_with_constants_and_moved_elements():
    padded = [nn.ConstantPad2d(1, 2.0), nn.Conv2d(2, 3, 3)]
    model = fill(nn.Sequential(*padded, nn.PixelShuffle(1), nn.Flatten(), nn.Linear(48, 2)), 0).double()
    x = samples(6, 2, 4, 4)
    graph = dg.from_torch(model, x)
    found = activations(graph, x, model=model)
    convolved, last = seen(model, ["1", "4"], x)
    conv, linear = graph.layer("1"), graph.layer("4")
    np.testing.assert_allclose(found.mean[conv.start : conv.stop], convolved.mean((0, 2, 3)), rtol=1e-10)
    np.testing.assert_allclose(found.mean[linear.start : linear.stop], last.mean(0), rtol=1e-10)
    (constant,) = [layer for layer in graph.layers if layer.kind == "constant"]
    assert found.mean[constant.start : constant.stop].tolist() == [2.0]


def test_tables_name_layers_and_fluctuation_is_the_deviation_of_means():
    found = activations(position_graph(mlp_2_2_1(), 2), torch.tensor([[1.0, 1.0], [-1.0, 2.0], [0.0, 0.0]]))
    table = found.table()
    assert table.index.name == "node"
    assert table["layer"].tolist() == ["input", "input", "0", "0", "2"]
    assert table["mean"].tolist() == found.mean.tolist()
    layers = found.layer_table()
    assert layers["layer"].tolist() == ["input", "0", "2"]
    assert layers["fluctuation"].tolist() == pytest.approx([0.5, 1.5, 0], abs=1e-6)


# --- loaders ---------------------------------------------------------------------------------------------------------


def test_a_loader_may_be_a_tensor_or_anything_that_gives_batches():
    graph, x, y = position_graph(mlp_2_2_1(), 2), samples(6, 2, dtype=torch.float32), torch.zeros(6)
    expected = activations(graph, x).mean
    loaders = [
        [(x, y)],
        x.split(2),
        [x[:2], x[2:]],
        [(x[:2], y[:2]), [x[2:], y[2:]]],
        DataLoader(TensorDataset(x, y), batch_size=4),
        (x[i : i + 1] for i in range(6)),
    ]
    for loader in loaders:
        np.testing.assert_allclose(activations(graph, loader).mean, expected, rtol=1e-6)


def test_a_network_of_two_inputs_reads_the_first_two_tensors_of_a_batch():
    class Two(nn.Module):
        def forward(self, a, b):
            return a + 2 * b

    graph = dg.from_torch(Two(), (torch.zeros(1, 1), torch.zeros(1, 1)), granularity="position")
    a, b, labels = torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [20.0]]), torch.zeros(2)
    assert activations(graph, [(a, b, labels)]).mean.tolist()[:2] == [2, 15]
    with pytest.raises(InputError, match=r"has 2 inputs, a batch holds 1 tensor"):
        activations(graph, a)


def test_progress_counts_batches():
    graph, x, told = position_graph(mlp_2_2_1(), 2), torch.zeros(4, 2), []
    activations(graph, [x, x], progress=lambda *step: told.append(step))
    activations(graph, iter([x, x]), progress=lambda *step: told.append(step))
    assert told == [(1, 2), (2, 2), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (3, "must be an iterable of batches"),
        ([], "gives no batch"),
        ([{"x": torch.zeros(1, 2)}], "must be a tensor, or a tuple of tensors .* not dict"),
        ([(np.zeros((1, 2)), 1)], "not a tuple of int, ndarray"),
        (torch.zeros(1, 3), r"must have shape \(N, 2\), not \(1, 3\)"),
        ([(torch.zeros(2, 2), torch.zeros(3))], "2 samples and 3 labels"),
    ],
)
def test_what_is_no_batch_is_refused(loader, message):
    with pytest.raises(InputError, match=message):
        activations(position_graph(mlp_2_2_1(), 2), loader)


def test_a_channel_graph_without_its_model_says_what_to_do():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2))
    with pytest.raises(InputError, match=r"pass the model .* or trace or load it with granularity='position'"):
        activations(graph, torch.zeros(1, 2))


def test_a_folded_graph_and_one_from_a_file_are_refused(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(self.layer(x).relu())

    graph = dg.from_torch(Twice(), torch.zeros(1, 2), granularity="position")
    with pytest.raises(InputError, match="shared='unfold'"):
        activations(graph, torch.zeros(1, 2))
    dg.save_npz(position_graph(mlp_2_2_1(), 2), tmp_path / "graph.npz")
    with pytest.raises(InputError, match="read from a file"):
        activations(dg.read(tmp_path / "graph.npz"), torch.zeros(1, 2))


def test_another_model_is_refused():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2))
    with pytest.raises(ModelError, match="no operation that makes the 2 nodes of layer '0'"):
        activations(graph, torch.zeros(1, 2), model=nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))


# --- co-activation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[31], [10, 20, 1], [1] * 31])
def test_coactivation_of_layers_is_numpys_correlation(sizes):
    model = fill(nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(), nn.Linear(6, 3)), 0).double()
    x = samples(31, 4) + 100
    graph = position_graph(model, 4, dtype=torch.float64)
    hidden, last = seen(model, ["1", "2"], x)
    found = coactivation(graph, x.split(sizes), ["0", "2"])
    assert found.index.tolist() == found.columns.tolist() == list(range(4, 13))
    np.testing.assert_allclose(found.to_numpy(), np.corrcoef(np.hstack([hidden, last]).T), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sizes", [[31], [10, 20, 1]])
def test_coactivation_along_edges_is_numpys_correlation_of_their_ends(sizes, monkeypatch):
    monkeypatch.setattr("dnn2graph.activity.together.BLOCK_VALUES", 64)
    model = fill(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), 0).double()
    x = samples(31, 4)
    graph = position_graph(model, 4, dtype=torch.float64)
    found = coactivation(graph, x.split(sizes))
    everything = np.corrcoef(np.hstack([x.numpy(), *seen(model, ["1", "2"], x)]).T)
    pattern = graph.adjacency()
    assert (found.indptr == pattern.indptr).all()
    np.testing.assert_allclose(found.toarray(), np.where(pattern.toarray() != 0, everything, 0), rtol=1e-9, atol=1e-12)


def test_channels_are_correlated_by_their_means_over_positions():
    model = fill(NETWORKS["convolutional"](), 0).double()
    x = samples(12, 2, 6, 6)
    found = coactivation(dg.from_torch(model, x), x.split(5), "0", model=model)
    (values,) = seen(model, ["2"], x)
    np.testing.assert_allclose(found.to_numpy(), np.corrcoef(values.mean((2, 3)).T), rtol=1e-9, atol=1e-12)


def test_what_does_not_vary_has_no_correlation():
    found = coactivation(position_graph(mlp_2_2_1(), 2), torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "input").to_numpy()
    assert np.isnan(found).tolist() == [[True, True], [True, False]]


def test_coactivation_keeps_to_a_memory_budget():
    graph = position_graph(mlp_2_2_1(), 2)
    for layers in (["input", "0"], None):
        with pytest.raises(MemoryBudgetError, match=r"the budget is 10 B: choose fewer"):
            coactivation(graph, torch.zeros(1, 2), layers, memory=10)
    with pytest.raises(InputError, match="no layer 'hidden'"):
        coactivation(graph, torch.zeros(1, 2), "hidden")
    with pytest.raises(InputError, match="no layer is named"):
        coactivation(graph, torch.zeros(1, 2), [])


def test_a_sparse_graph_is_run_with_the_edges_that_it_keeps():
    graph = position_graph(mlp_2_2_1(), 2)
    kept = dg.sparsify(graph, max_edges=1)  # the edge of weight 4 from input 1 to hidden 1
    assert isinstance(kept.links[0].map, Listed)
    found = activations(kept, torch.tensor([[1.0, 1.0]]))
    assert found.mean.tolist() == [1, 1, 0.25, 3.5, 3]
    assert found.mean.tolist() == activations(replace(kept), torch.tensor([[1.0, 1.0]])).mean.tolist()
