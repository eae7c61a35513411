"""dnn2graph: a trained neural network as the weighted directed graph that computes it.

>>> import torch, dnn2graph as dg
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
>>> graph = dg.from_torch(model, torch.zeros(1, 4))
>>> graph
NeuralGraph(3 layers, 9 nodes, 2 links, granularity='channel')
"""

from . import functional
from .activity import (
    Activity,
    FunctionalGraph,
    accuracy_without,
    activations,
    coactivation,
    functional_graph,
    neurons_activation,
    neurons_strength,
    silence,
)
from .audit import Audit, audit
from .coverage import Coverage, coverage
from .dynamics import Recorder, read_run
from .errors import (
    DataError,
    Dnn2graphError,
    ExportError,
    InputError,
    LoadError,
    MemoryBudgetError,
    ModelError,
    UnsupportedOperation,
    WeightsError,
)
from .estimate import Estimate
from .export import (
    save_npz,
    write,
    write_csv,
    write_dot,
    write_gexf,
    write_graphml,
    write_matrix_market,
    write_pajek,
    write_parquet,
)
from .graph import Layer, NeuralGraph
from .links import Links
from .load import load
from .load.graphs import read
from .measures import directed_strengths, fluctuation, layer_table, link_weights, node_table, strength
from .nulls import Significance, null_model, significance
from .population.stacked import Population
from .profile import Profile, profile
from .profile.effective import effective_weights
from .profile.percolation import percolation
from .report import findings, report
from .sparsify import Receipt, SparseGraph, sparsify
from .streaming import LazyTensors, MeasuredFile, measure_file
from .trace import from_torch, rule
from .verify import Dependency, Verification, check_dependency, verify

__version__ = "0.1.0"

__all__ = [
    "Activity",
    "Audit",
    "Coverage",
    "DataError",
    "Dependency",
    "Dnn2graphError",
    "Estimate",
    "ExportError",
    "FunctionalGraph",
    "InputError",
    "Layer",
    "LazyTensors",
    "Links",
    "LoadError",
    "MeasuredFile",
    "MemoryBudgetError",
    "ModelError",
    "NeuralGraph",
    "Population",
    "Profile",
    "Receipt",
    "Recorder",
    "Significance",
    "SparseGraph",
    "UnsupportedOperation",
    "Verification",
    "WeightsError",
    "accuracy_without",
    "activations",
    "audit",
    "check_dependency",
    "coactivation",
    "coverage",
    "directed_strengths",
    "effective_weights",
    "findings",
    "fluctuation",
    "from_torch",
    "functional",
    "functional_graph",
    "layer_table",
    "link_weights",
    "load",
    "measure_file",
    "neurons_activation",
    "neurons_strength",
    "node_table",
    "null_model",
    "percolation",
    "profile",
    "read",
    "read_run",
    "report",
    "rule",
    "save_npz",
    "significance",
    "silence",
    "sparsify",
    "strength",
    "verify",
    "write",
    "write_csv",
    "write_dot",
    "write_gexf",
    "write_graphml",
    "write_matrix_market",
    "write_pajek",
    "write_parquet",
]
