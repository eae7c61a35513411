"""Figures of graphs and their measures; needs the extra ``plot`` (matplotlib)."""

from .animation import save_animation, strength_animation
from .network import network
from .overview import overview
from .page import page
from .style import save_figure
from .training import training_curves

__all__ = [
    "network",
    "overview",
    "page",
    "save_animation",
    "save_figure",
    "strength_animation",
    "training_curves",
]
