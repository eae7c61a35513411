"""How much memory something takes, as Python and numpy ask for it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any


def peak_of(make: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, int]:
    """Call a function; give what it returns and the most bytes that were allocated meanwhile, torch's left out."""
    tracemalloc.start()
    try:
        return make(*args, **kwargs), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
