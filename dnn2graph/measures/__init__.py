"""Measures of the graph, computed from the weights and never from a list of edges."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
