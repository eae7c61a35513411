"""Batches of samples, out of whatever gives them: a data loader, a list, a single tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import InputError
from ..progress import Progress


class Batch(NamedTuple):
    """Some samples: a tensor for each input of the network, and their labels where they come with some."""

    inputs: tuple[Tensor, ...]
    labels: Tensor | None


def batches(loader: Any, inputs: int, progress: Progress | None = None) -> Iterator[Batch]:
    """Iterate over the batches of a loader.

    Parameters
    ----------
    loader : iterable or tensor
        Of batches. A batch is a tensor of samples, or the tuple or list that a ``DataLoader`` makes: the inputs of the
        network first, then labels. A tensor by itself is one batch.
    inputs : int
        How many inputs the network has.
    progress : callable, optional
        Called with the number of batches done and their total; the total is what is done so far where the loader has
        no length.

    Raises
    ------
    InputError
        If a batch is of another form, or there is none.
    """
    together: Iterable[Any] = [loader] if isinstance(loader, Tensor) else loader
    if not isinstance(together, Iterable):
        raise InputError(
            f"a loader must be an iterable of batches, such as a torch DataLoader, not {type(loader).__name__}: "
            "pass a list of batches, or one tensor"
        )
    try:
        total = len(together)  # type: ignore[arg-type]
    except TypeError:  # a generator; a DataLoader of an iterable data set
        total = 0
    done = 0
    for each in together:
        yield _batch(each, inputs)
        done += 1
        if progress:
            progress(done, max(done, total))
    if not done:
        raise InputError("the loader gives no batch: pass at least one sample (a generator can be read only once)")


def _batch(each: Any, inputs: int) -> Batch:
    parts = (each,) if isinstance(each, Tensor) else each
    if not isinstance(parts, tuple | list) or not all(isinstance(part, Tensor) for part in parts):
        raise InputError(
            f"a batch must be a tensor, or a tuple of tensors (inputs, then labels), not {_described(each)}: "
            "let the loader's collate_fn make one"
        )
    if len(parts) < inputs:
        raise InputError(f"the network has {inputs} inputs, a batch holds {len(parts)} tensor(s)")
    labels = parts[inputs] if len(parts) > inputs else None
    return Batch(tuple(parts[:inputs]), labels)


def _described(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {', '.join(sorted({type(part).__name__ for part in value}))}"
    return type(value).__name__
