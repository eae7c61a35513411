"""The loops of the paper's published code, written anew: the peer of convolution strengths."""

from __future__ import annotations

import numpy as np


def convolution_strengths(kernel: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Strengths of a convolution without padding, stride 1, by visiting every edge.

    Parameters
    ----------
    kernel : array (out, in, kh, kw)

    Returns
    -------
    out-strength of the inputs (in, height, width), in-strength of the outputs (out, height', width')
    """
    outs, ins, kh, kw = kernel.shape
    inputs = np.zeros((ins, height, width))
    outputs = np.zeros((outs, height - kh + 1, width - kw + 1))
    for i in range(ins):
        for o in range(outs):
            for y in range(height - kh + 1):
                for x in range(width - kw + 1):
                    for a in range(kh):
                        for b in range(kw):
                            inputs[i, y + a, x + b] += kernel[o, i, a, b]
    for o in range(outs):
        for y in range(outputs.shape[1]):
            for x in range(outputs.shape[2]):
                outputs[o, y, x] = np.sum(kernel[o])
    return inputs, outputs
