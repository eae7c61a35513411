"""Measuring the tensors of a file: equal to what numpy, scipy and graphs say, in every format, in constant memory."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from platform import machine

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from scipy import stats
from torch import nn

import dnn2graph as dg
from dnn2graph.errors import ExportError, InputError, LoadError
from dnn2graph.streaming import LazyTensors, measure, measure_file, moments, native, stored_tensors, tensors, write
from dnn2graph.streaming.chain import why_no_graph
from dnn2graph.streaming.formats import FORMATS
from dnn2graph.streaming.measure import processors
from dnn2graph.streaming.result import COLUMNS

FLOATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
PASSES = pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
# Sums of 10**4 numbers of size 1 in two orders differ by less; where they nearly cancel, relative errors say little.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """Two, whatever the machine has."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")


@pytest.fixture
def use(monkeypatch):
    """Give what chooses between the two ways to pass over weights."""

    def chosen(compiled):
        if compiled:
            pytest.importorskip("numba", reason="needs the extra speed")
        monkeypatch.setattr(measure, "LARGE", 0 if compiled else np.inf)

    return chosen


@pytest.fixture
def saved(tmp_path):
    """Give what saves tensors and returns the path."""

    def save(name="model.safetensors", **tensors):
        save_file(tensors, tmp_path / name)
        return tmp_path / name

    return save


def smallest_tiles(monkeypatch):
    """Cut tensors into tiles of so many rows as there must be."""
    monkeypatch.setattr(measure, "TILE", 1)
    monkeypatch.setattr(measure, "TILES", 1)
    monkeypatch.setattr(measure, "SHARE", np.inf)


def gaussian(*shape, seed=0, mean=0.0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + mean


# --- numbers ---------------------------------------------------------------------------------------------------------


@PASSES
@pytest.mark.parametrize("name", FLOATS)
def test_every_bit_pattern_is_the_number_that_torch_says(name, compiled, use, saved):
    use(compiled)
    integer = {1: torch.uint8, 2: torch.int16}.get(torch.empty(0, dtype=FLOATS[name]).element_size())
    if integer is None:
        patterns = gaussian(257, 1).to(FLOATS[name])
    else:
        info = torch.iinfo(integer)
        patterns = torch.arange(info.min, info.max + 1).to(integer).view(FLOATS[name])[:, None]
    found = measure_file(saved(w=patterns))["w"]
    expected = patterns.double().numpy()[:, 0]  # a row of one weight sums up to that weight
    assert found.rows.tobytes() == (expected + 0.0).tobytes() or np.array_equal(found.rows, expected, equal_nan=True)
    assert found.faults.nan == np.isnan(expected).sum()
    assert found.faults.infinite == np.isinf(expected).sum()
    assert found.zeros == (expected == 0).sum()


@PASSES
@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("shape", [(131, 77, 3), (8, 64), (3, 5), (1, 1), (1, 9000), (9000, 1), (4, 2, 0)])
def test_sums_and_moments_are_those_of_numpy_and_scipy_in_float64(name, shape, compiled, use, saved):
    use(compiled)
    stored = gaussian(*shape).to(FLOATS[name])
    found = measure_file(saved(w=stored))["w"]
    weights = stored.double().numpy()
    np.testing.assert_allclose(found.rows, weights.sum(tuple(range(1, weights.ndim))), **CLOSE)
    np.testing.assert_allclose(found.columns, weights.sum((0, *range(2, weights.ndim))), **CLOSE)
    edges = weights[weights != 0]
    assert (found.moments.count, found.zeros) == (edges.size, weights.size - edges.size)
    row = found.row()
    if not edges.size:
        assert np.isnan(row["mean"])
        return
    assert (row["min"], row["max"]) == (edges.min(), edges.max())
    expected = {
        "mean": edges.mean(),
        "std": edges.std(),
        "l1": np.abs(edges).sum(),
        "l2": np.linalg.norm(edges),
        "row_fluctuation": found.rows.std(),
        "column_fluctuation": found.columns.std(),
    }
    if edges.size > 1:
        expected |= {"skewness": stats.skew(edges), "kurtosis": stats.kurtosis(edges)}
    for column, value in expected.items():
        np.testing.assert_allclose(row[column], value, **CLOSE, err_msg=column)


@PASSES
@pytest.mark.parametrize(("mean", "std"), [(1.0, 1e-3), (1e3, 1.0), (-5.0, 1e-5), (0.0, 1e-20), (3.0, 2.0)])
def test_weights_far_from_zero_lose_no_precision(mean, std, compiled, use, saved):
    use(compiled)
    weights = gaussian(50, 40) * std + mean
    found = measure_file(saved(w=weights))["w"].moments
    exact = np.asarray(weights).astype(np.longdouble)
    centred = exact - exact.mean()
    assert found.mean == pytest.approx(float(exact.mean()), rel=1e-12)
    assert found.std == pytest.approx(float((centred**2).mean() ** 0.5), rel=1e-12)
    close = {"rel": 1e-12, "abs": 1e-15 * max(1, abs(mean) / std)}  # the mean itself is rounded to 1e-16 of its size
    assert found.skewness == pytest.approx(float((centred**3).mean() / (centred**2).mean() ** 1.5), **close)
    assert found.kurtosis == pytest.approx(float((centred**4).mean() / (centred**2).mean() ** 2) - 3, **close)


@PASSES
def test_zeros_are_no_edges(compiled, use, saved):
    use(compiled)
    found = measure_file(saved(w=torch.tensor([[0.0, 2.0], [-0.0, 3.0], [4.0, 0.0]])))["w"]
    assert (found.moments.count, found.zeros) == (3, 3)
    assert (found.moments.min, found.moments.max, found.moments.mean) == (2, 4, 3)
    assert found.rows.tolist() == [2, 3, 4]
    assert found.columns.tolist() == [4, 5]


@PASSES
@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("height", [4, 5, 6, 7, 11])  # the compiled pass takes four rows at a time, or eight
def test_weights_of_one_sign_have_extremes_other_than_zero(height, sign, name, compiled, use, saved):
    """They lie so near to zero, for their spread, that one pass tells all."""
    use(compiled)
    weights = (sign * (gaussian(height, 300).abs() + 0.25)).to(FLOATS[name])
    found = measure_file(saved(w=weights))["w"]
    weights = weights.double()
    assert weights.mean() ** 2 / weights.var() < moments.FAR
    assert (found.moments.min, found.moments.max) == (weights.min(), weights.max())
    assert (found.moments.count, found.zeros) == (weights.numel(), 0)
    assert found.moments.l1 == pytest.approx(float(weights.abs().sum()), rel=1e-12)


@PASSES
def test_nan_and_infinity_are_counted_and_leave_other_tensors_alone(compiled, use, saved):
    use(compiled)
    wrong = torch.ones(6, 4)
    wrong[1, 2], wrong[4, 0], wrong[5, 3], wrong[0, 0] = np.nan, np.inf, -np.inf, 0
    found = measure_file(saved(a=torch.ones(2, 3), b=wrong, c=torch.full((3,), np.inf), d=torch.ones(3, 2)))
    assert (found["b"].faults.nan, found["b"].faults.infinite, found["b"].faults.first) == (1, 2, 6)
    assert (found["b"].moments.count, found["b"].zeros) == (23, 1)
    assert np.isnan(found["b"].moments.mean)
    np.testing.assert_array_equal(found["b"].rows, [3, np.nan, 4, 4, np.inf, -np.inf])
    assert (found["c"].faults.nan, found["c"].faults.infinite, found["c"].faults.first) == (0, 3, 0)
    for name in "ad":
        assert not found[name].faults
        assert found[name].moments.mean == 1


@PASSES
def test_panels_and_tiles_leave_no_seam(compiled, use, saved, monkeypatch):
    use(compiled)
    monkeypatch.setattr(measure, "TILE_ROWS", 3)
    smallest_tiles(monkeypatch)
    monkeypatch.setattr(moments, "BLOCK", 1000)
    weights = gaussian(37, 8200)  # a panel and a few columns more
    path = saved(w=weights, v=weights.reshape(-1).clone())
    found, again = (measure_file(path, threads=threads) for threads in (1, 3))
    np.testing.assert_allclose(found["w"].rows, weights.numpy().sum(1), **CLOSE)
    np.testing.assert_allclose(found["w"].columns, weights.numpy().sum(0), **CLOSE)
    assert found["v"].moments.l1 == pytest.approx(np.abs(weights.numpy()).sum(), rel=1e-12)
    assert found["v"].rows.size == found["v"].columns.size == 0
    # Sums are added in the same order, however many threads there are.
    pd.testing.assert_frame_equal(found.table(), again.table(), check_exact=True)
    pd.testing.assert_frame_equal(found.strengths(), again.strengths(), check_exact=True)


def both_passes(name, weights):
    """Give what the compiled pass and the plain one add to sums of rows, to those of columns, and to the totals."""
    format = FORMATS[name]
    matrix = weights.to(FLOATS[name]).view(torch.uint8).numpy().view(format.bits)
    found, expected = (
        (np.zeros(len(matrix)), np.arange(matrix.shape[1]) / 4, np.array([np.inf, -np.inf, 0, 0, 0, 0, 0]))
        for _ in range(2)
    )
    native.fast_sums(format)(matrix, *found)
    with np.errstate(invalid="ignore"):
        moments.plain_sums(format.decode, matrix, *expected)
    return found, expected


@pytest.mark.parametrize("largest", [0.02, 1.75, 7.0, 448.0, 896.0, 1024.0, np.inf, np.nan])
@pytest.mark.parametrize(("name", "smallest"), [("F8_E4M3", 2.0**-9), ("F8_E5M2", 2.0**-16)])
def test_sums_of_float8_are_exact_whatever_their_range(name, smallest, largest):
    """The largest number stands beside the smallest, in a matrix with rows and columns beyond its whole blocks."""
    float8 = pytest.importorskip("dnn2graph.streaming.compiled.float8", reason="needs the extra speed")
    largest = min(largest, torch.finfo(FLOATS[name]).max)
    stored = gaussian(3 * float8.ROWS + 3, float8.PANEL + 2 * float8.LINE + 5).clamp(-7, 7)
    block = stored[float8.ROWS : float8.ROWS + 5, : float8.PANEL + 3]
    block[:, ::2], block[:, 1::2], block[1, :9] = largest, -largest, smallest
    found, expected = both_passes(name, stored)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    if np.isnan(largest):
        assert np.isnan(found[2][3])  # so that whoever asked looks for what is wrong
    else:
        np.testing.assert_array_equal(found[2][:4], expected[2][:4])  # extremes, zeros and the sum of absolute values
        np.testing.assert_allclose(found[2][4:], expected[2][4:], rtol=1e-12)


@pytest.mark.parametrize("extreme", [None, 60000.0, np.inf, np.nan])
@pytest.mark.parametrize("signs", [(-1.0, -0.0, 0.0, 1.0), (0.0, 1.0), (-1.0, -0.0), (1.0,), (-1.0,), (0.0,), (-0.0,)])
@pytest.mark.parametrize("name", ["BF16", "F16"])
def test_numbers_of_two_bytes_that_are_counted_are_all_there(name, signs, extreme):
    """An extreme stands in the first row, which is counted; rows and columns are more than whole blocks of them."""
    float16 = pytest.importorskip("dnn2graph.streaming.compiled.float16", reason="needs the extra speed")
    width = float16.PANEL + float16.STEP + 5
    weights = gaussian(float16.MANY // width + 4, width).abs() + 0.25
    weights *= torch.tensor(signs)[torch.arange(weights.numel()).reshape(weights.shape) * 7 % len(signs)]
    assert weights.numel() > float16.MANY
    if extreme is not None:
        weights[0, 100], weights[0, 101] = extreme, 2.0**-24
    found, expected = both_passes(name, weights)
    np.testing.assert_allclose(found[0], expected[0], **CLOSE)
    np.testing.assert_allclose(found[1], expected[1], **CLOSE)
    if extreme is not None and not np.isfinite(extreme):
        assert not np.isfinite(found[2][3])  # so that whoever asked looks for what is wrong
    else:
        np.testing.assert_array_equal(found[2][:3], expected[2][:3])  # extremes and zeros
        np.testing.assert_allclose(found[2][3:], expected[2][3:], rtol=1e-12, atol=1e-9)


def test_what_was_counted_is_forgotten():
    pytest.importorskip("dnn2graph.streaming.compiled.float16", reason="needs the extra speed")
    (*_, first), _ = both_passes("BF16", gaussian(300, 600))
    (*_, again), _ = both_passes("BF16", gaussian(300, 600))
    np.testing.assert_array_equal(first, again)


def test_sums_of_columns_of_float8_outgrow_32_bits():
    float8 = pytest.importorskip("dnn2graph.streaming.compiled.float8", reason="needs the extra speed")
    rows = 5 * float8.OFTEN
    found = np.zeros(rows), np.zeros(float8.BROAD), np.array([np.inf, -np.inf, 0, 0, 0, 0, 0])
    bits = torch.tensor(896.0).to(torch.float8_e5m2).view(torch.int8).item()  # makes the largest product of bytes
    matrix = np.full((rows, float8.BROAD), bits, np.int8)
    native.fast_sums(FORMATS["F8_E5M2"])(matrix, *found)
    assert (found[1] == 896.0 * rows).all()


@pytest.mark.parametrize("name", FORMATS)
def test_the_compiled_pass_needs_no_numba_once_it_is_kept(name, saved):
    """Nor its memory: it is loaded in a process that has not imported numba when it has measured."""
    pytest.importorskip("numba", reason="needs the extra speed")
    native.fast_sums(FORMATS[name])
    path = saved(w=gaussian(9, 300).to(FLOATS[name]))
    code = f"""
import sys
from dnn2graph.streaming import measure, native
from dnn2graph.streaming.formats import FORMATS
measure.LARGE = 0
measure.measure_file({os.fspath(path)!r})
print(native.fast_sums(FORMATS[{name!r}]) is not None, "numba" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["True", "False"]


def test_machine_code_is_kept_for_what_it_was_made_of_and_for(tmp_path, monkeypatch):
    code = pytest.importorskip("dnn2graph.streaming.compiled.code", reason="needs the extra speed")
    made = []
    monkeypatch.setattr(code, "machine_code", lambda format: made.append(format.name) or b"code")
    readonly, folder = tmp_path / "file" / "below", tmp_path / "some" / "folder"
    readonly.parent.touch()  # no folder can be made there
    monkeypatch.setattr(native, "_folders", lambda: [readonly, folder])
    for _ in range(2):
        assert native._code(FORMATS["F32"]) == b"code"
    assert made == ["float32"]
    (kept,) = folder.iterdir()
    content = kept.read_bytes()
    for damaged in (b"", content[:-1], content[1:], content[:-1] + b"x"):
        kept.write_bytes(damaged)
        assert native._code(FORMATS["F32"]) == b"code"
        assert kept.read_bytes() == content
    assert made == ["float32"] * 5
    native._code(FORMATS["F16"])
    monkeypatch.setenv("NUMBA_CPU_NAME", "another")
    native._code(FORMATS["F32"])
    assert made[5:] == ["float16", "float32"]
    monkeypatch.setattr(native, "_folders", lambda: [readonly])
    assert native._code(FORMATS["F32"]) == b"code"


@pytest.mark.parametrize("features", ["+avx,+avx2,+f16c,+fma", "+sse2"])
def test_a_processor_with_short_vectors_finds_the_same(features, saved):
    """In a process of its own, as the loops are made for the processor that numba finds."""
    pytest.importorskip("numba", reason="needs the extra speed")
    if machine() not in ("x86_64", "AMD64"):
        pytest.skip("names features of x86")
    path = saved(**{name: gaussian(900, 150).to(dtype) for name, dtype in FLOATS.items()})  # enough to be counted
    code = f"""
from dnn2graph.streaming import measure
measure.LARGE = 0
print(measure.measure_file({os.fspath(path)!r}).table().to_json(double_precision=15))
"""
    processor = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}
    command, environment = [sys.executable, "-c", code], {**os.environ, **processor}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = pd.read_json(io.StringIO(told))
    pd.testing.assert_frame_equal(found, measure_file(path).table(), check_dtype=False, rtol=1e-12)


def test_threads_take_on_a_tensor_before_the_last_is_done_but_not_all_of_them(saved, monkeypatch):
    """Else threads would wait at the end of each tensor, and what they found would take memory as long as the file."""
    begun, told = [], []
    both = threading.Barrier(2, timeout=60)  # is passed only by two tensors at once

    def recorded(*args):
        begun.append(args)
        if len(begun) <= 2:
            both.wait()
        return moments.totals(*args)

    monkeypatch.setattr(measure, "totals", recorded)
    path = saved(**{f"w{number}": torch.ones(3, 2) for number in range(50)})
    measure_file(path, threads=2, progress=lambda *_: told.append(len(begun)))
    assert len(begun) == len(told) == 50
    assert told[0] < 20


@pytest.mark.parametrize("rarely", [0, np.inf])
def test_memory_is_given_back_as_the_file_is_passed(rarely, saved, monkeypatch):
    """After each tile where that takes no time, else before the tiles passed are as much as the largest tensor."""
    monkeypatch.setattr(tensors, "RARELY", rarely)
    monkeypatch.setattr(tensors, "HUGE", 1)
    smallest_tiles(monkeypatch)
    given = []
    monkeypatch.setattr(tensors.MappedFile, "release", lambda self, *part: given.append(part))
    path = saved(a=gaussian(256, 16), b=gaussian(128, 16))  # 6 tiles of 64 rows
    measure_file(path, threads=1)
    tile, last = 64 * 16 * 8, path.stat().st_size
    assert [end for _, end in given] == [last - tile * rest for rest in (range(5, -1, -1) if rarely == 0 else (5, 1))]
    assert [begin for begin, _ in given] == [0, *(end for _, end in given[:-1])]


@PASSES
def test_tensors_need_not_be_aligned(compiled, use, tmp_path):
    use(compiled)
    weights = gaussian(20, 10)
    header = json.dumps(
        {
            "odd": {"dtype": "F8_E5M2", "shape": [3], "data_offsets": [0, 3]},
            "w": {"dtype": "F64", "shape": [20, 10], "data_offsets": [3, 1603]},
        }
    ).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x3c\x3c\x3c" + weights.numpy().tobytes())
    found = measure_file(path)
    assert found["odd"].moments.mean == 1
    np.testing.assert_allclose(found["w"].rows, weights.numpy().sum(1), **CLOSE)


# --- graphs ----------------------------------------------------------------------------------------------------------


def test_a_layer_measures_as_its_graph_does(saved):
    torch.manual_seed(0)
    for layer, x in ((nn.Linear(7, 5), torch.zeros(1, 7)), (nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 5, 5))):
        graph = dg.from_torch(layer.double(), x.double(), aggregate="sum")
        found = measure_file(saved(**layer.state_dict()))["weight"]
        into, out_of = dg.directed_strengths(graph)
        np.testing.assert_allclose(found.rows, into[-len(found.rows) :], **CLOSE)
        np.testing.assert_allclose(found.columns, out_of[: len(found.columns)], **CLOSE)
        if isinstance(layer, nn.Linear):
            (expected,) = dg.link_weights(graph).drop(columns=["source", "target", "kind"]).to_dict("records")
            assert {name: found.row()[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_lazy_tensors_are_weights_for_a_graph_without_any(saved):
    def build():
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))

    torch.manual_seed(0)
    model = build()
    path = saved(**model.state_dict())
    torch.manual_seed(1)
    graph = dg.from_torch(build(), torch.zeros(1, 6)).with_weights(LazyTensors(path))
    assert np.array_equal(dg.strength(graph), dg.strength(dg.from_torch(model, torch.zeros(1, 6))))
    assert list(LazyTensors(path)) == [tensor.name for tensor in stored_tensors(path)]
    assert "3.weight" not in LazyTensors(path)
    with pytest.raises(LoadError, match="does not exist"):
        LazyTensors(path.with_name("none.safetensors"))


# --- files -----------------------------------------------------------------------------------------------------------


def sharded(folder, index="model.safetensors.index.json", **places):
    save_file({"a": torch.ones(2, 2), "c": torch.ones(3)}, folder / "model-1.safetensors")
    save_file({"b": torch.full((2, 2), 2.0)}, folder / "model-2.safetensors")
    where = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors", **places}
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder / index


def test_shards_are_measured_by_their_index_and_by_their_folder(tmp_path):
    index = sharded(tmp_path)
    for path in (index, tmp_path, str(tmp_path)):
        found = measure_file(path)
        assert [tensor.name for tensor in found] == ["a", "c", "b"]
        assert [tensor.moments.mean for tensor in found] == [1, 1, 2]


def test_a_folder_with_one_file_is_that_file(tmp_path, saved):
    saved(w=torch.ones(2, 2))
    (tmp_path / "config.json").write_text("{}")
    assert len(measure_file(tmp_path)) == 1


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"b": "../model-2.safetensors"}, "beside it"),
        ({"b": "/etc/passwd"}, "beside it"),
        ({"b": "missing.safetensors"}, "are missing"),
        ({"b": "model-1.safetensors"}, "does not hold it"),
        ({"z": "model-2.safetensors"}, "does not hold it"),
        ({"z": 3}, "beside it"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(places, words, tmp_path):
    with pytest.raises(LoadError, match=words):
        measure_file(sharded(tmp_path, **places))


def test_a_folder_must_hold_one_model(tmp_path, saved):
    with pytest.raises(LoadError, match="holds no file"):
        measure_file(tmp_path)
    saved("one.safetensors", w=torch.ones(1))
    saved("two.safetensors", w=torch.ones(1))
    with pytest.raises(LoadError, match=r"2 models by their names \(one.safetensors, two.safetensors\)"):
        measure_file(tmp_path)


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(LoadError, match="no safetensors file by its name"):
        measure_file(tmp_path / "model.pt")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(LoadError, match="truncated, corrupt or no safetensors file"):
        measure_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize("shape", [[1 << 40, 1 << 20], [1 << 62, 4], [3, 2]])
def test_a_header_that_lies_about_sizes_is_refused_before_anything_is_allocated(shape, tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 16]}}).encode()
    path = tmp_path / "lie.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(LoadError):
        measure_file(path)
    path.write_bytes(struct.pack("<Q", 1 << 62) + header + bytes(16))
    with pytest.raises(LoadError):
        measure_file(path)


@pytest.mark.parametrize("shape", [[1 << 40, 0], [0, 1 << 62], [3, 1 << 40, 0]])
def test_a_tensor_without_weights_takes_no_memory_for_its_sums(shape, tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "nothing.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(LoadError, match=r"'w' of shape .* has no weights"):
        measure_file(path)


def test_an_index_that_is_exchanged_while_it_is_read_is_no_way_out_of_the_file(tmp_path, saved, monkeypatch):
    path = saved(w=torch.ones(4))
    monkeypatch.setattr("safetensors.safe_open", lambda *args: nullcontext())  # as if it had seen another file
    content = path.read_bytes().replace(b"[0,16]", b"[0,99]")
    path.write_bytes(content)
    with pytest.raises(LoadError, match="does not lie where its header says"):
        measure_file(path)


def test_integers_and_boolean_values_are_skipped_and_named(saved):
    found = measure_file(saved(i=torch.arange(3), b=torch.ones(2, dtype=torch.bool), w=torch.ones(2, 2)))
    assert {(tensor.name, tensor.dtype) for tensor in found.skipped} == {("i", "I64"), ("b", "BOOL")}
    assert [tensor.name for tensor in found] == ["w"]


def test_names_that_are_not_there_are_told_with_near_ones(saved):
    with pytest.raises(InputError, match=r"no tensor 'wieght' was measured: did you mean 'weight'\?"):
        measure_file(saved(weight=torch.ones(2, 2)))["wieght"]


def test_progress_counts_bytes_up_to_the_total(saved, monkeypatch):
    smallest_tiles(monkeypatch)
    calls = []
    measure_file(
        saved(w=torch.ones(256, 8), v=torch.ones(5), i=torch.arange(3)), progress=lambda *call: calls.append(call)
    )
    done = [done for done, _ in calls]
    assert len(done) > 4
    assert done == sorted(set(done))
    assert {total for _, total in calls} == {256 * 8 * 4 + 5 * 4} == {done[-1]}


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interruption_ends_it_soon_and_is_told_as_such(saved, monkeypatch, threads):
    smallest_tiles(monkeypatch)
    tiles = []

    def slow(*args):
        tiles.append(args)
        time.sleep(0.001)
        return moments.totals(*args)

    def interrupted(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "totals", slow)
    path = saved(w=torch.ones(200 * measure.TILE_ROWS, 8))
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt) as caught:
        measure_file(path, threads=threads, progress=interrupted)
    assert len(tiles) < 100  # of 200
    assert threading.active_count() == before, caught  # though what was caught still holds the frames


def test_measuring_a_file_waits_for_no_torch(saved):
    path = saved(w=torch.ones(2, 3))
    code = f"import sys, dnn2graph; dnn2graph.measure_file({str(path)!r}).table(); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("", None), ("many", None), ("0", None)])
def test_as_many_threads_as_there_are_processors(monkeypatch, told, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert processors() == (threads or len(os.sched_getaffinity(0)))


def test_threads_must_be_positive(saved):
    with pytest.raises(InputError, match="threads=0"):
        measure_file(saved(w=torch.ones(2)), threads=0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "large.safetensors"
    save_file({f"w{i}": torch.ones(4096, 2048) for i in range(8)}, path)  # 8 of 33.6 MB
    code = f"""
from dnn2graph.streaming import measure_file
import dnn2graph.streaming.measure as m
m.LARGE = float("inf")
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
before = peak()
measure_file({str(path)!r}, threads=1)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 33.6e6 + 100e6


# --- tables ----------------------------------------------------------------------------------------------------------


def test_tables_have_a_row_per_tensor_and_a_row_per_sum(saved):
    found = measure_file(saved(a=torch.tensor([[1.0, 2.0, 4.0]]), b=torch.ones(2)))
    table = found.table()
    assert tuple(table.columns) == COLUMNS
    assert table["shape"].tolist() == ["1x3", "2"]
    strengths = found.strengths()
    assert strengths.astype({"tensor": str, "side": str}).to_numpy().tolist() == [
        ["a", "row", 0, 7.0],
        ["a", "column", 0, 1.0],
        ["a", "column", 1, 2.0],
        ["a", "column", 2, 4.0],
    ]


def test_a_file_without_weights_gives_empty_tables(saved):
    found = measure_file(saved(i=torch.arange(3)))
    assert tuple(found.table().columns) == COLUMNS
    assert len(found.table()) == len(found.strengths()) == 0


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".json", ".json.gz"])
def test_tables_are_written_in_every_format(suffix, saved, tmp_path):
    found = measure_file(saved(a=gaussian(3, 4), b=torch.tensor([np.nan])))
    for table in (found.table(), found.strengths()):
        path = tmp_path / f"table{suffix}"
        write.write(table, path)
        kind = suffix.removesuffix(".gz")
        if kind == ".json":
            again = pd.read_json(path, precise_float=True)
            assert "NaN" not in (path.read_text() if suffix == ".json" else "")
        else:
            again = pd.read_csv(path) if kind == ".csv" else pd.read_parquet(path)
        assert len(again) == len(table)
        for column in table.select_dtypes("number"):
            np.testing.assert_array_equal(again[column].astype(float), table[column].astype(float))
    with pytest.raises(ExportError, match=r"ends in \.csv"):
        write.write(table, tmp_path / "table.txt")


# --- is it a graph? --------------------------------------------------------------------------------------------------


def test_the_command_measures_tensors_without_torch(saved):
    """Which takes a second and 200 MB to import: more than to measure most files."""
    path = saved(**{"norm.weight": torch.ones(3), "head.weight": torch.ones(2, 3)})
    code = f"""
import sys
from dnn2graph.cli import main
main(["measure", {os.fspath(path)!r}], standalone_mode=False)
print("torch" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "measuring tensor by tensor" in told.stderr
    assert "head.weight" in told.stdout
    assert told.stdout.split()[-1] == "False"


def test_shapes_tell_whether_a_file_can_become_a_graph(saved, tmp_path):
    chain = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert why_no_graph(saved("chain.safetensors", **chain.state_dict())) is None
    other = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    assert "batch normalisation" in why_no_graph(saved("other.safetensors", **other.state_dict()))
    assert "has no config.json" in why_no_graph(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert why_no_graph(tmp_path) is None


def test_formats_are_told_apart_by_the_type_of_their_bits():
    assert len({format.bits for format in FORMATS.values()}) == len(FORMATS)


def test_totals_of_parts_add_up():
    part = replace(moments.NOTHING, size=2, low=-1.0, high=2.0, zeros=0, l1=3.0, powers=np.array([1.0, 5, 7, 17]))
    whole = part + part
    assert (whole.size, whole.low, whole.high, whole.l1) == (4, -1, 2, 6)
    assert whole.powers.tolist() == [2, 10, 14, 34]
