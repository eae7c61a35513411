import gzip
import io
import os
import socket
import struct
import sys
import tarfile
import threading
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from dnn2graph import datasets
from dnn2graph.datasets import data_folder, load
from dnn2graph.errors import DataError

SHARED = Path(os.environ.get("DNN2GRAPH_DATA") or Path(__file__).parents[2] / "shared" / "data")
IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
TARBALL, SUBSET = "cifar-10-binary.tar.gz", "cifar10_test_4000.npz"


def shared(file):
    """Give the folder of real data sets, or skip when it lacks `file`."""
    if not (SHARED / file).is_file():
        pytest.skip(f"{file} is not in {SHARED} (DNN2GRAPH_DATA names another folder)")
    return SHARED


def idx(values, magic=None):
    """Encode an array of uint8 as an idx file."""
    values = np.asarray(values, np.uint8)
    return (magic or bytes([0, 0, 8, values.ndim])) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(folder, images=None, labels=(3, 1)):
    """Write a test split of two images of 2x3 to `folder/mnist`; either file's decompressed bytes may be given."""
    pixels = np.array([[[0, 51, 102], [153, 204, 255]], [[255, 0, 0], [0, 0, 0]]])
    (folder / "mnist").mkdir(exist_ok=True)
    (folder / "mnist" / IMAGES).write_bytes(gzip.compress(images or idx(pixels)))
    (folder / "mnist" / LABELS).write_bytes(gzip.compress(labels if isinstance(labels, bytes) else idx(labels)))


def write_tarball(folder, monkeypatch, records):
    """Write a CIFAR-10 tarball whose six batches all hold `records` (N, 3073)."""
    monkeypatch.setattr(datasets, "CIFAR10_BATCH", 2)
    (folder / "cifar10").mkdir(exist_ok=True)
    with tarfile.open(folder / "cifar10" / TARBALL, "w:gz") as archive:
        for batch in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{batch}")
            member.size = records.nbytes
            archive.addfile(member, io.BytesIO(records.tobytes()))


def write_subset(folder, **changes):
    """Write the subset's test file with two images; `changes` replaces arrays."""
    (folder / "cifar10").mkdir(exist_ok=True)
    images = np.arange(2 * 32 * 32 * 3).astype(np.uint8).reshape(2, 32, 32, 3)
    arrays = {"images": images, "labels": np.uint8([9, 0]), "classes": np.array(datasets.CIFAR10_CLASSES)}
    np.savez_compressed(folder / "cifar10" / SUBSET, **{**arrays, **changes})
    return images


@pytest.fixture
def served(tmp_path_factory, monkeypatch):
    """Serve an empty folder on the loopback as the address of both data sets; gives folder and list of requests."""
    folder, requested = tmp_path_factory.mktemp("served"), []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _format, request="", *_):
            requested.append(request)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # pooch waits between attempts
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(datasets, "MNIST_ADDRESS", address)
        monkeypatch.setattr(datasets, "CIFAR10_ADDRESS", address)
        yield folder, requested
        server.shutdown()
        thread.join()


def serve_mnist(served, tmp_path, monkeypatch):
    """Offer the tiny MNIST at the served address as if it were the official one; gives its folder."""
    write_mnist(tmp_path)
    for file in (IMAGES, LABELS):
        content = (tmp_path / "mnist" / file).read_bytes()
        (served[0] / file).write_bytes(content)
        monkeypatch.setitem(datasets.MD5, file, md5(content).hexdigest())
    return served[0]


# --- what is loaded


def test_digits_are_float_images_in_the_unit_interval_and_split_in_two():
    train, test = load("digits"), load("digits", split="test")
    assert train.images.shape == (1438, 1, 8, 8)
    assert test.images.shape == (359, 1, 8, 8)
    assert train.images.dtype == np.float32
    assert train.labels.dtype == np.int64
    assert (train.images.min(), train.images.max()) == (0, 1)
    assert train.classes == tuple("0123456789")
    assert set(train.labels) == set(test.labels) == set(range(10))


def test_the_official_mnist_starts_with_its_well_known_digits():
    folder = shared(f"mnist/{IMAGES}")
    train, test = load("mnist", folder), load("mnist", folder, split="test")
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.images.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)  # the published mean


def test_the_cifar10_subset_is_read_when_the_tarball_is_absent():
    data = load("cifar10", shared(f"cifar10/{SUBSET}"), split="test")
    assert data.images.shape == (4000, 3, 32, 32)
    assert np.bincount(data.labels).tolist() == [400] * 10
    assert data.classes == datasets.CIFAR10_CLASSES
    assert data.images.mean(axis=(0, 2, 3), dtype=np.float64) == pytest.approx([0.494, 0.485, 0.450], abs=0.005)


def test_mnist_pixels_are_divided_by_255(tmp_path):
    write_mnist(tmp_path)
    data = load("mnist", tmp_path, split="test")
    assert data.images[0, 0].tolist() == np.float32([[0, 0.2, 0.4], [0.6, 0.8, 1]]).tolist()
    assert data.labels.tolist() == [3, 1]


def test_subset_images_become_channels_first(tmp_path):
    images = write_subset(tmp_path)
    data = load("cifar10", tmp_path, split="test")
    assert (data.images[1, 2, 5, 7] * 255).round() == images[1, 5, 7, 2]
    assert data.images.flags.c_contiguous
    assert data.labels.tolist() == [9, 0]


def test_the_tarball_is_preferred_to_the_subset_and_train_joins_five_batches(tmp_path, monkeypatch):
    write_subset(tmp_path)
    records = np.zeros((2, 3073), np.uint8)
    records[:, 0] = 4, 2
    records[0, 1 + 1024 + 32 + 3] = 255  # green, second row, fourth column
    write_tarball(tmp_path, monkeypatch, records)
    train, test = load("cifar10", tmp_path), load("cifar10", tmp_path, split="test")
    assert train.labels.tolist() == [4, 2] * 5
    assert test.labels.tolist() == [4, 2]
    assert np.argwhere(test.images).tolist() == [[0, 1, 1, 3]]


def test_the_folder_is_the_argument_then_the_environment_then_data(monkeypatch):
    monkeypatch.setenv("DNN2GRAPH_DATA", "from-environment")
    assert data_folder("given") == Path("given")
    assert data_folder() == Path("from-environment")
    monkeypatch.delenv("DNN2GRAPH_DATA")
    assert data_folder() == Path("data")
    assert data_folder("~/sets") == Path.home() / "sets"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "svhn"}, "data set 'svhn' is unknown: use one of digits, mnist, cifar10"),
        ({"name": "digits", "split": "valid"}, "split 'valid' is unknown: use 'train' or 'test'"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(arguments, message):
    with pytest.raises(DataError, match=message):
        load(**arguments)


# --- files that are damaged


@pytest.mark.parametrize(
    ("files", "file", "cause"),
    [
        ({"images": idx([[[1]]], magic=b"\0\0\x08\x01")}, IMAGES, "its magic number is 0x00000801, not 0x00000803"),
        ({"images": idx([[[1, 2]]])[:-1]}, IMAGES, "it holds 1 values, its header promises 2"),
        ({"images": b"\0\0\x08\x03\0"}, IMAGES, "unpack requires"),
        ({"labels": idx([[[1]]])}, LABELS, "its magic number is 0x00000803, not 0x00000801"),
        ({"labels": idx([3, 1, 4])}, LABELS, "labels have shape (3,) for 2 images"),
        ({"labels": idx([3, 26])}, LABELS, "labels reach from 3 to 26 for 10 classes"),
    ],
)
def test_a_wrong_idx_file_is_named_with_cause_and_remedy(tmp_path, files, file, cause):
    write_mnist(tmp_path, **files)
    with pytest.raises(DataError) as caught:
        load("mnist", tmp_path, split="test")
    message = str(caught.value)
    assert message.startswith(f"'{tmp_path / 'mnist' / file}' cannot be read ({cause}")
    assert "replace it by an intact copy" in message
    assert "\n" not in message


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "one byte changed", "empty"])
def test_a_damaged_gzip_is_a_data_error(tmp_path, damage):
    write_mnist(tmp_path)
    path = tmp_path / "mnist" / IMAGES
    content = path.read_bytes()
    changed = bytes([content[-8] ^ 1])  # in the check sum
    path.write_bytes(
        {
            "truncated": content[:-12],
            "not gzip": b"<html>not found</html>",
            "one byte changed": content[:-8] + changed + content[-7:],
            "empty": b"",
        }[damage]
    )
    with pytest.raises(DataError, match=f"{IMAGES}' cannot be read"):
        load("mnist", tmp_path, split="test")


def test_every_truncation_of_an_npz_is_a_data_error(tmp_path):
    write_subset(tmp_path)
    path = tmp_path / "cifar10" / SUBSET
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=f"{SUBSET}' cannot be read"):
            load("cifar10", tmp_path, split="test")


def test_a_changed_byte_of_an_npz_never_changes_the_images(tmp_path):
    write_subset(tmp_path)
    intact = load("cifar10", tmp_path, split="test")
    path = tmp_path / "cifar10" / SUBSET
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 41):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            assert (load("cifar10", tmp_path, split="test").images == intact.images).all()
        except DataError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"images": np.zeros((2, 3, 32, 32), np.uint8)}, r"images are uint8 \(2, 3, 32, 32\), not uint8"),
        ({"images": np.zeros((2, 32, 32, 3))}, "images are float64"),
        ({"labels": np.array([{}, {}])}, "Object arrays cannot be loaded"),
        ({"labels": np.uint8([3, 11])}, "labels reach from 3 to 11 for 10 classes"),
    ],
)
def test_an_npz_with_other_contents_is_refused(tmp_path, changes, cause):
    write_subset(tmp_path, **changes)
    with pytest.raises(DataError, match=cause):
        load("cifar10", tmp_path, split="test")


def test_an_npz_that_lacks_an_array_or_is_a_bare_array_is_refused(tmp_path):
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / SUBSET
    np.savez(path, images=np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(DataError, match="labels is not a file in the archive"):
        load("cifar10", tmp_path, split="test")
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(DataError, match="cannot be read"):
        load("cifar10", tmp_path, split="test")


def test_a_tarball_with_short_or_absent_batches_is_refused(tmp_path, monkeypatch):
    write_tarball(tmp_path, monkeypatch, np.zeros((1, 3073), np.uint8))
    with pytest.raises(DataError, match=r"test_batch\.bin has 3073 bytes, not 6146"):
        load("cifar10", tmp_path, split="test")
    with tarfile.open(tmp_path / "cifar10" / TARBALL, "w:gz"):
        pass
    with pytest.raises(DataError, match=r"'cifar-10-batches-bin/test_batch\.bin' not found"):
        load("cifar10", tmp_path, split="test")


# --- files that are absent


def test_a_download_is_kept_and_not_asked_for_again(tmp_path, served, monkeypatch):
    serve_mnist(served, tmp_path, monkeypatch)
    expected = load("mnist", tmp_path, split="test")
    for _ in range(2):
        data = load("mnist", tmp_path / "new", split="test")
        assert (data.images == expected.images).all()
    assert len(served[1]) == 2  # images, labels
    assert sorted(os.listdir(tmp_path / "new" / "mnist")) == [IMAGES, LABELS]


def test_a_download_that_breaks_off_is_tried_again(tmp_path, served, monkeypatch):
    folder = serve_mnist(served, tmp_path, monkeypatch)
    send, attempts = SimpleHTTPRequestHandler.copyfile, []

    def break_off_once(handler, source, target):
        attempts.append(handler.path)
        if len(attempts) == 1:
            target.write(source.read(10))
        else:
            send(handler, source, target)

    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", break_off_once)
    load("mnist", tmp_path / "new", split="test")
    assert attempts == [f"/{IMAGES}", f"/{IMAGES}", f"/{LABELS}"]
    assert (tmp_path / "new" / "mnist" / IMAGES).read_bytes() == (folder / IMAGES).read_bytes()


@pytest.mark.parametrize(("name", "file"), [("mnist", IMAGES), ("cifar10", TARBALL)])
def test_a_download_with_another_checksum_is_refused_and_leaves_nothing(tmp_path, served, name, file):
    (served[0] / file).write_bytes(b"another file")
    with pytest.raises(DataError, match="what came is not the official file: its md5 differs"):
        load(name, tmp_path, split="test")
    assert os.listdir(tmp_path / name) == []


def test_a_file_that_the_server_lacks_is_told_with_its_answer(tmp_path, served):
    with pytest.raises(DataError, match="the server answered 404"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(("name", "file"), [("mnist", IMAGES), ("cifar10", TARBALL)])
def test_offline_one_sentence_names_file_folder_address_and_remedy(tmp_path, monkeypatch, name, file):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        monkeypatch.setattr(datasets, f"{name.upper()}_ADDRESS", address)
        monkeypatch.setattr(datasets, "RETRIES", 0)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with pytest.raises(DataError) as caught:
            load(name, tmp_path, split="test")
    assert str(caught.value) == (
        f"'{file}' is not in '{tmp_path / name}' and cannot be downloaded from {address}{file} "
        f"(no connection, or it broke off): put the file there, "
        f"or name the folder that holds '{name}/' by --data or DNN2GRAPH_DATA"
    )


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"Not a directory.*put the file there"):
        load("mnist", tmp_path / "file")


@pytest.mark.parametrize(("name", "library"), [("mnist", "pooch"), ("digits", "sklearn.datasets")])
def test_an_absent_library_is_answered_with_the_extra_that_brings_it(tmp_path, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DataError, match=r"pip install 'dnn2graph\[data\]'"):
        load(name, tmp_path)


def test_a_terminal_sees_the_progress_of_a_download_and_a_pipe_does_not(tmp_path, served, monkeypatch, capsys):
    serve_mnist(served, tmp_path, monkeypatch)
    load("mnist", tmp_path / "piped", split="test")
    assert "━" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    load("mnist", tmp_path / "terminal", split="test")
    assert "━" in capsys.readouterr().err
