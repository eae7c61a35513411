"""Files become models strictly and safely: every tensor is used, damage is told, and no code in a file runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dnn2graph import InputError, LoadError, ModelError, WeightsError, from_torch, strength, verify
from dnn2graph.load import load, load_model, read_state_dict, resolve_architecture
from dnn2graph.load.formats import PICKLED
from dnn2graph.load.state_dict import without_prefixes
from tests.strategies import Net

DATA = Path(__file__).parents[1] / "data"


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Tied(nn.Module):
    """Decodes with the weights that it encodes with."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4, bias=False)
        self.decoder = nn.Linear(4, 4, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.encoder(x).relu())


class RunsCode:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def saved(folder, stored, name="model.pt", **options):
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(stored, path)
    else:
        torch.save(stored, path, **options)
    return path


def same_graph(one, other):
    same_layers = [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    return same_layers and abs(one.adjacency() - other.adjacency()).sum() == 0


# --- state dicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*PICKLED, ".safetensors", ".PTH"])
def test_a_state_dict_of_any_known_suffix_gives_the_graph_of_its_model(tmp_path, suffix):
    path = saved(tmp_path, perceptron().state_dict(), f"model{suffix}")
    untrained = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert same_graph(load(path, untrained), from_torch(perceptron(), torch.zeros(1, 4)))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": state},
        lambda state: {"state_dict": [state]},
        lambda state: [state],
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"_orig_mod.module.{key}": value for key, value in state.items()}},
        lambda state: {key.replace("0.", "0._orig_mod."): value for key, value in state.items()},
    ],
)
def test_a_wrapped_state_dict_is_unwrapped(tmp_path, wrap):
    path = saved(tmp_path, wrap(dict(perceptron().state_dict())))
    untrained = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert same_graph(load(path, untrained), from_torch(perceptron(), torch.zeros(1, 4)))
    assert same_graph(load(path), load(saved(tmp_path, perceptron().state_dict(), "bare.pt")))


def test_a_part_that_is_called_module_keeps_its_name(tmp_path):
    model = nn.Sequential()
    model.add_module("module", nn.Linear(2, 2))
    path = saved(tmp_path, model.state_dict())
    assert [layer.name for layer in load(path, model).layers] == ["input", "module"]


def test_prefixes_stay_where_names_would_collide():
    state = {"a.weight": torch.zeros(1), "a._orig_mod.weight": torch.zeros(1)}
    assert list(without_prefixes(state)) == list(state)


def test_weights_must_fit_strictly_and_all_misfits_are_named(tmp_path):
    state = perceptron().state_dict()
    state["2.wieght"] = state.pop("2.weight")
    state["0.weight"] = torch.zeros(5, 4)
    path = saved(tmp_path, state)
    with pytest.raises(LoadError) as caught:
        load(path, perceptron())
    for part in ("model.pt", "missing '2.weight'", "unexpected '2.wieght'", "0.weight is (5, 4) instead of (3, 4)"):
        assert part in str(caught.value)
    assert "is '2.wieght' meant to be '2.weight'?" in str(caught.value)


def test_counters_of_batches_may_be_missing(tmp_path):
    state = Normalised().state_dict()
    del state["norm.num_batches_tracked"]
    path = saved(tmp_path, state)
    assert load(path, Normalised(), torch.zeros(1, 1, 4, 4)).number_of_nodes() == 3


def test_a_shared_weight_may_be_stored_once(tmp_path):
    path = saved(tmp_path, {"encoder.weight": torch.eye(4)}, "tied.safetensors")
    model = load_model(path, Tied()).model
    assert torch.equal(model.decoder.weight, torch.eye(4))


def test_half_precision_weights_are_loaded_into_the_precision_of_the_model(tmp_path):
    path = saved(tmp_path, {key: value.half() for key, value in perceptron().state_dict().items()})
    assert load_model(path, perceptron()).model[0].weight.dtype == torch.float32


def test_the_shape_of_an_input_is_asked_for_where_no_linear_layer_tells_it(tmp_path):
    path = saved(tmp_path, Normalised().state_dict())
    with pytest.raises(InputError, match=r"Conv2d.*--input-shape"):
        load(path, Normalised())


def test_an_example_of_the_wrong_shape_is_told_with_its_shape(tmp_path):
    path = saved(tmp_path, perceptron().state_dict())
    with pytest.raises(ModelError, match=r"\(1, 7\)"):
        load(path, perceptron(), torch.zeros(1, 7))


def test_an_example_without_an_architecture_is_refused(tmp_path):
    path = saved(tmp_path, perceptron().state_dict())
    with pytest.raises(InputError, match="--arch"):
        load(path, example_input=torch.zeros(1, 4))


def test_weights_that_are_not_finite_load_and_are_told_when_they_are_measured(tmp_path):
    model = perceptron()
    with torch.no_grad():
        model[2].weight[1, 2] = torch.nan
        model[2].weight[0, 1] = torch.inf
    graph = load(saved(tmp_path, model.state_dict()), perceptron())
    with pytest.raises(WeightsError, match="'2' has 2 non-finite"):
        strength(graph)


def test_names_that_are_hostile_to_xml_and_terminals_stay_as_they_are(tmp_path):
    name = "a<b>&\x07\"'😀[red]"
    path = saved(tmp_path, {f"{name}.weight": torch.ones(2, 3), f"{name}.bias": torch.ones(2)})
    assert [layer.name for layer in load(path).layers] == ["input", name]


@pytest.mark.parametrize(
    ("stored", "part"),
    [
        ({}, "empty state dict"),
        (torch.ones(3), "holds a Tensor"),
        ([{}, {}], "holds a list"),
        ({"epoch": 3, "weights": [1.0]}, "'epoch', 'weights'"),
        ({"state_dict": 3}, "holds a int"),
        ({3: torch.ones(3)}, "are no tensors under a name"),
    ],
)
def test_what_is_no_state_dict_is_told(tmp_path, stored, part):
    with pytest.raises(LoadError, match=part):
        read_state_dict(saved(tmp_path, stored))


# --- architectures by name -------------------------------------------------------------------------------------------


@pytest.fixture
def architectures(tmp_path, monkeypatch):
    """A package in the current folder, as a user's is."""
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "own_networks"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_text("import a_library_that_is_not_installed\n")
    (package / "leaves.py").write_text("raise SystemExit(3)\n")
    (package / "small.py").write_text(
        "import torch\n"
        "def net():\n    return torch.nn.Linear(4, 2)\n"
        "def needs(width):\n    return torch.nn.Linear(4, width)\n"
        "def number():\n    return 3\n"
        "class Holder:\n    net = torch.nn.Linear(4, 2)\n"
        "width = 3\n"
    )


@pytest.mark.parametrize("spec", ["own_networks.small:net", "own_networks.small:Holder.net"])
def test_an_architecture_is_found_in_the_current_folder(architectures, spec):
    path = saved(Path(), nn.Linear(4, 2).state_dict())
    assert load(path, spec).number_of_nodes() == 6


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("own_networks.small", ["package.module:callable"]),
        ("own_networks/small.py:net", ["package.module:callable"]),
        ("own_networks.small:", ["package.module:callable"]),
        ("own_network.small:net", ["no module 'own_network'", "did you mean 'own_networks'"]),
        ("own_networks.smal:net", ["no module 'own_networks.smal'", "did you mean 'small'"]),
        ("own_networks.small:nett", ["has no 'nett'", "did you mean", "'net'"]),
        ("own_networks.broken:net", ["needs 'a_library_that_is_not_installed'"]),
        ("own_networks.leaves:net", ["raised SystemExit"]),
        ("own_networks.small:needs", ["raised TypeError", "function without parameters"]),
        ("own_networks.small:number", ["gave a int"]),
        ("own_networks.small:width", ["is a int"]),
    ],
)
def test_a_wrong_architecture_is_told_with_near_names(architectures, spec, parts):
    with pytest.raises(LoadError) as caught:
        resolve_architecture(spec)
    for part in parts:
        assert part in str(caught.value)


# --- exported programs -----------------------------------------------------------------------------------------------


def exported(folder, model, *args, name="program.pt2", **options):
    torch.export.save(torch.export.export(model.eval(), args, **options), folder / name)
    return folder / name


def test_a_program_has_the_layers_and_parameters_of_the_model_that_was_exported(tmp_path):
    model, x = Normalised().eval(), torch.randn(1, 1, 5, 5)
    loaded = load_model(exported(tmp_path, model, x))
    assert list(loaded.model.state_dict()) == list(model.state_dict())
    assert torch.equal(loaded.args[0], x)
    assert same_graph(loaded.trace(), from_torch(model, x))


SEQUENCES = {
    "LSTM": (lambda: nn.LSTM(4, 3), (5, 1, 4), 1),
    "LSTM, stacked and projected": (
        lambda: nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True, proj_size=2),
        (1, 5, 4),
        0,
    ),
    "GRU, without biases": (lambda: nn.GRU(4, 3, batch_first=True, bias=False), (1, 5, 4), 0),
    "RNN, both ways": (lambda: nn.RNN(4, 3, bidirectional=True, nonlinearity="relu"), (5, 1, 4), 1),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch has no faster way
@pytest.mark.parametrize("case", SEQUENCES)
def test_a_recurrent_program_has_the_graph_of_its_module(tmp_path, case):
    build, shape, axis = SEQUENCES[case]
    model, x = Net(lambda self, x: self.layers(x)[0], layers=build()).eval(), torch.randn(shape)
    path = exported(tmp_path, model, x)
    loaded, graph = load_model(path), from_torch(model, x, batch_axis=axis)
    found = loaded.trace(batch_axis=axis)
    assert "recurrent" in {links.kind for links in found.links}
    assert [layer.name for layer in found.layers] == [layer.name for layer in graph.layers]
    assert abs(found.adjacency() - graph.adjacency()).sum() == 0
    assert verify(loaded.model, loaded.trace(batch_axis=axis, granularity="position", shared="unfold"), x).ok
    assert torch.equal(loaded.model(x), model(x))  # the program is the same as before


def test_a_program_for_several_steps_is_called_as_it_is(tmp_path):
    """Its first axis has a fixed length that is not that of samples."""
    model = nn.LSTM(4, 3).eval()
    loaded = load_model(exported(tmp_path, model, torch.zeros(5, 1, 4)))
    assert torch.equal(loaded.model(torch.ones(5, 1, 4))[0], model(torch.ones(5, 1, 4))[0])


def test_a_program_verifies_on_more_samples_than_it_was_exported_with(tmp_path):
    loaded = load_model(exported(tmp_path, Normalised(), torch.randn(1, 1, 5, 5)))
    found = verify(loaded.model, loaded.trace(granularity="position"), torch.randn(3, 1, 5, 5))
    assert found.ok
    assert found.samples == 3


def test_a_program_with_a_free_number_of_samples_takes_any(tmp_path):
    shapes = {"x": {0: torch.export.Dim("samples")}}
    path = exported(tmp_path, Normalised(), torch.randn(2, 1, 5, 5), dynamic_shapes=shapes)
    loaded = load_model(path)
    assert loaded.model(torch.zeros(4, 1, 5, 5)).shape == (4, 2, 3, 3)
    assert loaded.trace().number_of_nodes() == 3


def test_the_module_of_a_program_can_be_traced_by_itself(tmp_path):
    model, x = Normalised().eval(), torch.randn(1, 1, 5, 5)
    module = torch.export.load(exported(tmp_path, model, x)).module()
    graph = from_torch(module, x)
    assert abs(graph.adjacency() - from_torch(model, x).adjacency()).sum() == 0


def test_a_program_brings_its_own_architecture():
    with pytest.raises(InputError, match="leave the model out"):
        load(DATA / "digits_cnn.pt2", perceptron())


# --- damage and other formats ----------------------------------------------------------------------------------------


def original(folder, kind):
    if kind == "program":
        return exported(folder, perceptron(), torch.zeros(1, 4))
    if kind == "safetensors":
        return saved(folder, perceptron().state_dict(), "model.safetensors")
    return saved(folder, perceptron().state_dict(), _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "program"])
def test_a_file_that_is_cut_off_anywhere_is_told(tmp_path, kind):
    path = original(tmp_path, kind)
    content = path.read_bytes()
    for length in [1, 2, 7, 8, 9, 64, 200, *np.linspace(300, len(content) - 1, 12).astype(int)]:
        path.write_bytes(content[:length])
        with pytest.raises(LoadError, match=path.name):
            load(path)


@pytest.mark.parametrize("kind", ["zip", "program"])
def test_a_damaged_weight_is_found_by_its_checksum(tmp_path, kind):
    path = original(tmp_path, kind)
    content = bytearray(path.read_bytes())
    place = content.find(perceptron()[0].weight.detach().numpy().tobytes())
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(LoadError, match="checksum"):
        load(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "program"])
def test_damage_is_told_or_harmless(tmp_path, kind):
    path = original(tmp_path, kind)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[random.integers(0, len(content), 3)] = random.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with suppress(LoadError):  # anything else would fail the test
            load_model(path)


def header_lies(header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        (2**63 - 1).to_bytes(8, "little") + b"{}",
        header_lies({"0.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}),
        header_lies({"0.weight": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}}) + bytes(16),
        header_lies({"0.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 0]}}) + bytes(16),
        header_lies({"0.weight": {"dtype": "F33", "shape": [2, 2], "data_offsets": [0, 16]}}) + bytes(16),
        header_lies({"0.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 16]}}) + bytes(16),
    ],
)
def test_a_safetensors_header_that_lies_is_told(tmp_path, content):
    path = tmp_path / "lies.safetensors"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=r"lies.safetensors.*copy it again"):
        load(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pt2"])
@pytest.mark.parametrize("content", [b"hello, world\n", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_a_text_file_is_told(tmp_path, suffix, content):
    path = tmp_path / f"text{suffix}"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=f"text{suffix}"):
        load(path)


def test_missing_empty_and_odd_files_are_told(tmp_path):
    saved(tmp_path, {}, "network.pt")
    with pytest.raises(LoadError, match=r"does not exist: did you mean 'network.pt'"):
        load(tmp_path / "netwrok.pt")
    (tmp_path / "empty.pt2").touch()
    with pytest.raises(LoadError, match="is empty"):
        load(tmp_path / "empty.pt2")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(LoadError, match="is a folder"):
        load(tmp_path / "folder.pt")
    with pytest.raises(LoadError, match="cannot be opened"):
        load(tmp_path / f"{'long' * 100}.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(LoadError, match="no regular file"):
        load(tmp_path / "pipe.pt")


@pytest.mark.parametrize(("name", "part"), [("net.h5", "has the suffix '.h5'"), ("net", "has no suffix")])
def test_an_unknown_suffix_is_told_with_those_that_are_known(tmp_path, name, part):
    with pytest.raises(LoadError, match=rf"{part}.*\.pt2.*\.safetensors"):
        load(tmp_path / name)


# --- files that would run code ---------------------------------------------------------------------------------------


@pytest.fixture
def marker(tmp_path):
    """A path that code in a file would create."""
    path = tmp_path / "code-ran"
    yield path
    assert not path.exists()


def write_zip(path, content):
    torch.save(content, path)


def write_legacy(path, content):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(path, content):
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize(
    ("write", "part"),
    [(write_zip, r"\(posix.mkdir\)"), (write_legacy, r"\(posix.mkdir\)"), (write_pickle, "pickle of Python objects")],
)
@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, marker, write, part, suffix):
    write(tmp_path / f"evil{suffix}", {"state_dict": RunsCode(marker)})
    with pytest.raises(LoadError, match=rf"{part}.*never runs the code.*state_dict\(\)"):
        load(tmp_path / f"evil{suffix}")


def test_a_whole_pickled_model_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(LoadError, match=r"torch\.nn\.modules.*save\(model\.state_dict\(\), path\)"):
        load(saved(tmp_path, perceptron()))


def test_a_torchscript_archive_is_refused_with_the_reason(tmp_path):
    script = torch.jit.trace(perceptron(), torch.zeros(1, 4))
    script.save(str(tmp_path / "script.pt"))
    with pytest.raises(LoadError, match=r"TorchScript archive.*torch.export.save"):
        load(tmp_path / "script.pt")


def test_a_program_with_the_name_of_a_state_dict_is_told(tmp_path):
    exported(tmp_path, perceptron(), torch.zeros(1, 4)).rename(tmp_path / "program.pt")
    with pytest.raises(LoadError, match=r"rename it to end in .pt2"):
        load(tmp_path / "program.pt")


def tampered(path, record, change, **added):
    """Rewrite one record of an archive, and add others."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, change(content) if name.endswith(record) else content)
        for name, content in added.items():
            archive.writestr(f"{path.stem}/{name.replace('__', '/')}", content)
    return path


def in_json(change):
    def changed(content):
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return changed


def pickled(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def test_a_program_whose_example_inputs_would_run_code_is_refused(tmp_path, marker):
    path = original(tmp_path, "program")
    tampered(path, "sample_inputs/model.pt", lambda _: pickled(((RunsCode(marker),), {})))
    with pytest.raises(LoadError, match=r"posix.mkdir.*example inputs"):
        load(path)


@pytest.mark.parametrize("target", ["torch.os.mkdir", "torch.load", "torch.ops.aten.from_file.default"])
def test_a_program_that_calls_a_function_is_refused(tmp_path, marker, target):
    def change(program):
        node = program["graph_module"]["graph"]["nodes"][0]
        node["target"] = target
        node["inputs"] = [{"name": "", "arg": {"as_string": str(marker)}, "kind": 1}]

    path = tampered(original(tmp_path, "program"), "models/model.json", in_json(change))
    with pytest.raises(LoadError, match=r"could run code.*target"):
        load(path)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').mkdir({})",
        "eval('mkdir')",
        "Symbol('s').__class__",
        "(exec)('mkdir')",
        'Symbol("s")',
        "[x for x in s]",
    ],
)
def test_a_program_with_an_expression_that_is_no_size_is_refused(tmp_path, marker, expression):
    def change(program):
        program["extra_size"] = {"expr_str": expression.format(repr(str(marker)))}

    path = tampered(original(tmp_path, "program"), "models/model.json", in_json(change))
    with pytest.raises(LoadError, match=r"could run code.*expr_str"):
        load(path)


def test_a_program_with_a_name_that_is_code_is_refused(tmp_path, marker):
    def change(program):
        last = program["graph_module"]["graph"]["inputs"][-1]["as_tensor"]
        last["name"] = f"x=__import__('os').mkdir({str(marker)!r})"

    path = tampered(original(tmp_path, "program"), "models/model.json", in_json(change))
    with pytest.raises(LoadError, match=r"could run code.*name"):
        load(path)


def test_a_program_with_pickled_weights_is_refused(tmp_path, marker):
    def change(weights):
        for entry in weights["config"].values():
            entry["use_pickle"] = True

    path = original(tmp_path, "program")
    tampered(path, "weights/weight_0", lambda _: pickled(RunsCode(marker)))
    tampered(path, "model_weights_config.json", in_json(change))
    with pytest.raises(LoadError, match="use_pickle"):
        load(path)


def test_a_program_with_objects_of_its_own_is_refused(tmp_path, marker):
    def change(constants):
        constants["config"]["evil"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False}

    evil = {"data__constants__opaque_obj_0": pickle.dumps(RunsCode(marker))}
    path = tampered(original(tmp_path, "program"), "model_constants_config.json", in_json(change), **evil)
    with pytest.raises(LoadError, match="opaque_obj_0"):
        load(path)


def test_a_program_of_an_earlier_torch_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "program.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("version", "1")
    with pytest.raises(LoadError, match="earlier versions of torch kept programs: let a newer one write it again"):
        load(tmp_path / "program.pt2")


def test_a_compiled_program_is_refused(tmp_path):
    path = tampered(original(tmp_path, "program"), "none", bytes, data__aotinductor__model__code="x")
    with pytest.raises(LoadError, match="compiled"):
        load(path)


def test_reading_a_program_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    before = dict(os.environ)
    load_model(DATA / "digits_mlp.pt2")
    assert dict(os.environ) == before
