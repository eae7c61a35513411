"""How weights are stored: in which bits, and which numbers these are. All of them are exact in float32 or float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Format:
    """A floating-point format.

    Attributes
    ----------
    name : str
        As torch calls it.
    bits : str
        The numpy type that values are viewed as. Each format has its own, by which :mod:`.compiled.bits` tells them
        apart; where numpy lacks the format the type is an integer, which means nothing else.
    decode : callable
        Turns an array of bits into float32 or float64.
    """

    name: str
    bits: str
    decode: Callable[[np.ndarray], np.ndarray]


def _as_they_are(values: np.ndarray) -> np.ndarray:
    return values


def _brain(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)  # the upper half of a float32


def _half(bits: np.ndarray) -> np.ndarray:
    return bits.view(np.float16).astype(np.float32)


def _e5m2(bits: np.ndarray) -> np.ndarray:
    return _half(bits.view(np.uint8).astype(np.uint16) << 8)  # the upper half of a float16


def _e4m3(bits: np.ndarray) -> np.ndarray:
    return _table_of_e4m3()[bits]


@cache
def _table_of_e4m3() -> np.ndarray:
    """List the numbers of all 256 patterns of float8_e4m3fn: no infinity, one NaN of either sign, bias 7."""
    magnitude = np.arange(128)
    exponent, fraction = magnitude >> 3, (magnitude & 7) / 8
    values = np.where(exponent == 0, fraction * 2.0**-6, (1 + fraction) * 2.0 ** (exponent - 7))
    values[127] = np.nan
    return np.concatenate([values, -values]).astype(np.float32)


# By the names of safetensors. Its numbers are little-endian.
FORMATS: Mapping[str, Format] = {
    "F64": Format("float64", "<f8", _as_they_are),
    "F32": Format("float32", "<f4", _as_they_are),
    "BF16": Format("bfloat16", "<u2", _brain),
    "F16": Format("float16", "<i2", _half),
    "F8_E4M3": Format("float8_e4m3fn", "u1", _e4m3),
    "F8_E5M2": Format("float8_e5m2", "i1", _e5m2),
}
