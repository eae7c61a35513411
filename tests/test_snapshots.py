"""The weights of edges at every step of a training, as GEXF files hold them."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.audit import audit
from dnn2graph.export import snapshots as module
from dnn2graph.export.snapshots import Snapshots
from tests.commands import enter_folder, fails, runner_of
from tests.memory import peak_of
from tests.networks import NETWORKS, by_hand, every_network, mlp_2_2_1, traced
from tests.strategies import fill
from tests.test_gexf import GEXF, parsed, run_of, timed_values
from tests.test_readers import graphology  # noqa: F401

STEPS = (0, 10, 200)
DIALECTS = pytest.mark.parametrize("weight", ["abs", "signed"])


@pytest.fixture
def path(tmp_path):
    """Give the path of a file in an empty folder."""
    return tmp_path / "graph.gexf"


def training_of(network):
    """Give the graph of a network at the last of some steps, and its weights at each of them, some of them zero."""
    name, granularity = network.split("-")
    graph = traced(NETWORKS[name](), 2, 6, 6, granularity=granularity, seed=len(STEPS) - 1)
    return graph, {step: pruned(NETWORKS[name](), seed) for seed, step in enumerate(STEPS)}


def pruned(model, seed):
    """Fill a model from a seed and set some of its kernels to zero, others each time; give its state dict."""
    weights = {name: value.clone() for name, value in fill(model, seed).state_dict().items()}
    chance = torch.Generator().manual_seed(seed)
    for value in weights.values():
        if value.dim() > 1:
            value[torch.rand(value.shape[:2], generator=chance) < 0.3] = 0
            if len(value) > 1:
                value[seed % len(value)] = 0  # all that one channel reads
    return weights


def values_of(edge):
    """Read the values of an edge that change: {(name, time): text}."""
    found = [value for value in edge.iter(f"{GEXF}attvalue") if value.get("timestamp") is not None]
    return {(value.get("for"), float(value.get("timestamp"))): value.get("value") for value in found}


def matrices_of(path, size, name, dtype=np.float32):
    """Read the adjacency matrix of every step, and the one without a step."""
    ends, columns = [], {}
    for edge in parsed(path).iter(f"{GEXF}edge"):
        ends.append((int(edge.get("source")), int(edge.get("target"))))
        for (what, step), value in values_of(edge).items():
            if what == name:
                columns.setdefault(step, []).append(dtype(value))
    sources, targets = np.array(ends).T
    return {
        step: scipy.sparse.csr_array((np.array(values), (sources, targets)), shape=(size, size))
        for step, values in columns.items()
    }


def same(found, expected):
    """Assert that two matrices are the same, bit for bit; zeros may be written out."""
    found.eliminate_zeros()
    expected.sort_indices()
    found.sort_indices()
    assert found.indptr.tolist() == expected.indptr.tolist()
    assert found.indices.tolist() == expected.indices.tolist()
    assert found.data.tobytes() == expected.data.tobytes()


# ---------------------------------------------------------------------- what stands in the file


@DIALECTS
@every_network
def test_every_step_is_the_matrix_of_its_weights(network, weight, path):
    graph, training = training_of(network)
    dg.write_gexf(graph, path, weight=weight, snapshots=training)
    found = matrices_of(path, len(graph), "weight" if weight == "signed" else "signed_weight")
    assert list(found) == [0.0, 10.0, 200.0]
    for step, weights in training.items():
        same(found[step], graph.with_weights(weights).adjacency())
    if weight == "abs":
        for step, matrix in matrices_of(path, len(graph), "weight").items():
            assert (matrix != abs(found[step])).nnz == 0


@every_network
def test_edges_are_those_of_any_step_and_their_look_that_of_the_last_weight_that_is_not_zero(network, path):
    graph, training = training_of(network)
    dg.write_gexf(graph, path, snapshots=training)
    matrices = [graph.with_weights(weights).adjacency().toarray() for weights in training.values()]
    expected = {}
    for matrix in matrices:
        for source, target in np.argwhere(matrix).tolist():
            expected[source, target] = matrix[source, target]
    found = {(int(e.get("source")), int(e.get("target"))): e for e in parsed(path).iter(f"{GEXF}edge")}
    assert found.keys() == expected.keys()
    assert len(expected) > np.count_nonzero(matrices[-1])  # some are pruned at the last step
    for ends, edge in found.items():
        assert np.float32(edge.get("weight")) == abs(expected[ends])
        sign = next(each.get("value") for each in edge.iter(f"{GEXF}attvalue") if each.get("for") == "sign")
        assert int(sign) == np.sign(expected[ends])
        assert len(values_of(edge)) == 2 * len(STEPS)


def test_an_edge_by_hand(path):
    graph, other = by_hand(), mlp_2_2_1()
    with torch.no_grad():
        other[0].weight.copy_(torch.tensor([[-0.5, 3.0], [0.0, 1.0]]))
    dg.write_gexf(graph, path, snapshots={7: mlp_2_2_1().state_dict(), 5: other.state_dict()})
    lines = [line for line in path.read_text().splitlines() if line.startswith("<edge ")]
    assert len(lines) == 6
    assert lines[1] == (
        '<edge source="0" target="3" weight="2.0"><attvalues>'
        '<attvalue for="weight" value="0.0" timestamp="5.0"/>'
        '<attvalue for="signed_weight" value="0.0" timestamp="5.0"/>'
        '<attvalue for="weight" value="2.0" timestamp="7.0"/>'
        '<attvalue for="signed_weight" value="-2.0" timestamp="7.0"/>'
        '<attvalue for="sign" value="-1"/><attvalue for="kind" value="weight"/></attvalues>'
        '<viz:color r="178" g="24" b="43"/></edge>'
    )
    dg.write_gexf(graph, path, snapshots={5: other.state_dict(), 7: mlp_2_2_1().state_dict()}, weight="signed")
    assert (  # from input 1 to hidden 0: no edge at the last step
        '<edge source="1" target="2" weight="3.0"><attvalues><attvalue for="weight" value="3.0" timestamp="5.0"/>'
        '<attvalue for="weight" value="0.0" timestamp="7.0"/><attvalue for="kind" value="weight"/></attvalues></edge>\n'
    ) in path.read_text()


@DIALECTS
@every_network
def test_a_flat_file_has_a_column_of_weights_for_every_step(network, weight, path):
    graph, training = training_of(network)
    dg.write_gexf(graph, path, weight=weight, snapshots=training, flat=True)
    parsed(path)
    found = nx.read_gexf(path, node_type=int)
    for step, weights in training.items():
        expected = graph.with_weights(weights).adjacency()
        column = f"weight_{step}" if weight == "signed" else f"signed_weight_{step}"
        matrix = nx.to_scipy_sparse_array(found, range(len(graph)), np.float32, column)
        same(matrix, expected.copy())
        if weight == "abs":
            sizes = nx.to_scipy_sparse_array(found, range(len(graph)), np.float32, f"weight_{step}")
            assert (sizes != abs(expected)).nnz == 0


def test_gephi_lite_shows_the_last_step_or_all_columns(graphology, path):  # noqa: F811
    graph, training = training_of("residual-channel")
    expected = graph.with_weights(training[200]).adjacency()
    for flat, name in ((False, "signed_weight"), (True, "signed_weight_200")):
        dg.write_gexf(graph, path, snapshots=training, flat=flat)
        edges = graphology(path)["edges"]
        values = [edge["attributes"][name] for edge in edges]
        ends = [int(edge["source"]) for edge in edges], [int(edge["target"]) for edge in edges]
        same(scipy.sparse.csr_array((np.array(values, np.float32), ends), shape=expected.shape), expected.copy())


def test_weights_of_an_edge_that_several_elements_make_are_their_sum_at_every_step(path):
    torch.manual_seed(0)
    models = [nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect") for _ in range(3)]
    graph = dg.from_torch(models[-1], torch.zeros(1, 1, 4, 4), granularity="position")
    assert any(links.source_nodes.has_repeats for links in graph.links)
    with torch.no_grad():
        models[0].weight[:, :, 0] = 0
    dg.write_gexf(graph, path, snapshots=dict(enumerate(model.state_dict() for model in models)))
    found = matrices_of(path, len(graph), "signed_weight")
    for step, model in enumerate(models):
        same(found[step], graph.with_weights(model.state_dict()).adjacency())


def test_a_backbone_keeps_its_edges_at_every_step(path):
    graph, training = training_of("residual-position")
    backbone = dg.sparsify(graph.with_weights(training[200]), 40)
    dg.write_gexf(backbone, path, snapshots=training, isolated="drop")
    found = matrices_of(path, len(graph), "signed_weight")
    kept = backbone.adjacency() != 0
    for step, weights in training.items():
        same(found[step], graph.with_weights(weights).adjacency().multiply(kept).tocsr())
    shown = [int(node.get("id")) for node in parsed(path).iter(f"{GEXF}node")]
    assert shown == np.flatnonzero(~backbone.isolated()).tolist()


def test_a_node_is_isolated_if_it_has_no_edge_at_any_step(path):
    early, late = mlp_2_2_1(), mlp_2_2_1()
    with torch.no_grad():
        early[0].weight.zero_()[0, 1] = 1.0
        late[0].weight.zero_()
        for model in (early, late):
            model[2].weight.copy_(torch.tensor([[0.0, 1.0]]))
    dg.write_gexf(by_hand(), path, snapshots={1: early.state_dict(), 2: late.state_dict()}, isolated="drop")
    assert [int(node.get("id")) for node in parsed(path).iter(f"{GEXF}node")] == [1, 2, 3, 4]


def test_precision_is_that_asked_for(path):
    graph = dg.from_torch(nn.Linear(5, 4).double(), torch.zeros(1, 5, dtype=torch.float64))
    tiny = {name: value * 1e-60 for name, value in graph.weights.items()}
    tiny["weight"][0, 0] = 0
    for precision, dtype in ((None, np.float64), ("float32", np.float32)):
        dg.write_gexf(graph, path, snapshots={0: dict(graph.weights), 1: tiny}, precision=precision)
        found = matrices_of(path, len(graph), "signed_weight", dtype)
        same(found[0], graph.adjacency().astype(dtype))
        assert found[1].count_nonzero() == 19  # too small for float32, they stay edges; a zero is none
    same(matrices_of(path, len(graph), "signed_weight")[0], graph.adjacency().astype(np.float32))


def test_only_the_kinds_asked_for_are_written(path):
    graph, training = training_of("residual-channel")
    dg.write_gexf(graph, path, snapshots=training, kinds=["weight"])
    for step, matrix in matrices_of(path, len(graph), "signed_weight").items():
        same(matrix, graph.with_weights(training[int(step)]).adjacency(["weight"]))


# ---------------------------------------------------------------------- nodes


@every_network
def test_nodes_have_the_strengths_of_every_step(network, path):
    graph, training = training_of(network)
    dg.write_gexf(graph, path, snapshots=training)
    found = timed_values(path)
    for step, weights in training.items():
        at = graph.with_weights(weights)
        for name, direction in (("strength", "total"), ("strength_in", "in"), ("strength_out", "out")):
            values = [found[node, name, float(step)] for node in range(len(graph))]
            np.testing.assert_allclose(values, dg.strength(at, direction), rtol=1e-12, atol=1e-12)
    dg.write_gexf(graph, path, snapshots=training, measures="strength")
    assert {name for _, name, _ in timed_values(path)} == {"strength"}


def test_what_a_run_recorded_goes_before_the_strengths_of_the_edges(path):
    graph, training = training_of("convolutional-channel")
    run = run_of(graph, {3: range(len(graph))})
    dg.write_gexf(graph, path, run, snapshots=training)
    assert set(timed_values(path)) == {(node, "strength", 3.0) for node in range(len(graph))}
    assert list(matrices_of(path, len(graph), "weight")) == [0.0, 10.0, 200.0]


def test_nothing_is_lost_on_the_readers_that_know_time(path):
    graph, training = training_of("residual-channel")
    for flat in (False, True):
        dg.write_gexf(graph, path, snapshots=training, flat=flat)
        found = audit(path)
        assert not found.of("loss")
        assert found.edges == Snapshots(graph, training).number_of_edges()


# ---------------------------------------------------------------------- where weights come from


def test_weights_come_from_all_that_holds_them(tmp_path):
    torch.manual_seed(1)
    models = [nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)) for _ in range(7)]
    graph = dg.from_torch(models[-1], torch.zeros(1, 4))
    states = [model.state_dict() for model in models]
    torch.save({"state_dict": {f"module.{name}": value for name, value in states[1].items()}}, tmp_path / "a.pt")
    torch.save(states[2], tmp_path / "b.pth")
    given = {
        0: states[0],
        1: tmp_path / "a.pt",
        2: str(tmp_path / "b.pth"),
        3: models[3],
        4: dg.from_torch(models[4], torch.zeros(1, 4)),
        5: lambda: states[5],
        6: lambda: models[6],
    }
    found = Snapshots(graph, given)
    assert found.steps == tuple(range(7))
    for step, weights in enumerate(states):
        assert (found.at(step).adjacency() != graph.with_weights(weights).adjacency()).nnz == 0


def test_snapshots_are_read_one_after_the_other_and_not_held(path):
    model = nn.Sequential(nn.Linear(60, 50), nn.ReLU(), nn.Linear(50, 10))
    graph = dg.from_torch(model, torch.zeros(1, 60))
    backbone, alive, most = dg.sparsify(graph, 100), weakref.WeakSet(), []

    def read(seed):
        weights = fill(nn.Sequential(nn.Linear(60, 50), nn.ReLU(), nn.Linear(50, 10)), seed).state_dict()
        weights = {name: value.clone() for name, value in weights.items()}
        alive.add(weights["0.weight"])
        gc.collect()
        most.append(len(alive))
        return weights

    dg.write_gexf(backbone, path, snapshots={seed: lambda seed=seed: read(seed) for seed in range(5)})
    assert len(most) == 10  # once to check them all before anything is written, once to write
    assert max(most) <= 2  # the one before is let go when the next one is there


def test_snapshots_are_read_anew_for_links_that_do_not_fit_in_memory_together(path, monkeypatch):
    graph, training = training_of("residual-position")
    dg.write_gexf(graph, path, snapshots=training)
    whole, calls = path.read_bytes(), []
    monkeypatch.setattr(module, "TOGETHER", 1)
    counted = {step: lambda step=step: calls.append(step) or training[step] for step in training}
    dg.write_gexf(graph, path, snapshots=counted)
    assert path.read_bytes() == whole
    assert len(calls) == len(training) * (1 + len(graph.links))


def test_the_size_of_blocks_changes_nothing(path, monkeypatch):
    graph, training = training_of("convolutional-position")
    dg.write_gexf(graph, path, snapshots=training)
    edges = sorted(line for line in path.read_text().splitlines() if line.startswith("<edge "))
    monkeypatch.setattr(module, "BLOCK", 64)
    dg.write_gexf(graph, path, snapshots=training)
    assert sorted(line for line in path.read_text().splitlines() if line.startswith("<edge ")) == edges


def test_memory_holds_the_kernels_of_all_steps_and_little_more(path):
    graph = dg.from_torch(nn.Sequential(nn.Linear(1000, 400), nn.ReLU()), torch.zeros(1, 1000))
    shapes = {name: value.shape for name, value in graph.weights.items()}

    def weights(step):
        chance = torch.Generator().manual_seed(step)
        return {name: torch.randn(shape, generator=chance) for name, shape in shapes.items()}

    dg.write_gexf(by_hand(), path, snapshots={0: mlp_2_2_1().state_dict()})  # pays for imports
    snapshots = {step: lambda step=step: weights(step) for step in range(5)}
    _, peak = peak_of(dg.write_gexf, graph, path, snapshots=snapshots)
    assert path.stat().st_size > 200e6
    assert peak < 20e6  # torch's memory, 1.6 MB for each step, is not traced


@every_network
def test_progress_counts_nodes_and_pairs_of_nodes(network, path):
    (graph, training), calls = training_of(network), []
    dg.write_gexf(graph, path, snapshots=training, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    pairs = sum(int(links.map.row_counts().sum()) for links in graph.links)
    assert calls[-1] == (len(graph) + pairs,) * 2


def test_equal_trainings_make_equal_files(tmp_path):
    graph, training = training_of("separable-position")
    for name, given in (("a", training), ("b", dict(reversed(training.items())))):
        dg.write_gexf(graph, tmp_path / f"{name}.gexf", snapshots=given)
    assert (tmp_path / "a.gexf").read_bytes() == (tmp_path / "b.gexf").read_bytes()


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda given: given.clear(), dg.InputError, "there is no snapshot: give one at least"),
        (lambda given: given.update({0.5: given[1]}), dg.InputError, "the step 0.5, which is no whole number"),
        (lambda given: given.update({2: 3.0}), dg.InputError, "snapshot 2 is a float: give a state dict"),
        (lambda given: given.update({2: "missing.pt"}), dg.LoadError, "'missing.pt' does not exist"),
        (lambda given: given.update({2: {}}), dg.WeightsError, "snapshot 2: it holds none of the graph's parameters"),
        (lambda given: given[2].pop("0.weight"), dg.WeightsError, "snapshot 2: '0.weight' is in some snapshots only"),
        (
            lambda given: given[2].update({"0.weight": torch.zeros(2, 3)}),
            dg.WeightsError,
            r"snapshot 2: these weights do not fit the graph: 0.weight is \(2, 3\) instead of \(2, 2\)",
        ),
        (
            lambda given: given[2].update({"2.weight": torch.tensor([[1.0, torch.nan]])}),
            dg.WeightsError,
            "snapshot 2: layer '2' has 1 non-finite weight",
        ),
    ],
)
def test_snapshots_that_do_not_fit_are_named_before_a_file_is_touched(change, error, message, path):
    given = {step: dict(mlp_2_2_1().state_dict()) for step in (1, 2)}
    change(given)
    graph = by_hand()
    path.write_text("old")
    with pytest.raises(error, match=message):
        dg.write_gexf(graph.with_weights(mlp_2_2_1().state_dict()), path, snapshots=given)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_snapshot_that_is_gone_when_it_is_written_leaves_the_old_file(path):
    path.write_text("old")
    times = []

    def once():
        times.append(1)
        if len(times) > 1:
            raise dg.LoadError("'b.pt' does not exist")
        return mlp_2_2_1().state_dict()

    with pytest.raises(dg.LoadError, match="does not exist"):
        dg.write_gexf(by_hand(), path, snapshots={1: mlp_2_2_1().state_dict(), 2: once})
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_graph_from_a_file_has_no_other_weights(tmp_path):
    dg.save_npz(by_hand(), tmp_path / "net.npz")
    with pytest.raises(dg.InputError, match="numbers for weights, not parameters to exchange"):
        dg.write_gexf(dg.read(tmp_path / "net.npz"), tmp_path / "a.gexf", snapshots={1: mlp_2_2_1().state_dict()})


def test_measures_that_snapshots_have_not_are_named(path):
    with pytest.raises(dg.InputError, match="snapshots have no node measure 'loss': they have strength"):
        dg.write_gexf(by_hand(), path, snapshots={1: mlp_2_2_1().state_dict()}, measures=["loss"])


# ---------------------------------------------------------------------- on the command line

run = runner_of("export")


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Work in a folder with the checkpoints of a training; give their state dicts."""
    enter_folder(tmp_path, monkeypatch)
    found = {}
    for seed, epoch in enumerate((9, 10, 100)):
        found[epoch] = pruned(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)), seed)
        torch.save(found[epoch], f"epoch_{epoch}.pt")
    return found


FILES = ("epoch_10.pt", "epoch_100.pt", "epoch_9.pt")  # as a shell lists them


def test_the_command_writes_checkpoints_as_a_graph_that_changes(checkpoints):
    result = run(*FILES, "-o", "training.gexf")
    assert (result.exit_code, result.stderr) == (0, "")
    graph = dg.load("epoch_100.pt")
    found = matrices_of(Path("training.gexf"), len(graph), "signed_weight")
    assert list(found) == [9, 10, 100]
    for epoch, matrix in found.items():
        same(matrix, dg.load(f"epoch_{int(epoch)}.pt").adjacency())
    edges = Snapshots(graph, {epoch: dg.load(f"epoch_{epoch}.pt") for epoch in checkpoints}).number_of_edges()
    assert f"wrote training.gexf: {len(graph)} nodes at 3 steps, {edges} edges, " in result.stdout
    assert edges > graph.number_of_edges()
    found = json.loads(run(*FILES, "-o", "training.gexf", "--json").stdout)
    assert (found["steps"], found["edges"]) == (3, edges)


@pytest.mark.usefixtures("checkpoints")
def test_the_command_shows_the_backbone_of_the_last_step_at_all_steps():
    result = run(*FILES, "-o", "training.gexf", "--max-edges", 10, "--drop-isolated", "--flat")
    assert result.exit_code == 0, result.output
    assert "kept 10 of " in result.stderr
    backbone = dg.sparsify(dg.load("epoch_100.pt"), 10)
    found = nx.read_gexf("training.gexf", node_type=int)
    assert list(found) == np.flatnonzero(~backbone.isolated()).tolist()
    kept = backbone.adjacency()
    assert set(found.edges()) == set(zip(*(each.tolist() for each in kept.nonzero()), strict=True))
    for epoch in (9, 10, 100):
        whole = dg.load(f"epoch_{epoch}.pt").adjacency()
        for source, target, value in found.edges(data=f"signed_weight_{epoch}"):
            assert np.float32(value) == whole[source, target]
    assert f"left out {len(kept.indptr) - 1 - len(found)} of " in result.stderr


@pytest.mark.usefixtures("checkpoints")
def test_steps_are_those_given_or_counted_and_said():
    run(*FILES, "-o", "training.gexf", "--steps", "3,1,2")
    assert list(matrices_of(Path("training.gexf"), 23, "weight")) == [1, 2, 3]
    for name, source in (("a.pt", FILES[0]), ("b.pt", FILES[1])):
        Path(name).write_bytes(Path(source).read_bytes())
    result = run("a.pt", "b.pt", "-o", "training.gexf")
    assert result.exit_code == 0, result.output
    assert "counted from 0 in natural order" in result.stderr
    assert list(matrices_of(Path("training.gexf"), 23, "weight")) == [0, 1]


@pytest.mark.usefixtures("checkpoints")
@pytest.mark.parametrize(
    ("args", "part"),
    [
        ([*FILES, "-o", "net.graphml"], "cannot write several models to 'net.graphml': GraphML knows no time"),
        ([FILES[0], "-o", "net.gexf", "--steps", "1"], "--steps is about several models"),
        ([*FILES, "-o", "net.gexf", "--steps", "1,2"], "--steps has 2 numbers for 3 files"),
        ([*FILES, "-o", "net.gexf", "--steps", "1,2,2"], "give a different number"),
        ([FILES[0], "missing_1.pt", "-o", "net.gexf"], "'missing_1.pt' does not exist"),
    ],
)
def test_what_cannot_be_is_one_line_and_no_file(args, part):
    fails(run(*args), part)
    assert not list(Path().glob("net*"))


@pytest.mark.usefixtures("checkpoints")
def test_a_checkpoint_of_another_network_is_named():
    torch.save(nn.Linear(12, 4).state_dict(), "epoch_11.pt")
    fails(run("epoch_11.pt", "epoch_100.pt", "-o", "net.gexf"), "'epoch_11.pt' is of another network than")
    assert not Path("net.gexf").exists()
