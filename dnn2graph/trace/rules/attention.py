"""Attention: scores of queries and keys gate the values. One layer each of scores, weights and mixtures."""

from __future__ import annotations

import torch
from torch import Tensor

from ...weights import Call, Value
from ..aten import aten
from ..build import channel_axis, operand_nodes
from ..connect import connect_elementwise, connect_operands
from ..mixing import mix
from ..registry import rule
from ..watch import Ids, Operation, Watch


@rule(
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_attention_math.default,
    aten._scaled_dot_product_fused_attention_overrideable.default,
)
def attention(watch: Watch, operation: Operation) -> None:
    """``softmax(scale * q @ k.T + mask) @ v``, of any fused kernel: (samples, heads, positions, features)."""
    query, key, value = operation.args[:3]
    out = operation.out[0]
    scale = operation.argument("scale")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    mask = operation.argument("attn_mask")
    mask = operation.argument("attn_bias") if mask is None else mask
    heads = query.shape[1] // key.shape[1]  # that share keys and values
    q, k, v = (watch.as_neurons(t) for t in (query, key, value))
    k_read, v_read = (ids.repeat_interleave(heads, 1) if heads > 1 else ids for ids in (k, v))

    scores = attention_scores(query, key)
    s = mix(
        watch,
        _step(operation, "scores", scores),
        scores,
        [q.unsqueeze(3), k_read.unsqueeze(2)],  # (samples, heads, queries, keys, features)
        Call(attention_scores, (Value(0), Value(1))),
        [q, k],
        kind="product",
        channel_axis=1,
    )
    a = _weights(watch, operation, scores, s, mask, scale)
    mix(
        watch,
        _step(operation, "attention", out),
        out,
        [a.unsqueeze(3), v_read.transpose(2, 3).unsqueeze(2)],  # (samples, heads, queries, features, keys)
        Call(attention_mixture, (Value(0), Value(1))),
        [a, v],
        kind="product",
        channel_axis=channel_axis(watch, value, out),
    )


def _weights(
    watch: Watch, operation: Operation, scores: Tensor, s: Ids, mask: Tensor | None, scale: float
) -> Ids:
    """Make the layer of attention weights (samples, heads, queries, keys)."""
    causal = bool(operation.argument("is_causal", False))
    weights = attention_weights(scores, mask, scale, causal)
    step = _step(operation, "softmax", weights)
    if mask is None or not watch.is_neuron(mask):
        given = None if mask is None else watch.expression(mask)
        activate = Call(attention_weights, (Value(0), given, scale, causal))
        local = watch.new_by_source(s)
        a = watch.born(step, weights, "activation", local, activation="softmax", activate=activate, channel_axis=1)
        connect_elementwise(watch, s, a)
        return a
    m = watch.ids(mask)
    a = watch.born(
        step,
        weights,
        "function",
        watch.new_by_source(s, m.expand(s.shape)),
        function=Call(attention_weights, (Value(0), _in_type(mask), scale, causal)),
        operands=operand_nodes(watch, [s, m]),
        channel_axis=1,
    )
    connect_operands(watch, [s, m], a, "gate", [1.0, 1.0])
    return a


def _in_type(mask: Tensor) -> Call:
    """Give the mask, whose values are replayed as real numbers, in its own type."""
    return Call(torch.Tensor.to, (Value(1), mask.dtype))


def _step(operation: Operation, label: str, out: Tensor) -> Operation:
    return Operation(operation.func, operation.args, operation.kwargs, out, label)


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """Multiply each query with each key: (…, queries, keys)."""
    return query @ _each_head(key, query).transpose(-1, -2)


def attention_weights(scores: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    """Turn scores into weights that sum to 1 over the keys, where the mask lets any pass."""
    scores = scores * scale
    if causal:
        queries, keys = scores.shape[-2:]
        above = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(above, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else scores + mask
    return torch._safe_softmax(scores, -1)


def attention_mixture(weights: Tensor, value: Tensor) -> Tensor:
    """Mix values: (…, queries, features)."""
    return weights @ _each_head(value, weights)


def _each_head(shared: Tensor, other: Tensor) -> Tensor:
    """Repeat what several heads share for each of them."""
    heads = other.shape[-3] // shared.shape[-3]
    return shared.repeat_interleave(heads, -3) if heads > 1 else shared
