"""A network as one page for the browser, which needs nothing else: to zoom, point, filter and colour; needs bokeh."""

from .write import page

__all__ = ["page"]
