from .dot import write_dot as write_dot
from .edge_tables import write_csv as write_csv
from .formats import write as write
from .gexf import write_gexf as write_gexf
from .graphml import write_graphml as write_graphml
from .matrix import adjacency as adjacency
from .matrix_market import write_matrix_market as write_matrix_market
from .memory import (
    to_igraph as to_igraph,
    to_networkit as to_networkit,
    to_networkx as to_networkx,
    to_pyg as to_pyg,
)
from .npz import save_npz as save_npz
from .pajek import write_pajek as write_pajek
from .parquet import write_parquet as write_parquet
