"""Dynamics: how a network's graph changes while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .measures import MEASURES
from .recorder import Recorder
from .run import read_run, recorded_runs, recorded_steps

if TYPE_CHECKING:
    from .callbacks import LightningRecorder, TransformersRecorder

__all__ = [
    "MEASURES",
    "LightningRecorder",
    "Recorder",
    "TransformersRecorder",
    "read_run",
    "recorded_runs",
    "recorded_steps",
]


def __getattr__(name: str) -> Any:
    """Make the callbacks when they are asked for: they import the libraries that they are for."""
    if name in ("LightningRecorder", "TransformersRecorder"):
        from . import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
