"""Sums over a kernel's channels: the hot spot of every strength, at the speed of memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "signed": lambda w: w,
    "abs": np.abs,
    "positive": lambda w: np.maximum(w, 0),
    "negative": lambda w: np.minimum(w, 0),
    "nonzero": lambda w: (w != 0).astype(w.dtype),
    "square": np.square,
}
SMALL = 1 << 12  # weights; below, plain sums cost nothing
NARROW = 32  # rows or columns; below, matrix-vector products are neither fast nor accurate
PANEL = 1024  # weights that are summed in their own precision before the sum is widened
LARGE = 1 << 20  # weights; from here on the compiled loop, where it is installed, saves more than it costs
BLOCK_BYTES = 1 << 20  # a block of rows that stays in the cache while it is summed along both axes


def part_of(weights: np.ndarray, part: str) -> np.ndarray:
    """Take the signed weights, their absolute values, or one of the parts named in ``PARTS``."""
    return PARTS[part](weights)


def kernel_sums(kernel: Tensor, groups: int, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Sum a kernel over its in-channels and over its out-channels.

    Parameters
    ----------
    kernel : tensor (out, in / groups, *taps)
    groups : int
    part : {"signed", "abs", "positive", "negative", "nonzero", "square"}

    Returns
    -------
    per_output : float64 array (out, *taps)
    per_input : float64 array (in, *taps)
    """
    taps = kernel.shape[2:]
    if kernel.is_cuda:  # only the sums travel
        per_output, per_input = tensor_sums(kernel.detach(), groups, part, torch.float64)
        return per_output.cpu().numpy(), per_input.cpu().numpy()
    weights = as_numpy(kernel)
    if groups == 1 and weights.size == weights.shape[0] * weights.shape[1]:  # one tap: a dense matrix
        rows, columns = dense_sums(weights.reshape(weights.shape[:2]), part)
        return rows.reshape(-1, *taps), columns.reshape(-1, *taps)
    weights = part_of(weights, part)
    if groups == 1:
        return weights.sum(1, dtype=np.float64), weights.sum(0, dtype=np.float64)
    grouped = weights.reshape(groups, -1, weights.shape[1], prod(taps))  # (groups, out, in, taps)
    per_output = np.einsum("goit->got", grouped, dtype=np.float64)  # widens in the cache, where sum() copies
    per_input = np.einsum("goit->git", grouped, dtype=np.float64)
    return per_output.reshape(-1, *taps), per_input.reshape(-1, *taps)


def as_numpy(kernel: Tensor) -> np.ndarray:
    """View a tensor on the CPU as an array; half precision, which numpy lacks, widens to float32."""
    if kernel.dtype in (torch.bfloat16, torch.float16):
        kernel = kernel.float()
    return kernel.detach().numpy(force=True)


def dense_sums(matrix: np.ndarray, part: str = "signed") -> tuple[np.ndarray, np.ndarray]:
    """Row and column sums of a matrix in one pass over memory, float64.

    With the ``speed`` extra a compiled loop with float64 accumulators reads at 60 to 100 % of what memory gives, by
    processor (``python -m benchmarks strengths``). Without it, blocks that fit the cache go through two matrix-vector
    products, in panels so short that float32 loses nothing that matters (relative to the sum of absolute values about
    1e-7).
    """
    if matrix.flags.f_contiguous and not matrix.flags.c_contiguous:
        columns, rows = dense_sums(matrix.T, part)
        return rows, columns
    if matrix.size <= SMALL or min(matrix.shape) < NARROW:
        weights = part_of(matrix, part)
        return weights.sum(1, dtype=np.float64), weights.sum(0, dtype=np.float64)
    compilable = part in ("signed", "abs") and matrix.flags.c_contiguous and matrix.dtype in (np.float32, np.float64)
    if compilable and matrix.size >= LARGE:
        compiled = compiled_sums()
        if compiled is not None:
            rows, columns = np.zeros(matrix.shape[0]), np.zeros(matrix.shape[1])
            compiled(matrix, rows, columns, part == "abs")
            return rows, columns
    return _blocked_sums(matrix, part)


def _blocked_sums(matrix: np.ndarray, part: str) -> tuple[np.ndarray, np.ndarray]:
    height, width = matrix.shape
    rows, columns = np.zeros(height), np.zeros(width)
    step = min(PANEL, max(1, BLOCK_BYTES // (matrix.itemsize * width)))
    across, down = _ones(min(PANEL, width), matrix.dtype), _ones(min(step, height), matrix.dtype)
    for begin in range(0, height, step):
        block = np.ascontiguousarray(part_of(matrix[begin : begin + step], part))
        for left in range(0, width, PANEL):
            panel = block[:, left : left + PANEL]
            rows[begin : begin + step] += panel @ across[: panel.shape[1]]
        columns += down[: len(block)] @ block
    return rows, columns


@lru_cache(maxsize=16)
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    ones = np.ones(count, dtype)
    ones.setflags(write=False)
    return ones


TENSOR_PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": lambda w: w,
    "abs": torch.abs,
    "positive": lambda w: w.clamp(min=0),
    "negative": lambda w: w.clamp(max=0),
    "nonzero": lambda w: (w != 0).to(w.dtype),
    "square": torch.square,
}


def tensor_sums(
    kernel: Tensor, groups: int, part: str, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Sum as :func:`kernel_sums` does, where the kernel lives, in torch operations that autograd follows."""
    weights = TENSOR_PARTS[part](kernel)
    grouped = weights.reshape(groups, -1, *weights.shape[1:])
    return weights.sum(1, dtype=dtype), grouped.sum(1, dtype=dtype).flatten(0, 1)


@cache
def compiled_sums() -> Callable[[np.ndarray, np.ndarray, np.ndarray, bool], None] | None:
    """Compile the one-pass loop, or return None without the ``speed`` extra."""
    try:
        import numba
    except ImportError:
        return None

    # Reassociation lets the compiler vectorise the sums; NaN and infinity keep their meaning.
    @numba.njit(fastmath={"reassoc", "nsz", "contract", "arcp"}, nogil=True, cache=True)
    def sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, absolute: bool) -> None:
        height, width = matrix.shape
        whole = height - height % 8
        for i in range(0, whole, 8):  # eight rows a sweep: the column sums are loaded and stored an eighth as often
            a, b, c, d = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
            e, f, g, h = matrix[i + 4], matrix[i + 5], matrix[i + 6], matrix[i + 7]
            sum_a = sum_b = sum_c = sum_d = sum_e = sum_f = sum_g = sum_h = 0.0
            for j in range(width):
                s, t, u, v = np.float64(a[j]), np.float64(b[j]), np.float64(c[j]), np.float64(d[j])
                w, x, y, z = np.float64(e[j]), np.float64(f[j]), np.float64(g[j]), np.float64(h[j])
                if absolute:
                    s, t, u, v = abs(s), abs(t), abs(u), abs(v)
                    w, x, y, z = abs(w), abs(x), abs(y), abs(z)
                sum_a += s
                sum_b += t
                sum_c += u
                sum_d += v
                sum_e += w
                sum_f += x
                sum_g += y
                sum_h += z
                columns[j] += ((s + t) + (u + v)) + ((w + x) + (y + z))
            rows[i], rows[i + 1], rows[i + 2], rows[i + 3] = sum_a, sum_b, sum_c, sum_d
            rows[i + 4], rows[i + 5], rows[i + 6], rows[i + 7] = sum_e, sum_f, sum_g, sum_h
        for i in range(whole, height):
            total = 0.0
            for j in range(width):
                weight = np.float64(matrix[i, j])
                weight = abs(weight) if absolute else weight
                total += weight
                columns[j] += weight
            rows[i] = total

    return sums
