"""The graph for other tools: sparse matrices, igraph and networkx graphs, files.

Everywhere node ``i`` is node ``i`` of the graph, and ``A[i, j]`` the weight of the edge from ``i`` to ``j``.
"""

from .gexf import write_gexf
from .graphml import write_graphml
from .matrix import adjacency
from .memory import to_igraph, to_networkx

__all__ = ["adjacency", "to_igraph", "to_networkx", "write_gexf", "write_graphml"]
