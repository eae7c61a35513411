"""ONNX files become graphs that compute what the file says; damage and what cannot be represented are told."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from dnn2graph import InputError, LoadError, ModelError, from_torch, load, strength, verify, write_graphml
from dnn2graph.cli import main
from dnn2graph.load import load_model
from tests.checkpoints import shared_folder

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def network():
    """Give a convolution and two dense layers in eval mode, with random statistics."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5),
        nn.Tanh(),
        nn.Linear(5, 3),
    )
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    return model.eval()


def exported(path, model, x, **options):
    """Export by way of TorchScript, for which no more packages are needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), path, **{"dynamo": False, "opset_version": 13, **options})
    return path


def reference(path, *inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: x.numpy() for each, x in zip(session.get_inputs(), inputs, strict=True)})


def perceptron(path, *, batch="n", weight=None, changes=lambda model: None, **graph_options):
    """Write x (n, 3) → relu(x @ first.weight) → y (n, 2)."""
    weight = np.arange(6, dtype=np.float32).reshape(3, 2) if weight is None else weight
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first.weight"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["y"], name="relu"),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(weight, "first.weight")],
        **graph_options,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    changes(model)
    path.write_bytes(model.SerializeToString())
    return path


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist_lenet5", "mnist_mlp_256x2"])
def test_a_stored_checkpoint_loads_verifies_and_exports(tmp_path, name):
    folder = shared_folder()
    path = folder / "checkpoints" / f"{name}.onnx" if folder else None
    if path is None or not path.is_file():
        pytest.skip(f"'{name}.onnx' is not in '{folder}': DNN2GRAPH_DATA may name another folder")
    loaded = load_model(path)
    stored = {each.name for each in onnx.load(path).graph.initializer}
    graph = loaded.trace(granularity="position")
    assert set(graph.weights) == stored
    shape = [axis.dim_value for axis in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert verify(loaded.model, graph, x).ok
    (expected,) = reference(path, x)
    np.testing.assert_allclose(graph.replay(x).numpy(), expected, rtol=1e-5, atol=1e-5)
    write_graphml(loaded.trace(), tmp_path / "net.graphml")
    assert (tmp_path / "net.graphml").stat().st_size > 0


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 20])
def test_an_export_of_torch_has_the_graph_of_its_model(tmp_path, opset):
    model, x = network(), torch.randn(1, 2, 6, 6)
    path = exported(tmp_path / "net.onnx", model, x, opset_version=opset)
    loaded, graph = load_model(path), from_torch(model, x)
    found = loaded.trace()
    assert [layer.name for layer in found.layers] == ["input", "0", "3", "5", "7"]
    np.testing.assert_allclose(strength(found), strength(graph), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loaded.model(x).detach(), reference(path, x)[0], rtol=1e-5, atol=1e-5)
    assert verify(loaded.model, loaded.trace(granularity="position"), torch.randn(3, 2, 6, 6)).ok


@pytest.mark.parametrize("opset", [18, 21])
def test_an_export_of_torch_without_torchscript_keeps_the_names_of_weights(tmp_path, opset):
    pytest.importorskip("onnxscript")
    model, x = network(), torch.randn(2, 2, 6, 6)
    path = exported(tmp_path / "net.onnx", model, x, opset_version=opset, dynamo=True, verbose=False)
    graph = load(path)
    names = {"0.weight", "5.weight", "5.bias", "7.weight", "7.bias"}
    assert names <= set(graph.weights)
    np.testing.assert_allclose(strength(graph), strength(from_torch(model, x)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(load_model(path).model(x).detach(), reference(path, x)[0], rtol=1e-5, atol=1e-5)


def test_weights_in_the_graph_are_those_of_the_file_and_can_be_exchanged(tmp_path):
    graph = load(perceptron(tmp_path / "net.onnx"))
    assert [layer.name for layer in graph.layers] == ["input", "first"]
    np.testing.assert_array_equal(graph.adjacency().toarray()[:3, 3:], [[0, 1], [2, 3], [4, 5]])
    other = graph.with_weights({"first.weight": torch.ones(3, 2)})
    np.testing.assert_array_equal(strength(other), [2, 2, 2, 3, 3])


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_a_shape_that_was_written_for_one_number_of_samples_serves_any(tmp_path, samples):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.dense = nn.Conv2d(1, 2, 2), nn.Linear(8, 3)

        def forward(self, x):
            return self.dense(self.conv(x).reshape(samples, 8))

    torch.manual_seed(0)
    model = Fixed().eval()
    path = exported(tmp_path / "net.onnx", model, torch.zeros(samples, 1, 3, 3))
    loaded = load_model(path)
    x = torch.randn(samples, 1, 3, 3)
    np.testing.assert_allclose(loaded.model(x).detach(), model(x).detach(), rtol=1e-5, atol=1e-6)
    graph = loaded.trace(granularity="position")
    assert graph.number_of_nodes() == 9 + 8 + 3
    assert verify(loaded.model, graph, torch.randn(4, 1, 3, 3)).ok


def test_an_lstm_gives_what_torch_gives(tmp_path):
    torch.manual_seed(0)
    model = nn.LSTM(3, 4, num_layers=2, bidirectional=True).eval()
    x = torch.randn(5, 1, 3)
    loaded = load_model(exported(tmp_path / "net.onnx", model, x))
    np.testing.assert_allclose(loaded.model(x)[0].detach(), model(x)[0].detach(), rtol=1e-5, atol=1e-6)


def test_several_inputs_and_outputs_keep_their_order(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, a, b):
            return self.right(b), self.left(a)

    model, inputs = Two().eval(), (torch.randn(1, 3), torch.randn(1, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, inputs, tmp_path / "net.onnx", dynamo=False)
    loaded = load_model(tmp_path / "net.onnx")
    assert [tuple(x.shape) for x in loaded.args] == [(1, 3), (1, 4)]
    for one, other in zip(loaded.model(*inputs), model(*inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_keep_their_precision(tmp_path, dtype):
    def retype(model):
        model.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    path = perceptron(tmp_path / "net.onnx", weight=np.ones((3, 2), dtype), changes=retype)
    assert load(path).adjacency().dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert load_model(path).model(torch.ones(1, 3, dtype=load_model(path).args[0].dtype)).tolist() == [[3, 3]]


def test_values_that_are_listed_one_by_one_are_read(tmp_path):
    def listed(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1, 2, 3, 4, 5, 6])

    graph = load(perceptron(tmp_path / "net.onnx", changes=listed))
    np.testing.assert_array_equal(graph.adjacency().toarray()[:3, 3:], [[1, 2], [3, 4], [5, 6]])


# --- example inputs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "samples"), [("n", 1), (1, 1), (10, 10), (None, 1)])
def test_an_example_has_the_declared_sizes_and_one_sample_if_their_number_is_open(tmp_path, batch, samples):
    assert load_model(perceptron(tmp_path / "net.onnx", batch=batch)).args[0].shape == (samples, 3)


def test_a_size_that_is_left_open_is_asked_for(tmp_path):
    x = torch.zeros(1, 2, 6, 6)
    axes = {"images": {0: "n", 2: "height", 3: "width"}}
    path = exported(tmp_path / "net.onnx", nn.Conv2d(2, 3, 3), x, input_names=["images"], dynamic_axes=axes)
    with pytest.raises(InputError, match=r"'images' \(n, 2, height, width\).*--input-shape"):
        load(path)
    assert load(path, example_input=x).number_of_nodes() == 5


def test_an_example_of_the_wrong_number_of_axes_or_inputs_is_told(tmp_path):
    path = perceptron(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"'x' \(n, 3\) has 2 axes, but \(1, 3, 1\) was given"):
        load(path, example_input=torch.zeros(1, 3, 1))
    with pytest.raises(ModelError, match="takes 1 inputs"):
        load(path, example_input=(torch.zeros(1, 3), torch.zeros(1, 3)))
    with pytest.raises(ModelError, match=r"node 'sum' \(MatMul\) failed on inputs of shape \(1, 4\), \(3, 2\)"):
        load(path, example_input=torch.zeros(1, 4))


def test_a_file_brings_its_own_architecture(tmp_path):
    with pytest.raises(InputError, match="leave the model out"):
        load(perceptron(tmp_path / "net.onnx"), nn.Linear(3, 2))


def test_the_command_line_inspects_a_file(tmp_path):
    result = CliRunner().invoke(main, ["inspect", str(perceptron(tmp_path / "net.onnx"))])
    assert result.exit_code == 0, result.output
    assert "first" in result.output


def test_without_the_package_the_remedy_is_told(tmp_path, monkeypatch):
    path = perceptron(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(LoadError, match=r"pip install 'dnn2graph\[onnx\]'"):
        load(path)


# --- what cannot be represented --------------------------------------------------------------------------------------


def test_all_unknown_operators_are_named_at_once_with_their_domains(tmp_path):
    def unknown(model):
        model.graph.node.append(helper.make_node("NonMaxSuppression", ["y", "y"], ["z"]))
        for name in ("v", "w"):
            model.graph.node.append(helper.make_node("FusedConv", ["y"], [name], domain="com.microsoft"))
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    with pytest.raises(LoadError, match=r"NonMaxSuppression, com.microsoft::FusedConv \(2 times\) \(opset 17\)"):
        load(perceptron(tmp_path / "net.onnx", changes=unknown))


def test_graphs_within_operators_are_refused_with_the_reason(tmp_path):
    def branch(model):
        inner = helper.make_graph([], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["y"], ["z"], then_branch=inner, else_branch=inner))

    with pytest.raises(LoadError, match="If holds graphs that run depending on values"):
        load(perceptron(tmp_path / "net.onnx", changes=branch))


@pytest.mark.parametrize("opset", [8, 99])
def test_an_opset_that_is_not_known_is_told_with_the_remedy(tmp_path, opset):
    def other(model):
        model.opset_import[0].version = opset

    with pytest.raises(LoadError, match=rf"opset {opset}; known are 9 to.*convert_version"):
        load(perceptron(tmp_path / "net.onnx", changes=other))


# --- hostile and damaged files ---------------------------------------------------------------------------------------


def set_dims(*dims):
    def change(model):
        model.graph.initializer[0].dims[:] = dims

    return change


def cycle(model):
    model.graph.node[0].input[0] = "y"


def twice(model):
    model.graph.node[1].output[0] = "sum"


def shadow(model):
    model.graph.node[1].output[0] = "x"


def no_output(model):
    model.graph.output[0].name = "absent"


def no_input(model):
    del model.graph.input[:]


def text(model):
    model.graph.initializer[0].data_type = TensorProto.STRING


def sequence(model):
    value = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    model.graph.input[0].CopyFrom(value)


def huge_input(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**62


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (set_dims(2**31, 2**31), r"takes 18,446,744,073,709,551,616 bytes, but 24 are there"),
        (set_dims(2, 2), "takes 16 bytes, but 24 are there"),
        (set_dims(-3, -2), "declares the shape"),
        (cycle, r"reads 'y', which no node before it makes.*cyclic"),
        (twice, "'sum' is made twice"),
        (shadow, "'x' is made twice"),
        (no_output, "nothing makes its outputs"),
        (no_input, "no input"),
        (text, "of type STRING"),
        (sequence, "is a sequence_type"),
        (huge_input, "at most 268,435,456 elements"),
    ],
)
def test_a_file_that_lies_is_told_before_anything_is_allocated(tmp_path, change, part):
    with pytest.raises(LoadError, match=part):
        load(perceptron(tmp_path / "net.onnx", changes=change))


def external(location, offset=0, length=24):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))

    return change


def test_weights_in_a_file_beside_are_mapped(tmp_path):
    weights = np.arange(6, dtype=np.float32)
    (tmp_path / "net.onnx.data").write_bytes(bytes(4) + weights.tobytes())
    graph = load(perceptron(tmp_path / "net.onnx", changes=external("net.onnx.data", 4)))
    np.testing.assert_array_equal(graph.adjacency().toarray()[:3, 3:], weights.reshape(3, 2))


@pytest.mark.parametrize(
    ("location", "offset", "length", "part"),
    [
        ("../secret", 0, 24, "outside of its folder"),
        ("/etc/hostname", 0, 24, "outside of its folder"),
        ("link", 0, 24, "outside of its folder"),
        ("", 0, 24, "outside of its folder"),
        ("absent.data", 0, 24, "does not exist"),
        ("inside/..", 0, 24, "a folder"),
        ("small.data", 0, 24, "is truncated"),
        ("small.data", 2**62, 24, "is truncated"),
        ("small.data", -8, 24, "at byte"),
        ("small.data", 0, 2**40, "takes 24 bytes"),
        ("small.data", "x", 24, "at byte"),
    ],
)
def test_weights_outside_of_the_folder_or_of_their_file_are_refused(tmp_path, location, offset, length, part):
    folder = tmp_path / "model"
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "small.data").write_bytes(bytes(20))
    with pytest.raises(LoadError, match=part):
        load(perceptron(folder / "net.onnx", changes=external(location, offset, length)))


def test_a_file_that_is_cut_off_anywhere_is_told(tmp_path):
    path = perceptron(tmp_path / "net.onnx")
    content = path.read_bytes()
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with suppress(LoadError, InputError):  # some cuts leave out only what is not needed
            assert load(path).number_of_nodes() == 5


def test_damage_is_told_or_harmless(tmp_path):
    path = perceptron(tmp_path / "net.onnx")
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[random.integers(0, len(content), 3)] = random.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with suppress(LoadError, InputError, ModelError):  # anything else would fail the test
            load(path)


@pytest.mark.parametrize("content", [b"hello, world\n", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_a_text_file_is_told(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(LoadError, match=r"net\.onnx"):
        load(tmp_path / "net.onnx")


def doubling(operator, steps):
    """Write a file of a few hundred bytes whose values grow without end."""

    def change(model):
        del model.graph.node[:], model.graph.initializer[:]
        names = ["x", *(f"x{step}" for step in range(steps)), "y"]
        for before, after in pairwise(names):
            attributes = {"axis": 1} if operator == "Concat" else {}
            inputs = [before, before]
            if operator == "Einsum":
                attributes["equation"] = "ab,cd->abcd" if before == "x" else "abcd,efgh->abcdefgh"
            model.graph.node.append(helper.make_node(operator, inputs, [after], **attributes))

    return change


@pytest.mark.parametrize(("operator", "steps"), [("Concat", 60), ("Einsum", 1)])
def test_values_that_grow_without_end_are_refused_before_they_are_allocated(tmp_path, operator, steps):
    path = perceptron(tmp_path / "net.onnx", changes=doubling(operator, steps))
    with pytest.raises(LoadError, match=r"node '.*' \((Concat|Einsum)\) makes would be of shape"):
        load_model(path).model(torch.zeros(1, 3) if operator == "Concat" else torch.zeros(100, 100))
