"""The graph for other tools: sparse matrices, igraph and networkx graphs, files.

Everywhere node ``i`` is node ``i`` of the graph, and ``A[i, j]`` the weight of the edge from ``i`` to ``j``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
