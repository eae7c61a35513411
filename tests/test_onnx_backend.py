"""ONNX's own tests of its operators: a file gives the numbers that the standard asks for, or it is refused."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from torch.utils._pytree import tree_leaves

import dnn2graph as dg
from dnn2graph.load import load_model
from dnn2graph.load.onnx import operators  # noqa: F401  # registers them
from dnn2graph.load.onnx.registry import OPERATORS

# What torch has not: arithmetic of wide unsigned numbers, and places counted from the end that are an input.
MISSING = r"not implemented for 'UInt(16|32|64)'|out of (range|bounds)"
# These count the corners of a map before its length is rounded; onnxruntime and torch those of the map that is made.
ROUNDED = {f"test_resize_downsample_scales_{how}_align_corners" for how in ("linear", "cubic")}
SETTINGS = ("scales", "roi")
KINDS = "fiub"  # real and whole numbers, truth values


def _arrays(values):
    return list(values.values()) if isinstance(values, dict) else list(values)


def _is_plain(case):
    """Whether a test is about operators that are known, of the standard domain, on arrays that hold something."""
    inputs, outputs = case.data_sets[0]
    values = _arrays(inputs) + _arrays(outputs)
    plain = all(isinstance(each, np.ndarray) and each.dtype.kind in KINDS and each.size for each in values)
    standard = all(each.domain in ("", "ai.onnx") for each in case.model.opset_import)
    return plain and standard and all(node.op_type in OPERATORS for node in case.model.graph.node)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the tests divide by zero on purpose
    CASES = {case.name: case for case in collect_testcases(None) if _is_plain(case) and case.name not in ROUNDED}


def _written(path, case):
    """Write a file that holds the sizes and places that set an operator up; give its inputs, which are the others."""
    model, inputs = ModelProto(), _arrays(case.data_sets[0][0])
    model.CopyFrom(case.model)
    declared = list(model.graph.input)
    del model.graph.input[:]
    kept = []
    for place, (value, array) in enumerate(zip(declared, inputs, strict=True)):
        if place and (array.dtype == np.int64 or value.name in SETTINGS):
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        else:
            model.graph.input.append(value)
            kept.append(torch.from_numpy(np.array(array)))
    path.write_bytes(model.SerializeToString())
    return kept


@pytest.mark.parametrize("name", CASES)
def test_a_file_gives_what_the_standard_asks_for(tmp_path, name):
    case = CASES[name]
    inputs, outputs = _written(tmp_path / "net.onnx", case), _arrays(case.data_sets[0][1])
    try:
        model = load_model(tmp_path / "net.onnx").model
        with torch.no_grad():
            found = tree_leaves(model(*inputs))
    except dg.LoadError:
        return
    except dg.ModelError as error:
        if not re.search(MISSING, str(error)):
            raise
        return
    assert len(found) == len(outputs)
    for ours, theirs in zip(found, outputs, strict=True):
        rtol, atol = (1e-2, 1e-3) if theirs.dtype == np.float16 else (case.rtol, max(case.atol, 1e-6))  # of sums' order
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=rtol, atol=atol)
