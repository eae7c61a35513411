from .lazy import LazyTensors as LazyTensors
from .measure import measure_file as measure_file
from .result import Faults as Faults, MeasuredFile as MeasuredFile, MeasuredTensor as MeasuredTensor
from .tensors import StoredTensor as StoredTensor, holds_tensors as holds_tensors, stored_tensors as stored_tensors
