"""A profile gives every measure the weights that it is defined on, and its values in tables with what they mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.errors import ExportError, InputError, MemoryBudgetError, WeightsError
from dnn2graph.profile import MEASURES, measure, profile, view
from dnn2graph.profile.measure import WEIGHTS, chosen
from tests.handmade import NOTHING, graph_of_matrix, layered, view_of
from tests.networks import by_hand, mlp_2_2_1, traced, with_parallel_links
from tests.strategies import Net, fill

CONVERSIONS = {
    "signed": lambda w: w,
    "unweighted": lambda w: np.ones_like(w),
    "abs": np.abs,
    "distance": lambda w: 1 / np.abs(w),
}


@pytest.fixture
def registry():
    """Forget what a test registers."""
    before = dict(MEASURES)
    yield
    MEASURES.clear()
    MEASURES.update(before)


def equal(first, second):
    return all(
        getattr(first, name).equals(getattr(second, name)) for name in ("nodes", "layers", "links", "graph")
    )


# --- the weights of each measure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_view_shows_one_convention_of_weights_and_no_other(weight):
    graph = layered([3, 4, 3], seed=2)
    signed = graph.adjacency()
    expected = CONVERSIONS[weight](signed.data)
    assert (signed.data < 0).any()
    shown = view_of(graph, replace(MEASURES["degree"], weight=weight))
    assert np.array_equal(shown.matrix.data, expected)
    assert np.array_equal(shown.matrix.indices, signed.indices)
    assert np.array_equal(shown.transposed.toarray(), shown.matrix.toarray().T)
    assert shown.igraph.es["weight"] == expected.tolist()
    rows = np.repeat(np.arange(len(graph)), np.diff(signed.indptr)).tolist()
    assert shown.igraph.get_edgelist() == list(zip(rows, signed.indices.tolist(), strict=True))


UNSIGNED = [each for each in MEASURES.values() if each.weight != "signed" and each.is_available]


@pytest.mark.parametrize("each", UNSIGNED, ids=lambda each: each.name)
def test_signs_change_nothing_for_a_measure_that_is_not_defined_on_them(each):
    matrix = layered([4, 5, 4, 3], seed=3).adjacency().toarray()
    sizes = [4, 5, 4, 3]
    mixed, positive = (profile(graph_of_matrix(m, sizes), each.name) for m in (matrix, np.abs(matrix)))
    assert (matrix < 0).any()
    assert equal(mixed, positive)


def test_links_between_the_same_nodes_are_one_edge_of_their_sum():
    once = profile(layered([3, 3], seed=1))
    twice = with_parallel_links(layered([3, 3], seed=1), -2.0)  # w - 2 w
    found = profile(twice, "degrees")
    assert found.nodes["degree"].equals(once.nodes["degree"])
    assert found.nodes["strength"].equals(-once.nodes["strength"])
    assert found.nodes["strength_abs"].equals(once.nodes["strength_abs"])
    cancelled = profile(with_parallel_links(layered([3, 3], seed=1), -1.0), "degree")
    assert not cancelled.nodes["degree"].any()


def test_weights_of_zero_are_no_edges():
    assert profile(by_hand(), "degree").nodes["degree_out"].tolist() == [2, 1, 1, 1, 0]


def test_kinds_say_which_links_count():
    graph = with_parallel_links(by_hand(), 1.0, kind="pool")
    assert profile(graph, "strength", kinds=["pool"]).nodes["strength_in"].tolist() == [0, 0, 1.5, 2.0, 0]
    with pytest.raises(InputError, match="unknown link kind"):
        profile(graph, "strength", kinds=["poool"])


# --- graphs of every sort --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NOTHING if name != "no node"])
def test_a_graph_of_next_to_nothing_has_a_profile(name):
    graph = NOTHING[name]
    found = profile(graph)
    assert len(found.nodes) == len(graph)
    assert len(found.layers) == len(graph.layers)
    assert len(found.links) == len(graph.links)


def test_layers_without_nodes_have_a_profile():
    graph = graph_of_matrix(layered([2, 3]).adjacency().toarray(), [2, 0, 3])
    assert profile(graph).layers["nodes"].tolist() == [2, 0, 3]


def test_a_sparsified_graph_has_a_profile_of_the_edges_that_were_kept():
    graph = traced(mlp_2_2_1(), 2)
    sparse = dg.sparsify(graph, 4)
    found = profile(sparse)
    assert found.nodes["degree_out"].sum() == 4
    assert found.nodes["strength_abs"].sum() == pytest.approx(2 * np.abs(sparse.adjacency().data).sum(), rel=1e-6)


def test_a_network_that_reuses_its_nodes_has_a_profile_with_reciprocal_edges():
    model = Net(lambda self, x: self.again(self.again(x).relu()), again=nn.Linear(3, 3))
    found = profile(dg.from_torch(fill(model, 0), torch.zeros(1, 3)))
    assert "recurrent" in set(found.links["kind"])
    assert found.graph["reciprocity"] > 0


def test_weights_that_are_not_finite_are_refused_by_name():
    model = mlp_2_2_1()
    with torch.no_grad():
        model[2].weight[0, 1] = torch.nan
    with pytest.raises(WeightsError, match="layer '2' has 1 non-finite"):
        profile(dg.from_torch(model, torch.zeros(1, 2)))


def test_a_graph_too_big_to_unroll_is_refused_before_it_is_with_what_to_do(monkeypatch):
    monkeypatch.setattr(view, "adjacency", None)
    graph = traced(nn.Conv2d(2, 3, 3), 2, 6, 6, granularity="position")
    message = r"a profile of 864 edges takes about .* kB.*granularity='channel'.*dnn2graph\.sparsify"
    with pytest.raises(MemoryBudgetError, match=message):
        profile(graph, memory=10_000)


# --- what can be asked for -------------------------------------------------------------------------------------------


def test_every_measure_says_what_it_is_and_the_docstring_is_the_definition():
    for name, each in MEASURES.items():
        assert name == each.name
        assert each.definition[0].isupper()
        assert each.definition.endswith((".", ")"))
        assert "``" not in each.definition


def test_measures_are_chosen_by_name_or_group_in_the_order_of_the_registry():
    assert [each.name for each in chosen(["s_core", "degrees", "degree"])] == [
        *(each.name for each in MEASURES.values() if each.group == "degrees"),
        "s_core",
    ]
    assert [each.name for each in chosen()] == [each.name for each in MEASURES.values() if each.default]
    with pytest.raises(InputError, match=r"unknown measure 'degre': .*degree.*centrality"):
        chosen(["degre"])


def test_a_measure_whose_package_is_missing_is_left_out_unless_it_is_named(registry):
    @measure("node", weight="abs", extra="a_package_that_is_not_there")
    def unavailable(view):
        raise AssertionError

    found = profile(by_hand())
    assert found.measures.set_index("measure")["note"]["unavailable"].startswith("left out: it needs the package")
    with pytest.raises(InputError, match="pip install a_package_that_is_not_there"):
        profile(by_hand(), "unavailable")


def test_a_measure_of_ones_own_stands_beside_the_others(registry):
    @measure("layer", weight="abs", source="me", default=False)
    def widest(view):
        """Largest |w| into a layer."""
        view.note("as it should be")
        layer_of = np.repeat(view.layer_of, np.diff(view.transposed.indptr))
        return {"widest": np.array([view.transposed.data[layer_of == n].max(initial=0) for n in range(3)])}

    found = profile(by_hand(), ["widest", "degree"])
    assert found.layers["widest"].tolist() == [0, 4, 0.5]
    described = found.measures.set_index("measure").loc["widest"]
    assert described[["level", "weight", "definition", "source", "note"]].tolist() == [
        "layer",
        "abs",
        "Largest |w| into a layer.",
        "me",
        "as it should be",
    ]


@pytest.mark.parametrize("sample", [0, -1, 2.5, True, "10"])
def test_a_sample_that_is_no_number_of_nodes_is_refused(sample):
    with pytest.raises(InputError, match="sample="):
        profile(by_hand(), sample=sample)


def test_values_depend_on_the_seed_and_not_on_what_else_is_measured():
    graph = layered([20, 30, 20], seed=1)
    alone = profile(graph, ["betweenness"], sample=10, seed=1).nodes["betweenness"]
    among = profile(graph, "centrality", sample=10, seed=1).nodes["betweenness"]
    other = profile(graph, ["betweenness"], sample=10, seed=2).nodes["betweenness"]
    assert alone.equals(among)
    assert not alone.equals(other)


def test_progress_is_told_measure_by_measure():
    told = []
    profile(by_hand(), ["degree", "strength", "s_core"], progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


# --- tables and files ------------------------------------------------------------------------------------------------


def test_tables_say_what_their_rows_are():
    found = profile(by_hand(), ["degree", "robins_alexander", "reciprocity"])
    assert found.nodes.index.name == "node"
    assert found.nodes["label"].tolist() == ["input[0]", "input[1]", "0[0]", "0[1]", "2[0]"]
    assert found.layers["layer"].tolist() == ["input", "0", "2"]
    assert found.links["source"].tolist() == ["input", "0"]
    assert found.links["target"].tolist() == ["0", "2"]
    assert found.links["kind"].tolist() == ["weight", "weight"]
    assert found.graph.to_dict() == {"reciprocity": 0}
    assert found.measures["measure"].tolist() == ["degree", "robins_alexander", "reciprocity"]
    assert repr(found) == "Profile(3 measures of 5 nodes, 3 layers, 2 links: degree, robins_alexander, reciprocity)"


@pytest.mark.parametrize(("format", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_a_folder_of_tables_reads_back(format, read, tmp_path):
    found = profile(by_hand())
    found.write(tmp_path / "profile", format)
    assert {path.name for path in (tmp_path / "profile").iterdir()} == {
        f"{name}.{format}" for name in ("nodes", "layers", "links", "graph", "measures")
    }
    nodes = read(tmp_path / "profile" / f"nodes.{format}")
    assert nodes["node"].tolist() == [0, 1, 2, 3, 4]
    for column in found.nodes.columns.drop("position"):
        read_back = nodes[column].fillna("") if column == "activation" else nodes[column]
        pd.testing.assert_series_equal(read_back, found.nodes[column].reset_index(drop=True), check_dtype=False)
    graph = read(tmp_path / "profile" / f"graph.{format}")
    assert dict(zip(graph["measure"], graph["value"], strict=True)) == pytest.approx(found.graph.to_dict(), nan_ok=True)
    found.write(tmp_path / "profile", "parquet")  # replaces the older one, whole
    assert {path.suffix for path in (tmp_path / "profile").iterdir()} == {".parquet"}
    assert [path.name for path in tmp_path.iterdir()] == ["profile"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match=r"thesis\.tex"):
        profile(by_hand(), "degree").write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="format='xlsx' is unknown"):
        profile(by_hand(), "degree").write(tmp_path / "new", "xlsx")
    assert not (tmp_path / "new").exists()


def test_a_profile_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    found = profile(by_hand(), "degree")
    found.write(tmp_path / "profile")
    before = (tmp_path / "profile" / "nodes.csv").read_bytes()
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *args, **options: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(ExportError, match="free some space"):
        found.write(tmp_path / "profile")
    assert (tmp_path / "profile" / "nodes.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["profile"]


def test_dictionaries_hold_plain_values():
    found = profile(by_hand(), ["degree", "reciprocity"]).to_dict()
    assert set(found) == {"nodes", "layers", "links", "graph", "measures"}
    assert found["graph"] == [{"measure": "reciprocity", "value": 0.0}]
    first = found["nodes"][0]
    assert (first["node"], first["label"], first["degree"]) == (0, "input[0]", 2)
    assert {type(value) for row in found["nodes"] for value in row.values()} <= {int, float, str}
