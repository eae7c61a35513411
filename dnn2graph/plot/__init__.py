"""Figures of graphs and their measures; needs the extra ``plot`` (matplotlib)."""

from .overview import overview

__all__ = ["overview"]
