"""The graph for other tools: sparse matrices, igraph and networkx graphs, files.

Everywhere node ``i`` is node ``i`` of the graph, and ``A[i, j]`` the weight of the edge from ``i`` to ``j``.
"""

from .dot import write_dot
from .edge_tables import write_csv
from .formats import write
from .gexf import write_gexf
from .graphml import write_graphml
from .matrix import adjacency
from .matrix_market import write_matrix_market
from .memory import to_igraph, to_networkit, to_networkx, to_pyg
from .npz import save_npz
from .pajek import write_pajek
from .parquet import write_parquet

__all__ = [
    "adjacency",
    "save_npz",
    "to_igraph",
    "to_networkit",
    "to_networkx",
    "to_pyg",
    "write",
    "write_csv",
    "write_dot",
    "write_gexf",
    "write_graphml",
    "write_matrix_market",
    "write_pajek",
    "write_parquet",
]
