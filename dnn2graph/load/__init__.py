"""Loading: a file becomes a model, and a model a graph. No code in a file is ever run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
