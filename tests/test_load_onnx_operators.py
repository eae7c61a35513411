"""Every ONNX operator gives what onnxruntime gives, in each opset that defined it anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dnn2graph.errors import LoadError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from dnn2graph.load.onnx import load_onnx  # noqa: E402
from dnn2graph.load.onnx.registry import OPERATORS  # noqa: E402

OPSETS = (9, 11, 13, 17, 18, 21, 24)
IR_VERSION = 10  # the newest that the oldest onnxruntime in use reads


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def floats(*values):
    return np.array(values, np.float32)


def write(path, operator, inputs, constants=(), outputs=1, opset=17, **attributes):
    """Write a file with one node: first the inputs, then constants; None leaves one out."""
    names = [f"x{place}" for place in range(len(inputs))]
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(x.dtype) for name, x in zip(names, inputs, strict=True)}
    declared = [
        onnx.helper.make_tensor_value_info(name, kinds[name], x.shape) for name, x in zip(names, inputs, strict=True)
    ]
    stored = {f"c{place}": value for place, value in enumerate(constants) if value is not None}
    names += [f"c{place}" if value is not None else "" for place, value in enumerate(constants)]
    results = outputs if isinstance(outputs, list) else [f"y{place}" for place in range(outputs)]
    node = onnx.helper.make_node(operator, names, results, name="node", **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "graph",
        declared,
        [onnx.ValueInfoProto(name=name) for name in results if name],
        [onnx.numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    versions = [onnx.helper.make_opsetid("", opset)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=versions, ir_version=IR_VERSION), path)
    return path


def reference(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: x for each, x in zip(session.get_inputs(), inputs, strict=True)})


def ours(path, inputs):
    model, _ = load_onnx(path)
    with torch.no_grad():
        found = model.eval()(*map(torch.from_numpy, inputs))
    return [t.numpy() for t in (found if isinstance(found, tuple) else (found,))]


def check(path, inputs):
    for one, other in zip(ours(path, inputs), reference(path, inputs), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


X = random(2, 6, 5, 7)
MATRIX = random(4, 6)
POSITIVE = np.abs(X) + 0.1
UNIT = np.tanh(X).astype(np.float32)
TRUTH, OTHER_TRUTH = X > 0, X > 0.5

# operator, inputs, constants, attributes, opsets in which this form is one
ELEMENTWISE = [
    *[(name, [X], [], {}, OPSETS) for name in ("Abs", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Identity")],
    *[(name, [X], [], {}, OPSETS) for name in ("LeakyRelu", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign")],
    *[(name, [X], [], {}, OPSETS) for name in ("Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh", "HardSigmoid")],
    *[(name, [POSITIVE], [], {}, OPSETS) for name in ("Log", "Sqrt")],
    *[(name, [UNIT], [], {}, OPSETS) for name in ("Acos", "Asin", "Asinh", "Atan", "Atanh")],
    ("Acosh", [1 + POSITIVE], [], {}, OPSETS),
    ("Round", [X], [], {}, OPSETS[1:]),
    ("Celu", [X], [], {"alpha": 0.7}, OPSETS[2:]),
    ("HardSwish", [X], [], {}, OPSETS[3:]),
    ("Mish", [X], [], {}, OPSETS[4:]),
    ("Gelu", [X], [], {}, OPSETS[5:]),
    ("Gelu", [X], [], {"approximate": "tanh"}, OPSETS[5:]),
    ("ThresholdedRelu", [X], [], {"alpha": 0.4}, OPSETS[1:]),
    ("Shrink", [X], [], {"bias": 0.1, "lambd": 0.3}, OPSETS),
    ("PRelu", [X], [random(6, 1, 1)], {}, OPSETS),
    ("PRelu", [X], [floats(0.3)], {}, OPSETS),
    ("PRelu", [X], [random(7)], {}, OPSETS),
    ("Clip", [X], [], {"min": -0.5, "max": 0.5}, OPSETS[:1]),
    ("Clip", [X], [np.float32(-0.5), np.float32(0.5)], {}, OPSETS[1:]),
    ("Clip", [X], [None, np.float32(0.5)], {}, OPSETS[1:]),
    ("Dropout", [X], [], {}, OPSETS),
    *[(name, [X], [random(7, seed=1)], {}, OPSETS) for name in ("Add", "Sub", "Mul", "Div")],
    ("Div", [ints(7, -7, 5)], [ints(2, 2, -3)], {}, OPSETS),
    ("Mod", [ints(7, -7, 5)], [ints(3, 3, -3)], {}, OPSETS[1:]),
    ("Mod", [X], [floats(0.3)], {"fmod": 1}, OPSETS[1:]),
    ("Pow", [POSITIVE], [floats(1.5)], {}, OPSETS),
    ("Pow", [POSITIVE], [random(6, 1, 1)], {}, OPSETS),
    *[(name, [X, X[::-1].copy(), X[:1]], [], {}, OPSETS) for name in ("Sum", "Mean", "Max", "Min")],
    *[(name, [TRUTH, OTHER_TRUTH], [], {}, OPSETS) for name in ("And", "Or", "Xor")],
    ("Not", [TRUTH], [], {}, OPSETS),
    *[(name, [X], [X[:, ::-1].copy()], {}, OPSETS) for name in ("Greater", "Less")],
    ("Equal", [ints(1, 2, 3)], [ints(1, 3, 3)], {}, OPSETS),
    *[(name, [X], [X[:, ::-1].copy()], {}, OPSETS[2:]) for name in ("GreaterOrEqual", "LessOrEqual")],
    ("Where", [TRUTH, X], [X[:, ::-1].copy()], {}, OPSETS),
    ("IsNaN", [floats(1, np.nan)], [], {}, OPSETS),
    ("IsInf", [floats(1, np.inf, -np.inf)], [], {}, OPSETS[1:]),
    ("IsInf", [floats(1, np.inf, -np.inf)], [], {"detect_negative": 0}, OPSETS[1:]),
    *[(name, [X], [], {"axis": 2}, OPSETS) for name in ("Softmax", "LogSoftmax", "Hardmax")],
    *[(name, [X], [], {}, OPSETS) for name in ("Softmax", "LogSoftmax", "Hardmax")],
    ("Softmax", [X], [], {"axis": -2}, OPSETS[1:]),
    ("Cast", [X], [], {"to": 11}, OPSETS),
    ("Cast", [X], [], {"to": 7}, OPSETS),
    ("CastLike", [X], [ints(1)], {}, OPSETS[3:]),
]

LINEAR = [
    ("Gemm", [MATRIX], [random(6, 3)], {}, OPSETS[1:]),
    ("Gemm", [MATRIX], [random(3, 6), random(3)], {"transB": 1}, OPSETS),
    ("Gemm", [MATRIX.T.copy()], [random(6, 3), random(4, 3)], {"transA": 1, "alpha": 0.5, "beta": 2.0}, OPSETS),
    ("Gemm", [MATRIX], [random(6, 3), random(1)], {"beta": 0.5}, OPSETS),
    ("Gemm", [MATRIX], [random(6, 3), random(4, 1)], {}, OPSETS),
    ("MatMul", [X], [random(7, 3)], {}, OPSETS),
    ("MatMul", [X], [random(7)], {}, OPSETS),
    ("MatMul", [X, random(2, 6, 7, 3)], [], {}, OPSETS),
    ("Einsum", [X], [random(6, 3)], {"equation": "bchw,cd->bdhw"}, OPSETS[2:]),
]

SEQUENCE, VOLUME = random(2, 4, 9), random(1, 2, 5, 6, 7)
CONVOLUTIONS = [
    ("Conv", [X], [random(4, 6, 3, 3)], {}, OPSETS),
    ("Conv", [X], [random(4, 6, 3, 2), random(4)], {"strides": [2, 1], "pads": [1, 0, 1, 0]}, OPSETS),
    ("Conv", [X], [random(4, 6, 3, 2), random(4)], {"dilations": [1, 2]}, OPSETS),
    ("Conv", [X], [random(4, 6, 3, 3)], {"pads": [0, 1, 2, 0], "kernel_shape": [3, 3]}, OPSETS),
    ("Conv", [X], [random(6, 1, 3, 3)], {"group": 6, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, OPSETS),
    ("Conv", [X], [random(6, 1, 3, 4)], {"group": 6, "auto_pad": "SAME_LOWER", "strides": [2, 3]}, OPSETS),
    ("Conv", [X], [random(3, 6, 3, 3)], {"auto_pad": "VALID"}, OPSETS),
    ("Conv", [SEQUENCE], [random(3, 4, 3), random(3)], {"pads": [1, 1]}, OPSETS),
    ("Conv", [VOLUME], [random(3, 2, 2, 3, 2)], {"pads": [1, 1, 0, 1, 1, 0]}, OPSETS),
    ("ConvTranspose", [X], [random(6, 3, 3, 3), random(3)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}, OPSETS),
    ("ConvTranspose", [X], [random(6, 3, 3, 3)], {"strides": [2, 3], "output_padding": [1, 1]}, OPSETS),
    ("ConvTranspose", [X], [random(6, 3, 3, 3)], {"strides": [2, 2], "pads": [0, 1, 1, 0]}, OPSETS),
    ("ConvTranspose", [X], [random(6, 2, 3, 3)], {"group": 2, "dilations": [2, 1]}, OPSETS),
    ("ConvTranspose", [X], [random(6, 3, 3, 3)], {"strides": [2, 2], "output_shape": [10, 14]}, OPSETS),
    ("ConvTranspose", [X], [random(6, 3, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, OPSETS[1:]),
    ("ConvTranspose", [SEQUENCE], [random(4, 3, 3)], {"strides": [2]}, OPSETS),
]

POOLINGS = [
    ("MaxPool", [X], [], {"kernel_shape": [2, 3], "strides": [2, 2]}, OPSETS),
    ("MaxPool", [X], [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, OPSETS),
    ("MaxPool", [X], [], {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "strides": [2, 2]}, OPSETS),
    ("MaxPool", [X], [], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}, OPSETS),
    ("MaxPool", [X], [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "dilations": [2, 2]}, OPSETS[1:]),
    ("MaxPool", [X], [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, OPSETS[1:]),
    ("MaxPool", [SEQUENCE], [], {"kernel_shape": [3], "strides": [2]}, OPSETS),
    ("MaxPool", [VOLUME], [], {"kernel_shape": [2, 2, 2]}, OPSETS),
    ("AveragePool", [X], [], {"kernel_shape": [2, 3], "strides": [2, 2]}, OPSETS),
    ("AveragePool", [X], [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, OPSETS),
    ("AveragePool", [X], [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, OPSETS),
    ("AveragePool", [X], [], {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}, OPSETS),
    ("AveragePool", [X], [], {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "count_include_pad": 1}, OPSETS),
    ("AveragePool", [X], [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, OPSETS[1:]),
    ("AveragePool", [X], [], {"kernel_shape": [2, 2], "dilations": [2, 3]}, OPSETS[5:]),
    ("AveragePool", [SEQUENCE], [], {"kernel_shape": [3], "auto_pad": "SAME_LOWER"}, OPSETS),
    ("LpPool", [X], [], {"kernel_shape": [2, 2], "p": 3}, OPSETS),
    *[(name, [X], [], {}, OPSETS) for name in ("GlobalAveragePool", "GlobalMaxPool")],
    ("GlobalLpPool", [X], [], {}, OPSETS[:-1]),  # onnxruntime has no kernel of opset 22
]

NORMALISATIONS = [
    ("BatchNormalization", [X], [random(6), random(6), random(6), np.abs(random(6))], {"momentum": 0.9}, OPSETS),
    ("InstanceNormalization", [X], [random(6), random(6)], {"epsilon": 0.01}, OPSETS),
    ("LayerNormalization", [X], [random(7), random(7)], {}, OPSETS[3:]),
    ("LayerNormalization", [X], [random(5, 7)], {"axis": 2, "epsilon": 0.01}, OPSETS[3:]),
    ("GroupNormalization", [X], [random(3), random(3)], {"num_groups": 3}, OPSETS[4:5]),
    ("GroupNormalization", [X], [random(6), random(6)], {"num_groups": 3}, OPSETS[5:]),
    ("RMSNormalization", [X], [random(7)], {}, OPSETS[6:]),
    ("LRN", [X], [], {"size": 3, "alpha": 0.2, "bias": 2.0}, OPSETS),
    ("LpNormalization", [X], [], {"axis": 1, "p": 1}, OPSETS),
    ("LpNormalization", [X], [], {}, OPSETS),
    ("MeanVarianceNormalization", [X], [], {}, OPSETS),
]

REDUCE = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
REDUCE += ("ReduceLogSum", "ReduceLogSumExp", "ReduceProd")
REDUCTIONS = [
    *[(name, [POSITIVE], [], {}, OPSETS) for name in REDUCE],
    *[(name, [POSITIVE], [], {"axes": [1, -1], "keepdims": 0}, OPSETS[:2]) for name in REDUCE],
    *[(name, [POSITIVE], [], {"axes": [2, 3]}, OPSETS[:4]) for name in REDUCE if name != "ReduceSum"],
    *[(name, [POSITIVE], [ints(2, -3)], {"keepdims": 0}, OPSETS[4:]) for name in REDUCE],
    ("ReduceSum", [X], [ints(1)], {}, OPSETS[2:]),
    ("ReduceSum", [X], [], {"noop_with_empty_axes": 1}, OPSETS[2:]),
    ("ArgMax", [X], [], {"axis": 1}, OPSETS),
    ("ArgMin", [X], [], {"axis": -1, "keepdims": 0}, OPSETS[1:]),
    ("ArgMax", [floats(1, 3, 3, 2)], [], {"select_last_index": 1}, OPSETS[2:]),
    ("CumSum", [X], [np.int64(1)], {}, OPSETS[1:]),
    ("CumSum", [X], [np.int64(-1)], {"reverse": 1, "exclusive": 1}, OPSETS[1:]),
]

SHAPES = [
    ("Reshape", [X], [ints(2, 0, -1)], {}, OPSETS),
    ("Reshape", [X], [ints(7, 5, 12)], {"allowzero": 1}, OPSETS[3:]),
    ("Flatten", [X], [], {}, OPSETS),
    ("Flatten", [X], [], {"axis": 0}, OPSETS),
    ("Flatten", [X], [], {"axis": -1}, OPSETS[1:]),
    ("Transpose", [X], [], {}, OPSETS),
    ("Transpose", [X], [], {"perm": [0, 2, 3, 1]}, OPSETS),
    ("Squeeze", [random(1, 3, 1)], [], {}, OPSETS),
    ("Squeeze", [random(1, 3, 1)], [], {"axes": [0]}, OPSETS[:2]),
    ("Squeeze", [random(1, 3, 1)], [ints(-1)], {}, OPSETS[2:]),
    ("Unsqueeze", [MATRIX], [], {"axes": [0, 3]}, OPSETS[:2]),
    ("Unsqueeze", [MATRIX], [ints(-1, 0)], {}, OPSETS[2:]),
    ("Concat", [X, X[:, :2].copy()], [], {"axis": 1}, OPSETS),
    ("Expand", [MATRIX], [ints(3, 1, 6)], {}, OPSETS),
    ("Tile", [MATRIX], [ints(2, 3)], {}, OPSETS),
    ("DepthToSpace", [random(1, 8, 2, 3)], [], {"blocksize": 2}, OPSETS),
    ("DepthToSpace", [random(1, 8, 2, 3)], [], {"blocksize": 2, "mode": "CRD"}, OPSETS[1:]),
    ("SpaceToDepth", [random(1, 2, 4, 6)], [], {"blocksize": 2}, OPSETS),
    ("Shape", [X], [], {}, OPSETS),
    ("Shape", [X], [], {"start": 1, "end": -1}, OPSETS[3:]),
    ("Size", [X], [], {}, OPSETS),
]

REDUCED = (("add", 3), ("mul", 3), ("min", 4), ("max", 4))
SELECTIONS = [
    ("Slice", [X], [], {"starts": [1, -3], "ends": [2**31 - 1, -1], "axes": [1, 3]}, OPSETS[:1]),
    ("Slice", [X], [ints(1, -3), ints(2**63 - 1, -1), ints(1, -1)], {}, OPSETS[1:]),
    ("Slice", [X], [ints(-1), ints(-(2**63)), ints(3), ints(-2)], {}, OPSETS[1:]),
    ("Slice", [X], [ints(0, 1), ints(2, 5)], {}, OPSETS[1:]),
    ("Slice", [X], [ints(4), ints(2), ints(1)], {}, OPSETS[1:]),
    ("Gather", [X], [ints(0, -1, 2)], {"axis": 1}, OPSETS),
    ("Gather", [X], [np.int64(2)], {"axis": 2}, OPSETS),
    ("Gather", [X], [ints(0, 1).reshape(1, 2)], {}, OPSETS),
    ("GatherElements", [MATRIX], [ints(1, -1, 0, 2).reshape(4, 1)], {"axis": 1}, OPSETS[1:]),
    ("GatherND", [MATRIX], [ints(1, 2, 3, 0).reshape(2, 2)], {}, OPSETS[1:]),
    ("ScatterND", [MATRIX], [ints(1, 3).reshape(2, 1), random(2, 6, seed=2)], {}, OPSETS[1:]),
    ("ScatterElements", [MATRIX], [ints(1, -1).reshape(1, 2), random(1, 2, seed=2)], {"axis": 1}, OPSETS[1:]),
    *[
        ("ScatterND", [X], [ints(1, 3, 0, 2, 1, 3).reshape(3, 2), random(3, 5, 7)], {"reduction": how}, OPSETS[since:])
        for how, since in REDUCED
    ],
    *[
        (
            "ScatterElements",
            [MATRIX],
            [ints(1, -1, 1).reshape(1, 3), random(1, 3)],
            {"axis": 1, "reduction": how},
            OPSETS[since:],
        )
        for how, since in REDUCED
    ],
    ("NonZero", [MATRIX * (MATRIX > 0)], [], {}, OPSETS),
    ("Compress", [MATRIX], [np.array([True, False, True])], {"axis": 1}, OPSETS),
    ("Compress", [MATRIX], [np.array([False, True])], {}, OPSETS),
    ("LpNormalization", [np.zeros((2, 3), np.float32)], [], {}, OPSETS[5:6]),
    ("Scatter", [MATRIX], [ints(1, 3).reshape(1, 2), random(1, 2, seed=2)], {"axis": 1}, OPSETS[:1]),
    ("Pad", [X], [], {"pads": [0, 0, 1, 2, 0, 0, 3, 4], "value": 0.5}, OPSETS[:1]),
    ("Pad", [X], [ints(0, 1, 1, 2, 0, 0, 3, -2), np.float32(0.5)], {}, OPSETS[1:]),
    *[("Pad", [X], [ints(0, 0, 1, 2, 0, 0, 3, 4)], {"mode": mode}, OPSETS[1:]) for mode in ("reflect", "edge")],
    ("Pad", [X], [ints(0, 0, 1, 2, 0, 0, 3, 4)], {"mode": "wrap"}, OPSETS[5:]),
    ("Pad", [X], [ints(1, 2), None, ints(-1)], {}, OPSETS[4:]),
    ("Trilu", [MATRIX], [np.int64(1)], {}, OPSETS[3:]),
    ("Trilu", [MATRIX], [], {"upper": 0}, OPSETS[3:]),
    ("OneHot", [ints(1, -1, 0)], [np.int64(3), floats(-1, 2)], {"axis": 0}, OPSETS[1:]),
    ("EyeLike", [MATRIX], [], {"k": 1}, OPSETS),
    ("ConstantOfShape", [ints(2, 3)], [], {"value": onnx.helper.make_tensor("", 1, [1], [2.0])}, ()),
]

HALF = floats(1, 1, 2, 2)
RESIZINGS = [
    ("Upsample", [X], [HALF], {}, OPSETS[:1]),
    ("Upsample", [X], [HALF], {"mode": "linear"}, OPSETS[:1]),
    *[
        ("Resize", [X], [None, floats(1, 1, *scale)], {"mode": mode, "coordinate_transformation_mode": how}, OPSETS[2:])
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
        for scale in ((2, 2), (1.4, 0.6))
    ],
    ("Resize", [X], [None, None, ints(2, 6, 8, 3)], {"mode": "linear"}, OPSETS[2:]),
    ("Resize", [X], [None, None, ints(8, 3)], {"mode": "linear", "axes": [2, 3]}, OPSETS[4:]),
    *[
        ("Resize", [X], [None, floats(1, 1, 1.7, 2)], {"nearest_mode": how}, OPSETS[2:])
        for how in ("round_prefer_ceil", "floor", "ceil")
    ],
]

TIMES = random(5, 2, 3)  # (time, samples, features)
W, R, B = random(2, 16, 3), random(2, 16, 4), random(2, 32)
RECURRENT = [
    ("RNN", [TIMES], [W[:1, :4], R[:1, :4], B[:1, :8]], {"hidden_size": 4}, OPSETS),
    ("GRU", [TIMES], [W[:1, :12], R[:1, :12], B[:1, :24]], {"hidden_size": 4}, OPSETS),
    ("GRU", [TIMES], [W[:1, :12], R[:1, :12], B[:1, :24]], {"hidden_size": 4, "linear_before_reset": 1}, OPSETS),
    ("GRU", [TIMES], [W[:, :12], R[:, :12]], {"hidden_size": 4, "direction": "bidirectional"}, OPSETS),
    ("LSTM", [TIMES], [W[:1], R[:1], B[:1]], {"hidden_size": 4}, OPSETS),
    ("LSTM", [TIMES], [W[:1], R[:1]], {"hidden_size": 4, "direction": "reverse"}, OPSETS),
    ("LSTM", [TIMES], [W, R, B], {"hidden_size": 4, "direction": "bidirectional"}, OPSETS),
    (
        "LSTM",
        [TIMES],
        [W[:1], R[:1], B[:1], np.array([5, 5], np.int32), random(1, 2, 4), random(1, 2, 4, seed=3)],
        {"hidden_size": 4, "activations": ["Sigmoid", "Relu", "Tanh"]},
        OPSETS,
    ),
]

BYTES = np.array([[1, 200, 255], [0, 5, 128]], np.uint8)
PRECISIONS = [
    ("DequantizeLinear", [BYTES], [np.float32(0.5), np.uint8(128)], {}, OPSETS[1:]),
    ("DequantizeLinear", [BYTES], [floats(0.5, 2), np.array([1, 2], np.uint8)], {"axis": 0}, OPSETS[2:]),
    ("QuantizeLinear", [MATRIX], [np.float32(0.02), np.uint8(128)], {}, OPSETS[1:]),
]

WHOLE = np.array([[5, 12, -3], [255, 0, 7]], np.int32)
SAMPLINGS = [
    *[
        (
            "GridSample",
            [X, random(2, 3, 4, 2)],
            [],
            {"mode": mode, "padding_mode": padding, "align_corners": corners},
            [opset],
        )
        for opset, modes in ((17, ("bilinear", "nearest", "bicubic")), (21, ("linear", "nearest", "cubic")))
        for mode in modes
        for padding, corners in (("zeros", 0), ("border", 1), ("reflection", 0))
    ],
    ("GridSample", [random(1, 2, 3, 4, 5), random(1, 2, 2, 3, 3)], [], {"mode": "linear"}, OPSETS[5:]),
    ("AffineGrid", [random(2, 2, 3)], [ints(2, 1, 3, 4)], {}, OPSETS[5:]),
    ("AffineGrid", [random(1, 3, 4)], [ints(1, 1, 2, 3, 4)], {"align_corners": 1}, OPSETS[5:]),
    ("Col2Im", [random(2, 12, 6)], [ints(3, 4), ints(2, 2)], {}, OPSETS[4:]),
    (
        "Col2Im",
        [random(1, 4, 2)],
        [ints(3, 4), ints(2, 2)],
        {"pads": [0, 1, 1, 0], "strides": [2, 2], "dilations": [2, 1]},
        OPSETS[4:],
    ),
    ("Det", [random(2, 4, 4)], [], {}, OPSETS[1:]),
    *[("Bitwise" + name, [WHOLE, WHOLE[::-1].copy()], [], {}, OPSETS[4:]) for name in ("And", "Or", "Xor")],
    ("BitwiseNot", [WHOLE], [], {}, OPSETS[4:]),
]
SPECTRA = [
    ("DFT", [random(2, 5, 1)], [], {}, OPSETS[3:5]),
    ("DFT", [random(2, 5, 2)], [], {"inverse": 1}, OPSETS[3:5]),
    ("DFT", [random(2, 3, 5, 1)], [ints(4)[0]], {"axis": 2, "onesided": 1}, OPSETS[3:5]),
    ("DFT", [random(2, 5, 1)], [], {}, OPSETS[5:]),
    ("DFT", [random(2, 5, 3, 2)], [None, ints(1)[0]], {"inverse": 1}, OPSETS[5:]),
    ("DFT", [random(2, 5, 1)], [ints(7)[0]], {"onesided": 1}, OPSETS[5:]),
]

FAMILIES = (ELEMENTWISE, LINEAR, CONVOLUTIONS, POOLINGS, NORMALISATIONS, REDUCTIONS, SHAPES, SELECTIONS, RESIZINGS)
FAMILIES += (RECURRENT, PRECISIONS, SAMPLINGS, SPECTRA)
OUTPUTS = {"RNN": 2, "GRU": 2, "LSTM": 3}
CASES = [case for family in FAMILIES for case in family]
ELSEWHERE = {"Constant", "ConstantOfShape", "Range", "Split", "TopK"}


def defining(operator, opsets):
    """Keep of some opsets the first with each definition of an operator."""
    since = {onnx.defs.get_schema(operator, opset).since_version: opset for opset in reversed(opsets)}
    return sorted(since.values())


@pytest.mark.parametrize(
    ("operator", "inputs", "constants", "attributes", "opset"),
    [
        pytest.param(operator, inputs, constants, attributes, opset, id=f"{operator}-{place}-opset{opset}")
        for place, (operator, inputs, constants, attributes, opsets) in enumerate(CASES)
        for opset in defining(operator, opsets)
    ],
)
def test_an_operator_gives_what_onnxruntime_gives(tmp_path, operator, inputs, constants, attributes, opset):
    outputs = OUTPUTS.get(operator, 1)
    check(write(tmp_path / "net.onnx", operator, inputs, constants, outputs, opset, **attributes), inputs)


@pytest.mark.parametrize(
    ("opset", "constants", "attributes"),
    [
        (9, [], {"axis": 1, "split": [1, 5]}),
        (17, [ints(1, 5)], {"axis": 1}),
        (17, [], {"axis": 1}),
        (21, [], {"axis": 2, "num_outputs": 2}),
    ],
)
def test_a_split_gives_as_many_outputs_as_parts(tmp_path, opset, constants, attributes):
    check(write(tmp_path / "net.onnx", "Split", [X], constants, 2, opset, **attributes), [X])


@pytest.mark.parametrize(
    ("opset", "constants", "attributes"),
    [(9, [], {"k": 2}), (17, [ints(3)], {"axis": 1, "largest": 0}), (24, [ints(2)], {})],
)
def test_the_largest_come_with_their_places(tmp_path, opset, constants, attributes):
    check(write(tmp_path / "net.onnx", "TopK", [X], constants, 2, opset, **attributes), [X])


def test_an_output_that_is_left_out_is_not_made(tmp_path):
    check(write(tmp_path / "net.onnx", "LSTM", [TIMES], [W[:1], R[:1]], ["", "last"], hidden_size=4), [TIMES])


@pytest.mark.parametrize(
    "made",
    [
        onnx.helper.make_node("ConstantOfShape", ["c"], ["made"], value=onnx.helper.make_tensor("", 1, [1], [2.5])),
        onnx.helper.make_node("Constant", [], ["made"], value_floats=[1.0, 2.0]),
        onnx.helper.make_node("Constant", [], ["made"], value_float=3.0),
        onnx.helper.make_node("Constant", [], ["made"], value=onnx.numpy_helper.from_array(floats(4, 5))),
        onnx.helper.make_node("Range", ["start", "limit", "delta"], ["made"]),
    ],
)
def test_a_made_tensor_enters_a_sum(tmp_path, made):
    stored = {"c": ints(2), "start": np.float32(1), "limit": np.float32(2), "delta": np.float32(0.5)}
    x = random(3, 2)
    graph = onnx.helper.make_graph(
        [made, onnx.helper.make_node("Add", ["x", "made"], ["y"])],
        "graph",
        [onnx.helper.make_tensor_value_info("x", 1, x.shape)],
        [onnx.helper.make_tensor_value_info("y", 1, x.shape)],
        [onnx.numpy_helper.from_array(value, name) for name, value in stored.items() if name in made.input],
    )
    versions = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=versions, ir_version=IR_VERSION), tmp_path / "net.onnx")
    check(tmp_path / "net.onnx", [x])


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "reason"),
    [
        ("BatchNormalization", [random(6)] * 4, {"training_mode": 1}, "statistics of the batch"),
        ("Resize", [None, floats(1, 1, 2, 2)], {"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop"),
        ("ScatterND", [ints(1).reshape(1, 1), random(1, 6, 5, 7)], {"reduction": "mean"}, "reduction 'mean'"),
        ("GridSample", [random(2, 3, 4, 2)], {"mode": "spline"}, "mode 'spline'"),
        ("Cast", [], {"to": 8}, "no type"),
        ("Conv", [random(4, 6, 3, 3)], {"strides": [0, 1]}, "out of range"),
        ("Conv", [random(4, 6, 3, 3)], {"pads": [2**40, 0, 0, 0]}, "at most"),
        ("Tile", [ints(1, 1, 2**31, 2**31)], {}, "at most"),
        ("Expand", [ints(2**40, 1, 1, 1, 1)], {}, "at most"),
        ("Pad", [ints(0, 0, 0, 0, 0, 0, 0, 2**40)], {}, "at most"),
        ("Resize", [None, floats(1, 1, 1e9, 1e9)], {}, "at most"),
    ],
)
def test_a_form_that_is_not_represented_is_told_with_its_node(tmp_path, operator, constants, attributes, reason):
    path = write(tmp_path / "net.onnx", operator, [X], constants, **attributes)
    with pytest.raises(LoadError, match=f"node.*{reason}"):
        ours(path, [X])


def test_a_shape_that_depends_on_values_is_refused(tmp_path):
    path = write(tmp_path / "net.onnx", "Reshape", [X, ints(2, -1)])
    with pytest.raises(LoadError, match="depends on the model's input"):
        ours(path, [X, ints(2, -1)])


def test_every_operator_is_compared():
    assert {operator for operator, *_ in CASES} | ELSEWHERE == set(OPERATORS)
