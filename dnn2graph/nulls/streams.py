"""Random numbers that belong to a weight expression: the same for the same expression, wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..weights import Call, Constant, Expression, Parameter

Seed = int | Sequence[int]
Stream = tuple[int, ...]  # what a numpy Generator is seeded with: plain numbers, which pickle and compare


def stream(seed: Seed, purpose: str, expression: Expression, shape: Sequence[int]) -> Stream:
    """Name the random numbers of one purpose for one expression.

    Tied weights are the same expression in several links, and get the same numbers.
    """
    given = (seed,) if isinstance(seed, int | np.integer) else seed
    text = f"{purpose} {tuple(shape)} {_text(expression)}"
    words = np.frombuffer(sha256(text.encode()).digest()[:16], np.uint32)
    return (*(int(number) for number in given), *words.tolist())


def generator(numbers: Stream) -> np.random.Generator:
    """Start the random numbers of a stream, from their beginning."""
    return np.random.default_rng(numbers)


def _text(part: Any) -> str:
    """Write an expression down; the same in every process, unlike hashes and addresses."""
    match part:
        case Parameter():
            return f"parameter {part.name!r}"
        case Constant():
            return _text(part.value)
        case Call():
            arguments = ", ".join(map(_text, (part.args, dict(part.kwargs))))
            return f"{_name(part.function)}({arguments})[{part.select}]"
        case Tensor():
            content = part.detach().cpu().contiguous().view(-1)
            content = content.float() if content.dtype == torch.bfloat16 else content  # which numpy lacks
            return f"tensor {tuple(part.shape)} {part.dtype} {sha256(content.numpy().tobytes()).hexdigest()}"
        case Mapping():
            return "{" + ", ".join(f"{name}: {_text(value)}" for name, value in part.items()) + "}"
        case list() | tuple():
            return "(" + ", ".join(map(_text, part)) + ")"
        case _:
            return repr(part)


def _name(function: Any) -> str:
    """Name a function; an instance of a class of ours says what it does in its ``repr``."""
    if isinstance(function, torch._ops.OpOverload):
        return str(function)
    return getattr(function, "__qualname__", None) or repr(function)
