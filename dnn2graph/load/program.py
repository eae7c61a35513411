"""Programs that torch.export wrote (``.pt2``): the model comes with the file, as operations and not as code.

torch's own loader trusts the file. It unpickles some parts, evaluates expressions, and calls what the operations
name. So nothing is loaded before all that is known to be harmless.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from ..errors import LoadError
from ..trace.recurrence import SEQUENCES
from .files import check_archive, reading
from .pickled import python_object

NAME = re.compile(r"[\w.]*")
QUOTABLE = re.compile(r"[^\"'\\\n\r]*")  # names of parameters, which are the user's
# Operators, never functions such as torch.load; two of them open the file whose name they are given.
OPERATOR = re.compile(r"torch\.ops\.(?!aten\.(?:from_file|save)\b)\w+[\w.]*|_operator\.\w+|math\.\w+|torch\._?sym_\w+")
PAYLOAD = re.compile(r"(?:weight|tensor)_\d+")  # any other is a pickle
NESTING = re.compile(r"(?!.*(?:__enum__|default_factory_module)).*", re.DOTALL)  # these import modules
# Of each string of a program, what it may be; anything else could mislead torch's loader or the code that it generates.
ALLOWED = {
    "name": NAME,
    "as_name": NAME,
    "parameter_name": QUOTABLE,
    "buffer_name": QUOTABLE,
    "tensor_constant_name": QUOTABLE,
    "target": OPERATOR,
    "as_operator": OPERATOR,
    "path_name": PAYLOAD,
    "in_spec": NESTING,
    "out_spec": NESTING,
}
# Sizes are expressions of symbols and of sympy's functions, whose names are capitalised. Python's own names,
# attributes, and calls of a result are not among them.
NOT_IN_A_SIZE = re.compile(r"[^\w\s+\-*/%(),.=<>&|~]|__|\.\s*[^\W\d]|\)\s*\(|\b(?![suz]\w*\d)[a-z_]\w*\b(?!\s*=[^=])")
RECURRENT = {getattr(getattr(torch.ops.aten, name), form): name for name in SEQUENCES for form in ("input", "data")}
EARLIER = "serialized_exported_program.json"
REMEDY = "export the model again where it was made, for the processor and without objects of your own"


def load_program(path: Path) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """Read an exported program.

    Returns
    -------
    model : Module
        With the modules and parameter names of the model that was exported.
    args, kwargs
        The example inputs that it was exported with.

    Raises
    ------
    LoadError
        If the file is truncated, corrupt, compiled, in the form of earlier versions of torch, or would run code.
    """
    check_archive(path)
    with reading(path, "it is truncated, corrupt or no exported program; copy it again or export the model again"):
        if _is_of_earlier_torch(path):
            raise LoadError(
                f"'{path}' is in the form in which earlier versions of torch kept programs: let a newer one write it "
                "again, torch.export.save(torch.export.load(...), ...)"
            )
        archive = torch._C.PyTorchFileReader(str(path))
        _refuse_code(path, archive)
    with _reading_program(path):
        program = torch.export.load(path)
        model = torch.export.unflatten(program)
    _call_recurrent_functions(model)
    args, kwargs = program.example_inputs or ((), {})
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    if not program.range_constraints and all(x.dim() and len(x) == 1 for x in tensors):  # no size may vary
        model.forward = _sample_by_sample(model.forward)  # type: ignore[method-assign]
    return model, tuple(args), dict(kwargs)


def _is_of_earlier_torch(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return EARLIER in archive.namelist()


def _call_recurrent_functions(model: nn.Module) -> None:
    """Let a program call whole sequences as modules do, by torch's functions: these run step by step while watched."""
    for module in model.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            if node.target in RECURRENT:
                node.target = _ByName(RECURRENT[node.target])


class _ByName:
    """A function of torch's, looked up when it is called: while a model is watched, another one stands there."""

    def __init__(self, name: str) -> None:
        self.__name__ = name  # torch asks for it where something fails

    def __call__(self, *args: Any) -> Any:
        return getattr(torch._VF, self.__name__)(*args)


def _refuse_code(path: Path, archive: Any) -> None:
    """Raise if torch's loader would unpickle, evaluate, import or call something that is no operator."""
    records = archive.get_all_records()
    if any(record.startswith("data/aotinductor/") for record in records):
        raise LoadError(f"'{path}' is compiled (AOTInductor), its operations are not to be seen: {REMEDY}")
    if not any(record.startswith("models/") for record in records):
        raise LoadError(f"'{path}' is an archive without an exported program: {REMEDY}")
    for record in records:
        if record.startswith(("data/weights/", "data/constants/")) and record.endswith(".pt"):
            raise LoadError(f"'{path}' holds pickled weights ('{record}', an old format): {REMEDY}")
        if record.endswith(".json") and not record.startswith("extra/"):
            for key, value in _entries(json.loads(archive.get_record(record))):
                if not _is_harmless(key, value):
                    raise LoadError(
                        f"'{path}' is refused, since loading it could run code: '{record}' has {key} = {value!r:.80}. "
                        f"To be read, {REMEDY}"
                    )


def _is_harmless(key: str, value: Any) -> bool:
    """Whether an entry is what torch.export itself writes."""
    if key == "use_pickle":
        return not value
    if not isinstance(value, str):
        return True
    if key == "expr_str":
        return not NOT_IN_A_SIZE.search(re.sub(r"'\w*'", "", value))
    return key not in ALLOWED or ALLOWED[key].fullmatch(value) is not None


def _entries(node: Any) -> Iterator[tuple[str, Any]]:
    """Walk through all entries of a JSON document."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from _entries(value)
    elif isinstance(node, list):
        for value in node:
            yield from _entries(value)


@contextmanager
def _reading_program(path: Path) -> Iterator[None]:
    """Let torch unpickle tensors only, in silence, and turn its failures into one error."""
    remedy = "it is corrupt, or another version of torch wrote it; export the model again"
    with _only_weights(), _silent(), reading(path, remedy):
        try:
            yield
        except Exception as error:
            if found := python_object(str(error)):
                raise LoadError(
                    f"'{path}' holds Python objects ({found}) among its example inputs, whose loading would run code: "
                    f"{REMEDY}"
                ) from error
            raise


@contextmanager
def _only_weights() -> Iterator[None]:
    """Keep torch.load from unpickling whatever a file holds where it cannot unpickle it as tensors."""
    wanted = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what torch logs and warns of while it reads: errors are raised anyway."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _sample_by_sample(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a program that takes one sample only be called with a batch, as any module may be."""

    @wraps(forward)
    def batched(*args: Any, **kwargs: Any) -> Any:
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        sizes = {len(x) if x.dim() else 0 for x in tensors}
        if len(sizes) != 1 or sizes <= {0, 1}:
            return forward(*args, **kwargs)

        def sample(place: int) -> Any:
            one_args, one_kwargs = tree_map_only(Tensor, lambda x: x[place : place + 1], (args, kwargs))
            return forward(*one_args, **one_kwargs)

        results = [sample(place) for place in range(*sizes)]
        return tree_map(lambda *parts: torch.cat(parts) if isinstance(parts[0], Tensor) else parts[0], *results)

    return batched
