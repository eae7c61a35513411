"""The public names and where they live; they are loaded when they are used."""

from . import (
    activity as activity,
    dynamics as dynamics,
    functional as functional,
    measures as measures,
    nulls as nulls,
    plot as plot,
    population as population,
    streaming as streaming,
    trace as trace,
)
from .activity import (
    Activity as Activity,
    FunctionalGraph as FunctionalGraph,
    accuracy_without as accuracy_without,
    activations as activations,
    coactivation as coactivation,
    functional_graph as functional_graph,
    neurons_activation as neurons_activation,
    neurons_strength as neurons_strength,
    silence as silence,
)
from .audit import Audit as Audit, audit as audit
from .coverage import Coverage as Coverage, coverage as coverage
from .dynamics import Recorder as Recorder, read_run as read_run
from .errors import (
    DataError as DataError,
    Dnn2graphError as Dnn2graphError,
    ExportError as ExportError,
    InputError as InputError,
    LoadError as LoadError,
    MemoryBudgetError as MemoryBudgetError,
    ModelError as ModelError,
    UnsupportedOperation as UnsupportedOperation,
    WeightsError as WeightsError,
)
from .estimate import Estimate as Estimate
from .export import (
    save_npz as save_npz,
    write as write,
    write_csv as write_csv,
    write_dot as write_dot,
    write_gexf as write_gexf,
    write_graphml as write_graphml,
    write_matrix_market as write_matrix_market,
    write_pajek as write_pajek,
    write_parquet as write_parquet,
)
from .graph import Layer as Layer, NeuralGraph as NeuralGraph
from .links import Links as Links
from .load import load as load
from .load.graphs import read as read
from .measures import (
    directed_strengths as directed_strengths,
    fluctuation as fluctuation,
    layer_table as layer_table,
    link_weights as link_weights,
    node_table as node_table,
    strength as strength,
)
from .nulls import Significance as Significance, null_model as null_model, significance as significance
from .population.stacked import Population as Population
from .profile import Profile as Profile, profile as profile
from .profile.effective import effective_weights as effective_weights
from .profile.percolation import percolation as percolation
from .report import findings as findings, report as report
from .sparsify import Receipt as Receipt, SparseGraph as SparseGraph, sparsify as sparsify
from .streaming import LazyTensors as LazyTensors, MeasuredFile as MeasuredFile, measure_file as measure_file
from .trace import from_torch as from_torch, rule as rule
from .verify import (
    Dependency as Dependency,
    Verification as Verification,
    check_dependency as check_dependency,
    verify as verify,
)

__version__: str
