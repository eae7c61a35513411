"""Recording a run: values, files that survive whatever happens, and reading them back."""

import operator
import os
import pickle
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.dynamics import Recorder, read_run, recorded_runs, recorded_steps
from dnn2graph.dynamics.measures import MEASURES
from tests.networks import GRANULARITIES, by_hand, convolutional, mlp_2_2_1, residual, traced, with_parallel_links

REPOSITORY = Path(__file__).parents[1]
COLUMNS = ["run", "step", "layer", "node", "measure", "value"]


def values(table, measure):
    return table.loc[table["measure"] == measure, "value"].to_numpy()


def train(model, *shape, steps):
    """Train on random data and yield after each step."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(8, *shape, generator=generator)).square().mean().backward()
        optimizer.step()
        yield


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_snapshot_holds_the_measures_as_worked_out_by_hand(tmp_path):
    recorder = Recorder(by_hand(), tmp_path, measures=MEASURES)
    assert recorder.step(mlp_2_2_1(), accuracy=0.75) is True
    table = read_run(tmp_path)
    assert list(table.columns) == COLUMNS
    assert set(table["run"]) == {"run"}
    assert set(table["step"]) == {0}
    # weights: inputs 0, 1 to hidden 2, 3: [[1.5, 0], [-2, 4]]; hidden to output 4: [0.5, -0.125]
    assert values(table, "strength").tolist() == [-0.5, 4.0, 2.0, 1.875, 0.375]
    assert values(table, "strength_in").tolist() == [0.0, 0.0, 1.5, 2.0, 0.375]
    assert values(table, "strength_out").tolist() == [-0.5, 4.0, 0.5, -0.125, 0.0]
    assert values(table, "strength_abs").tolist() == [3.5, 4.0, 2.0, 6.125, 0.625]
    assert values(table, "fluctuation").tolist() == [2.25, 0.0625, 0.0]
    assert values(table, "link_weight_mean").tolist() == pytest.approx([3.5 / 3, 0.1875], rel=1e-15)
    assert values(table, "link_weight_min").tolist() == [-2.0, -0.125]
    assert values(table, "link_weight_l1").tolist() == [7.5, 0.625]
    assert values(table, "accuracy").tolist() == [0.75]


def test_rows_say_to_which_layer_and_node_they_belong(tmp_path):
    Recorder(by_hand(), tmp_path, measures=("strength", "fluctuation", "link_weights")).step(mlp_2_2_1(), loss=2.0)
    table = read_run(tmp_path).astype({"node": object}).replace({np.nan: None})
    rows = {name: [*zip(rows["layer"], rows["node"], strict=True)] for name, rows in table.groupby("measure")}
    assert rows["strength"] == [("input", 0), ("input", 1), ("0", 2), ("0", 3), ("2", 4)]
    assert rows["fluctuation"] == [("input", None), ("0", None), ("2", None)]
    assert rows["link_weight_kurtosis"] == [("0", None), ("2", None)]
    assert rows["loss"] == [(None, None)]


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(("build", "shape"), [(convolutional, (2, 6, 6)), (residual, (2, 6, 6))])
def test_recorded_values_are_those_of_the_saved_checkpoints(tmp_path, build, shape, granularity):
    model = build()
    graph = traced(model, *shape, granularity=granularity)
    recorder, saved = Recorder(graph, tmp_path / "run", every=2, measures=MEASURES), {}
    for step, _ in enumerate(train(model, *shape, steps=7)):
        if recorder.step(model):
            saved[step] = {name: value.clone() for name, value in model.state_dict().items()}
    assert list(saved) == [0, 2, 4, 6]
    table = read_run(tmp_path / "run")
    for step, weights in saved.items():
        fresh = traced(build(), *shape, granularity=granularity).with_weights(weights)
        rows = table[table["step"] == step]
        expected = {
            "strength": dg.strength(fresh),
            "strength_in": dg.strength(fresh, "in"),
            "strength_out": dg.strength(fresh, "out"),
            "strength_abs": dg.strength(fresh, weight="abs"),
            "fluctuation": dg.fluctuation(fresh),
        }
        links = dg.link_weights(fresh).drop_duplicates("target", keep=False).set_index("target")
        single = rows[rows["layer"].isin(links.index)]
        expected_links = {f"link_weight_{name}": links[name].to_numpy(float) for name in links.columns[2:-1]}
        for name, array in expected.items():
            np.testing.assert_allclose(values(rows, name), array, rtol=1e-12, atol=1e-12, err_msg=name)
        for name, array in expected_links.items():
            np.testing.assert_allclose(values(single, name), array, rtol=1e-12, atol=1e-12, err_msg=name)


def test_the_edges_of_all_links_into_a_layer_are_one_sample(tmp_path):
    graph = with_parallel_links(by_hand(), 10.0)
    Recorder(graph, tmp_path / "all", measures="link_weights").step(mlp_2_2_1())
    table = read_run(tmp_path / "all")
    sample = np.array([1.5, -2, 4, 15, -20, 40])
    assert values(table, "link_weight_mean")[0] == pytest.approx(sample.mean(), rel=1e-15)
    assert values(table, "link_weight_std")[0] == pytest.approx(sample.std(), rel=1e-15)
    assert values(table, "link_weight_l1").tolist() == [82.5, 0.625]
    Recorder(graph, tmp_path / "weight", measures="link_weights", kinds="weight").step(mlp_2_2_1())
    assert values(read_run(tmp_path / "weight"), "link_weight_max").tolist() == [4.0, 0.5]


def test_kinds_say_which_links_strengths_count(tmp_path):
    graph = with_parallel_links(by_hand(), 10.0)
    Recorder(graph, tmp_path, kinds=("unit",)).step(mlp_2_2_1())
    assert values(read_run(tmp_path), "strength").tolist() == [-5.0, 40.0, 15.0, 20.0, 0.0]


def test_measures_of_the_user_are_told_apart_by_their_number_of_values(tmp_path):
    graph = by_hand()
    measures = {
        "degree": lambda g: torch.arange(5),
        "depth": lambda g: [0, 1, 2],
        "sum": lambda g: g.adjacency().sum(),
        "strength": dg.strength,
        "layers": MEASURES["fluctuation"],
    }
    Recorder(graph, tmp_path, measures=measures).step(mlp_2_2_1())
    table = read_run(tmp_path)
    assert values(table, "degree").tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert values(table, "sum").tolist() == [3.875]
    assert table.loc[table["measure"] == "depth", "layer"].tolist() == ["input", "0", "2"]
    assert table.loc[table["measure"] == "degree", "node"].tolist() == [0, 1, 2, 3, 4]
    assert values(table, "fluctuation").tolist() == [2.25, 0.0625, 0.0]
    np.testing.assert_array_equal(values(table, "strength"), dg.strength(graph))
    with pytest.raises(dg.InputError, match=r"'odd' gave an array of shape \(4,\).* 5 nodes.* 3 layers"):
        Recorder(graph, tmp_path, measures={"odd": lambda g: np.zeros(4)}).step(mlp_2_2_1())


def test_scalars_may_be_numbers_of_any_library(tmp_path):
    loss = torch.tensor([0.5], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recorder(by_hand(), tmp_path, measures=()).step(
            mlp_2_2_1(), 3, loss=loss, accuracy=np.float32(0.25), epoch=np.int64(7), best=True
        )
    table = read_run(tmp_path)
    assert table[["measure", "value"]].to_numpy().tolist() == [
        ["loss", 0.5], ["accuracy", 0.25], ["epoch", 7.0], ["best", 1.0]
    ]  # fmt: skip
    assert table["layer"].isna().all()
    assert table["node"].isna().all()


@pytest.mark.parametrize("value", ["high", torch.zeros(2), None])
def test_scalars_that_are_no_numbers_are_refused(tmp_path, value):
    with pytest.raises(dg.InputError, match=r"scalar 'accuracy' is .*no number"):
        Recorder(by_hand(), tmp_path).step(mlp_2_2_1(), accuracy=value)
    with pytest.raises(dg.InputError, match="scalar 'strength' is named as a measure"):
        Recorder(by_hand(), tmp_path).step(mlp_2_2_1(), strength=1.0)


# --- the model that is recorded --------------------------------------------------------------------------------------


def test_no_weights_are_copied(tmp_path):
    model, seen = convolutional(), {}

    def places(graph):
        seen.update({name: tensor.data_ptr() for name, tensor in graph.weights.items()})
        return 0.0

    graph = traced(convolutional(), 2, 6, 6)
    Recorder(graph, tmp_path, measures={"places": places}).step(model)
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert {name: tensor.data_ptr() for name, tensor in own.items()} == seen


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda m: nn.DataParallel(torch.compile(m)),
                                  operator.methodcaller("state_dict")])  # fmt: skip
def test_what_wrappers_put_before_names_does_not_matter(tmp_path, wrap):
    graph = by_hand()
    other = mlp_2_2_1()
    with torch.no_grad():
        other[0].weight.mul_(2)
    Recorder(graph, tmp_path).step(wrap(other))
    assert values(read_run(tmp_path), "strength").tolist() == [-1.0, 8.0, 3.5, 3.875, 0.375]


def test_a_model_without_the_graphs_parameters_is_refused(tmp_path):
    with pytest.raises(dg.WeightsError, match=r"2\.weight is missing"):
        Recorder(by_hand(), tmp_path).step(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(dg.InputError, match="no snapshot"):
        read_run(tmp_path)


def test_weights_that_are_not_finite_do_not_stop_a_training(tmp_path):
    model = mlp_2_2_1()
    recorder = Recorder(by_hand(), tmp_path, measures=[*MEASURES])
    own = Recorder(by_hand(), tmp_path, measures={"mine": dg.strength}, run="own")
    recorder.step(model)
    with torch.no_grad():
        model[0].weight[1, 0] = torch.nan
    with pytest.warns(RuntimeWarning, match=r"step 1 of run 'run': layer '0' has 1 non-finite weight.*NaN") as caught:
        recorder.step(model, accuracy=0.5)
    assert caught[0].filename == __file__
    recorder.step(model)  # it is said once
    with pytest.warns(RuntimeWarning, match="run 'own'"):
        own.step(model, accuracy=0.5)
    table = read_run(tmp_path, runs="run")
    first, second = table[table["step"] == 0], table[table["step"] == 1]
    assert first["value"].notna().sum() > 20
    measured = second["measure"] != "accuracy"
    assert second.loc[measured, ["layer", "node", "measure"]].equals(
        first[["layer", "node", "measure"]].set_index(second.index[measured])
    )
    assert second.loc[measured, "value"].isna().all()
    assert values(second, "accuracy").tolist() == [0.5]
    assert read_run(tmp_path, runs="own")["measure"].tolist() == ["accuracy"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_model_on_cuda_is_recorded_there(tmp_path):
    model = convolutional()
    graph = traced(model, 2, 6, 6, granularity="position")
    Recorder(graph, tmp_path / "cpu", measures=MEASURES).step(model)
    model = model.cuda()
    graph = dg.from_torch(model, torch.zeros(1, 2, 6, 6, device="cuda"), granularity="position")
    Recorder(graph, tmp_path / "cuda", measures=MEASURES).step(model)
    here, there = read_run(tmp_path / "cpu"), read_run(tmp_path / "cuda")
    np.testing.assert_allclose(there["value"], here["value"], rtol=1e-5, atol=1e-5)  # float32, summed in another order


# --- steps, runs, resuming -------------------------------------------------------------------------------------------


def test_multiples_of_every_are_recorded_and_the_count_goes_on_where_a_record_ends(tmp_path):
    recorder = Recorder(by_hand(), tmp_path, every=3)
    assert [recorder.step(mlp_2_2_1()) for _ in range(5)] == [True, False, False, True, False]
    resumed = Recorder(by_hand(), tmp_path, every=3)
    assert resumed.last_step == 3
    assert [resumed.step(mlp_2_2_1()) for _ in range(3)] == [False, False, True]  # steps 4, 5, 6
    assert resumed.step(mlp_2_2_1(), step=30) is True
    assert resumed.step(mlp_2_2_1()) is False  # step 31
    assert recorded_steps(tmp_path).tolist() == [0, 3, 6, 30]
    assert Recorder(by_hand(), tmp_path, run="other").last_step is None


def test_a_step_that_is_recorded_again_replaces_what_was_there(tmp_path):
    recorder = Recorder(by_hand(), tmp_path, measures=())
    for step in range(3):
        recorder.step(mlp_2_2_1(), accuracy=step)
    resumed = Recorder(by_hand(), tmp_path, measures=())
    resumed.step(mlp_2_2_1(), step=1, accuracy=10)
    table = read_run(tmp_path)
    assert table[["step", "value"]].to_numpy().tolist() == [[0, 0], [1, 10], [2, 2]]
    assert resumed.last_step == 2


RUNS = ["a", "a-1", "../up/b", ".hidden", "_private", "100%", "läuft ✓", "x" * 150, "a*[b]?", " "]


def test_runs_of_any_name_share_a_folder(tmp_path):
    folder = tmp_path / "record"
    for place, run in enumerate(RUNS):
        Recorder(by_hand(), folder, measures=(), run=run).step(mlp_2_2_1(), place, accuracy=place)
    assert list(tmp_path.iterdir()) == [folder]
    assert recorded_runs(folder) == tuple(sorted(RUNS))
    assert len(pd.read_parquet(folder)) == len(RUNS)
    assert read_run(folder, runs=["a-1", " "])[["run", "value"]].to_numpy().tolist() == [[" ", 9.0], ["a-1", 1.0]]
    assert recorded_steps(folder, "_private").tolist() == [4]
    with pytest.raises(dg.InputError, match="run 'c' is not in"):
        read_run(folder, runs="c")


@pytest.mark.parametrize("run", ["", "ö" * 100])
def test_a_run_whose_name_makes_no_file_is_refused(tmp_path, run):
    with pytest.raises(dg.InputError, match="makes no name of a file"):
        Recorder(by_hand(), tmp_path / "record", run=run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", [-1, 1.5, "2", torch.zeros(2)])
def test_steps_are_counted_by_integers_from_0(tmp_path, step):
    with pytest.raises(dg.InputError, match="count steps by integers"):
        Recorder(by_hand(), tmp_path).step(mlp_2_2_1(), step=step)


def test_unknown_measures_kinds_and_intervals_are_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "record"
    with pytest.raises(dg.InputError, match=r"'strenght' is unknown \(did you mean 'strength'\?\).*link_weights"):
        Recorder(by_hand(), folder, measures=("fluctuation", "strenght"))
    with pytest.raises(dg.InputError, match="unknown link kind"):
        Recorder(by_hand(), folder, kinds=("wieght",))
    with pytest.raises(dg.InputError, match="every=0"):
        Recorder(by_hand(), folder, every=0)
    assert not folder.exists()


def test_a_folder_with_the_record_of_another_graph_is_refused(tmp_path):
    Recorder(by_hand(), tmp_path, run="first")
    wider = dg.from_torch(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), torch.zeros(1, 2))
    deeper = dg.from_torch(mlp_2_2_1().append(nn.Linear(1, 1)), torch.zeros(1, 2))
    places = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    for graph, why in [
        (wider, "layer 1 is '0' of 2 nodes there, '0' of 3 nodes here"),
        (deeper, "3 layers there, 4 here"),
        (places, "granularity channel there, position here"),
    ]:
        with pytest.raises(dg.InputError, match=why):
            Recorder(graph, tmp_path, run="second")
    with pytest.raises(dg.InputError, match=r"kinds all there, \['weight'\] here"):
        Recorder(by_hand(), tmp_path, kinds="weight")
    Recorder(by_hand(), tmp_path, run="second")


def test_what_cannot_be_recorded_in_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(dg.InputError, match="is a file: name a folder"):
        Recorder(by_hand(), tmp_path / "file")
    with pytest.raises(dg.ExportError, match="cannot create the folder"):
        Recorder(by_hand(), tmp_path / "file" / "record")
    recorder = Recorder(by_hand(), tmp_path / "record")
    (tmp_path / "record" / "_graph.json").write_text("{")
    with pytest.raises(dg.InputError, match="does not describe a graph"):
        Recorder(by_hand(), tmp_path / "record")
    (tmp_path / "record" / "_graph.json").unlink()
    (tmp_path / "record").rmdir()
    with pytest.raises(dg.ExportError, match="cannot write"):
        recorder.step(mlp_2_2_1())


def test_a_recorder_travels_between_processes(tmp_path):
    recorder = pickle.loads(pickle.dumps(Recorder(by_hand(), tmp_path, measures=MEASURES)))
    recorder.step(mlp_2_2_1())
    assert values(read_run(tmp_path), "fluctuation").tolist() == [2.25, 0.0625, 0.0]


# --- files -----------------------------------------------------------------------------------------------------------


def record_three(folder, run="run"):
    recorder = Recorder(by_hand(), folder, run=run)
    for step in range(3):
        recorder.step(mlp_2_2_1(), accuracy=step / 2)


def test_pandas_polars_and_duckdb_read_the_folder_and_agree(tmp_path):
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    record_three(tmp_path, "a")
    record_three(tmp_path, "läuft/…")
    (tmp_path / ".dnn2graph-0123.tmp").write_bytes(b"PAR1 left by a killed process")
    ours = read_run(tmp_path)
    theirs = {
        "pandas": pd.read_parquet(tmp_path),
        "polars": pd.DataFrame(polars.read_parquet(f"{tmp_path}/*.parquet").to_dict(as_series=False)),
        "duckdb": duckdb.sql(f"from '{tmp_path}/*.parquet'").df(),
    }
    assert len(ours) == 2 * 3 * (5 + 3 + 1)
    for name, table in theirs.items():
        assert list(table.columns) == COLUMNS, name
        rows = [table.astype(object).where(table.notna(), None), ours.astype(object).where(ours.notna(), None)]
        found, expected = (sorted(map(repr, each.assign(node=each["node"].map(_integer)).to_numpy().tolist()))
                           for each in rows)  # fmt: skip
        assert found == expected, name


def _integer(node):
    return None if node is None else int(node)


def test_columns_have_the_types_that_are_promised(tmp_path):
    record_three(tmp_path)
    table = read_run(tmp_path)
    assert [str(table[name].dtype) for name in ("step", "node", "value")] == ["int64", "Int64", "float64"]
    assert all(isinstance(table[name].iloc[0], str) for name in ("run", "layer", "measure"))
    import pyarrow.parquet as pq

    schema = pq.read_schema(next(tmp_path.glob("*.parquet")))
    assert [str(field.type) for field in schema] == ["string", "int64", "string", "int64", "string", "double"]


def test_some_measures_are_read(tmp_path):
    record_three(tmp_path)
    table = read_run(tmp_path, measures=("accuracy", "fluctuation"))
    assert table["step"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert table["measure"].tolist() == (["fluctuation"] * 3 + ["accuracy"]) * 3
    with pytest.raises(dg.InputError, match=r"measure 'loss' is not in .* 'accuracy', 'fluctuation', 'strength'"):
        read_run(tmp_path, measures=["loss"])


def damage(path, how):
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "another table":
        pd.DataFrame({"x": [1]}).to_parquet(path)
    else:  # a letter in a layer's name: nothing but the checksum tells
        place = content.index(b"input") + 4
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


@pytest.mark.parametrize("how", ["truncated", "emptied", "another table", "flipped bit"])
def test_a_damaged_snapshot_is_named_and_the_rest_is_read(tmp_path, how):
    record_three(tmp_path)
    damaged = tmp_path / "run-000000000001.parquet"
    damage(damaged, how)
    with pytest.warns(UserWarning, match="is damaged.*record step 1 of run 'run' again") as caught:
        table = read_run(tmp_path)
    assert str(damaged) in str(caught[0].message)
    assert caught[0].filename == __file__
    assert table.loc[table["measure"] == "accuracy", ["step", "value"]].to_numpy().tolist() == [[0, 0], [2, 1]]
    recorder = Recorder(by_hand(), tmp_path)
    assert recorder.last_step == 2
    recorder.step(mlp_2_2_1(), 1, accuracy=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(read_run(tmp_path), "accuracy").tolist() == [0, 0.5, 1]


def test_what_is_no_record_is_told(tmp_path):
    with pytest.raises(dg.InputError, match="does not exist"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(dg.InputError, match="holds no snapshot"):
        read_run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(dg.InputError, match="is a file"):
        recorded_runs(tmp_path / "file")
    record_three(tmp_path)
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.warns(UserWarning, match="other.parquet' is no snapshot"):
        assert recorded_steps(tmp_path).tolist() == [0, 1, 2]
    (tmp_path / "other.parquet").unlink()
    for path in tmp_path.glob("*.parquet"):
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(dg.InputError, match="none of the 3 snapshots"):
        read_run(tmp_path)


# --- processes -------------------------------------------------------------------------------------------------------

RECORD_FOR_EVER = """
import itertools, os, signal, sys
from dnn2graph.dynamics import Recorder
from tests.networks import by_hand, mlp_2_2_1

folder, dies_in_step = sys.argv[1], int(sys.argv[2])
recorder = Recorder(by_hand(), folder)
for step in itertools.count():
    if step == dies_in_step:
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    recorder.step(mlp_2_2_1(), accuracy=step)
    print(step, flush=True)
"""


def start_recording(folder, dies_in_step):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RECORD_FOR_EVER, str(folder), str(dies_in_step)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("killed", ["while it writes a snapshot", "at any time"])
def test_after_kill_9_every_finished_snapshot_is_there_and_recording_resumes(tmp_path, killed):
    inside = killed == "while it writes a snapshot"
    with start_recording(tmp_path, 5 if inside else -1) as process:
        said = [int(process.stdout.readline()) for _ in range(5)]
        if not inside:
            process.kill()
        said += [int(line) for line in process.stdout.read().splitlines()]
    assert process.returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.glob(".*")]
    assert len(left) == 1 or not inside  # the snapshot in flight
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = read_run(tmp_path)
    steps = recorded_steps(tmp_path).tolist()
    assert steps[: len(said)] == said == list(range(len(said)))
    assert len(steps) - len(said) in (0, 1)  # it may have been killed between recording and saying so
    assert values(table, "accuracy").tolist() == steps
    assert len(table) == len(pd.read_parquet(tmp_path)) == len(steps) * (5 + 3 + 1)

    recorder = Recorder(by_hand(), tmp_path)
    assert recorder.last_step == steps[-1]
    recorder.step(mlp_2_2_1())
    assert recorded_steps(tmp_path).tolist() == [*steps, steps[-1] + 1]


def test_importing_the_recorder_imports_none_of_the_libraries_that_it_may_need():
    heavy = ("pandas", "pyarrow", "lightning", "pytorch_lightning", "transformers", "matplotlib", "igraph")
    code = f"import dnn2graph.dynamics, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "[]"
