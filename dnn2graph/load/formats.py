"""Which files are read, by their names: the one place that lists them."""

from __future__ import annotations

from pathlib import Path

from ..errors import LoadError

PROGRAM = ".pt2"
ONNX = ".onnx"
PICKLED = (".pt", ".pth", ".th", ".model", ".bin", ".ckpt")
SAFETENSORS = ".safetensors"
INDEX = ".index.json"  # of shards: model.safetensors.index.json
STATE_DICTS = (*PICKLED, SAFETENSORS, INDEX)
KNOWN = {
    "exported programs": (PROGRAM,),
    "ONNX": (ONNX,),
    "state dicts": STATE_DICTS,
    "folders with config.json": (),
}
SUFFIXES = (PROGRAM, ONNX, *STATE_DICTS)


def suffix_of(path: Path) -> str:
    """Return the end of a name that tells the format, in lower case; that of an index has two dots."""
    return INDEX if path.name.lower().endswith(INDEX) else path.suffix.lower()


def unknown(path: Path) -> LoadError:
    """Say which files are read."""
    kind = f"has the suffix '{path.suffix.lower()}'" if path.suffix else "has no suffix"
    known = "; ".join(f"{what} {', '.join(suffixes)}".strip() for what, suffixes in KNOWN.items())
    return LoadError(f"'{path}' {kind}; known are {known}: convert it to one of them, or rename it if it is one")
