"""Labelled images to train on and to measure with: digits (bundled with scikit-learn), MNIST and CIFAR-10.

Every loader gives the same thing, a `Dataset`. Official files are looked for in a folder (`data_folder`) and downloaded
there when they are absent; nothing that is read can run code (no pickles).
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnn2graph.errors import DataError

MNIST_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
CIFAR10_ADDRESS = "https://www.cs.toronto.edu/~kriz/"
RETRIES = 2  # further attempts after a download that failed; pooch waits 1 s, then 2 s, between them

MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
}
DIGIT_CLASSES = tuple("0123456789")
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_SHAPE = (3, 32, 32)  # (C, H, W): one record of a binary batch is a label byte, then these bytes
CIFAR10_BATCH = 10000  # records in each of the six binary batches


@dataclass(frozen=True, eq=False)  # eq=False: comparing arrays field by field has no truth value
class Dataset:
    """Labelled images.

    Attributes
    ----------
    images : numpy.ndarray
        Shape (N, C, H, W), float32 in [0, 1].
    labels : numpy.ndarray
        Shape (N,), int64: the class index of each image.
    classes : tuple of str
        Name of each class, by class index.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def load(name: str, data: str | os.PathLike[str] | None = None, split: str = "train") -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10"}
        digits: 1797 images of 8x8 that come with scikit-learn; every fifth one is in the test split.
        mnist: 60 000 / 10 000 images of 28x28, read from `<folder>/mnist/`.
        cifar10: 50 000 / 10 000 colour images of 32x32, read from `<folder>/cifar10/cifar-10-binary.tar.gz`, or from
        the subset `cifar10_train_20000.npz` / `cifar10_test_4000.npz` when that is there and the tarball is not.
    data : path, optional
        Folder of data sets, see `data_folder`. Official files that are absent are downloaded into it.
    split : {"train", "test"}
        Part to load.

    Returns
    -------
    Dataset
        Images (N, C, H, W) float32 in [0, 1], labels (N,) int64 and class names.

    Raises
    ------
    DataError
        When the name or split is unknown, a file is absent and cannot be downloaded, or a file is damaged.

    Examples
    --------
    >>> digits = load("digits", split="test")
    >>> digits.images.shape, digits.labels[:5].tolist()
    ((359, 1, 8, 8), [4, 9, 4, 9, 4])
    """
    if name not in _LOADERS:
        raise DataError(f"data set {name!r} is unknown: use one of {', '.join(_LOADERS)}")
    if split not in ("train", "test"):
        raise DataError(f"split {split!r} is unknown: use 'train' or 'test'")
    return _LOADERS[name](data_folder(data), split)


def data_folder(data: str | os.PathLike[str] | None = None) -> Path:
    """Give the folder that holds the data sets, one subfolder each; it need not exist yet.

    Parameters
    ----------
    data : path, optional
        The folder itself. Without it, the environment variable DNN2GRAPH_DATA; without that, `data` in the current
        directory.

    Returns
    -------
    pathlib.Path
        The folder, with a leading `~` expanded.

    Examples
    --------
    >>> data_folder("sets").name
    'sets'
    """
    return Path(data or os.environ.get("DNN2GRAPH_DATA") or "data").expanduser()


def _digits(folder: Path, split: str) -> Dataset:
    """Read scikit-learn's bundled digits; `folder` is not used."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("data set 'digits' needs scikit-learn: pip install 'dnn2graph[data]'") from error
    bunch = load_digits()
    # The files are ordered by writer, so a fixed stride mixes writers in both splits and needs no seed.
    chosen = (np.arange(len(bunch.target)) % 5 == 4) == (split == "test")
    return _dataset(bunch.images[chosen, None], bunch.target[chosen], DIGIT_CLASSES, white=16)


def _mnist(folder: Path, split: str) -> Dataset:
    """Read the two idx files of a split from `folder/mnist`."""
    prefix = {"train": "train", "test": "t10k"}[split]
    files = [f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"]
    # Both are fetched before either is decoded: a missing file is told at once.
    images_path, labels_path = [_fetched(folder / "mnist" / file, MNIST_ADDRESS) for file in files]
    with _reading(images_path):
        images = _idx(_gunzip(images_path), dimensions=3)  # (N, 28, 28)
    with _reading(labels_path):
        labels = _idx(_gunzip(labels_path), dimensions=1)  # (N,)
        return _dataset(images[:, None], labels, DIGIT_CLASSES)


def _cifar10(folder: Path, split: str) -> Dataset:
    """Read CIFAR-10 from the official binary tarball, else from the subset's npz, else download the tarball."""
    tarball = folder / "cifar10" / "cifar-10-binary.tar.gz"
    subset = folder / "cifar10" / {"train": "cifar10_train_20000.npz", "test": "cifar10_test_4000.npz"}[split]
    if subset.is_file() and not tarball.is_file():
        return _cifar10_subset(subset)
    batches = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}[split]
    _fetched(tarball, CIFAR10_ADDRESS)
    record = 1 + math.prod(CIFAR10_SHAPE)
    with _reading(tarball), tarfile.open(fileobj=io.BytesIO(_gunzip(tarball))) as archive:
        content = b"".join(_cifar10_batch(archive, batch, CIFAR10_BATCH * record) for batch in batches)
        records = np.frombuffer(content, np.uint8).reshape(-1, record)  # (N, 1 + C*H*W)
        return _dataset(records[:, 1:].reshape(-1, *CIFAR10_SHAPE), records[:, 0], CIFAR10_CLASSES)


def _cifar10_batch(archive: tarfile.TarFile, batch: str, size: int) -> bytes:
    """Give the bytes of one batch of the opened tarball."""
    member = archive.extractfile(f"cifar-10-batches-bin/{batch}")
    content = member.read() if member else b""
    if len(content) != size:
        raise ValueError(f"{batch} has {len(content)} bytes, not {size}")
    return content


def _cifar10_subset(path: Path) -> Dataset:
    """Read an npz with `images` uint8 (N, H, W, C), `labels` (N,) and `classes` (10,)."""
    with _reading(path), np.load(path, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
        if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
            raise ValueError(f"images are {images.dtype} {images.shape}, not uint8 (N, 32, 32, 3)")
        return _dataset(images.transpose(0, 3, 1, 2), labels, tuple(map(str, archive["classes"])))


def _dataset(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], white: int = 255) -> Dataset:
    """Scale images (N, C, H, W) from [0, white] to [0, 1] and check that the labels (N,) fit images and classes."""
    if labels.shape != (len(images),):
        raise ValueError(f"labels have shape {labels.shape} for {len(images)} images")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()} for {len(classes)} classes")
    # order="C": a strided result (channels last in memory) would make every later pass slower.
    scaled = np.divide(images, white, dtype=np.float32, order="C", casting="unsafe")
    return Dataset(scaled, labels.astype(np.int64), classes)


def _gunzip(path: Path) -> bytes:
    """Decompress a whole file: gzip checks its sum only at the very end, so reading a part would miss damage."""
    with gzip.open(path) as stream:
        return stream.read()


def _idx(content: bytes, dimensions: int) -> np.ndarray:
    """Decode the idx format: two zero bytes, 8 for uint8, the number of dimensions, big-endian sizes, values."""
    magic, wanted = content[:4], bytes([0, 0, 8, dimensions])
    if magic != wanted:
        raise ValueError(f"its magic number is 0x{magic.hex()}, not 0x{wanted.hex()}")
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise ValueError(f"it holds {len(content) - start} values, its header promises {math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn any failure to decode a file into one DataError with the file, the cause and the remedy."""
    try:
        yield
    # Any exception: on damaged bytes gzip, tarfile, zipfile and numpy raise a dozen types, tokenize's among them.
    except Exception as error:
        cause = error.args[0] if isinstance(error, KeyError) else error  # str(KeyError) adds quotes
        raise DataError(
            f"'{path}' cannot be read ({cause or type(error).__name__}): "
            "replace it by an intact copy; an official file that you delete is downloaded again"
        ) from error


def _fetched(path: Path, address: str) -> Path:
    """Give `path`, downloaded from `address` first when it is absent.

    A file that is there is used as it is, so that a re-compressed copy serves; a download must have the official md5.
    pooch writes to a temporary name and renames, so an interrupted download leaves nothing behind.
    """
    if path.is_file():
        return path
    try:
        import pooch
    except ImportError as error:
        raise _absent(path, address, "the library pooch is not installed: pip install 'dnn2graph[data]'") from error
    registry = {path.name: f"md5:{MD5[path.name]}"}
    pooch.get_logger().setLevel("ERROR")  # what went wrong is said once, below
    try:
        catalogue = pooch.create(path.parent, address, registry=registry, retry_if_failed=RETRIES)
        with _download_bar(path.name) as bar:
            catalogue.fetch(path.name, downloader=pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; pooch raises ValueError on another md5
        raise _absent(path, address, _download_cause(error)) from error
    return path


def _absent(path: Path, address: str, cause: str) -> DataError:
    """Say which file is wanted, where it was looked for, why it could not be downloaded, and what to do."""
    return DataError(
        f"'{path.name}' is not in '{path.parent}' and cannot be downloaded from {address}{path.name} ({cause}): "
        f"put the file there, or name the folder that holds '{path.parent.name}/' by --data or DNN2GRAPH_DATA"
    )


def _download_cause(error: Exception) -> str:
    """Say why a download failed in a few words: requests repeats its whole chain of causes."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.RequestException):
        return "no connection, or it broke off"
    if isinstance(error, ValueError):
        return "what came is not the official file: its md5 differs"
    return str(error)


@contextmanager
def _download_bar(title: str) -> Iterator[Any]:
    """Show a download's progress on stderr when that is a terminal; yields what pooch calls, or False for no bar."""
    if not sys.stderr.isatty():
        yield False
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress, title)


class _Bar:
    """The four names that pooch expects of a progress bar, on top of rich."""

    def __init__(self, progress: Any, title: str) -> None:
        self.progress, self.task = progress, progress.add_task(title, total=None)

    @property
    def total(self) -> int:
        return self.progress.tasks[0].total or 0

    @total.setter
    def total(self, size: int) -> None:  # pooch sets it as each attempt starts
        self.progress.reset(self.task, total=size or None)

    def update(self, size: int) -> None:
        self.progress.advance(self.task, size)

    def reset(self) -> None:
        self.progress.reset(self.task)

    def close(self) -> None:
        """Leave the drawing to rich, whose context ends it."""


_LOADERS: dict[str, Callable[[Path, str], Dataset]] = {"digits": _digits, "mnist": _mnist, "cifar10": _cifar10}
