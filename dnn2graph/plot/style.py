"""How figures look: one style for all of the package, and how they become files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ExportError, InputError
from ..export.files import replacing
from ..export.layout import GRADIENT
from ..export.text import SIGN_COLOURS

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

WIDTH = 10.0  # of a figure, in inches
DPI = 150
SUFFIXES = (".png", ".svg", ".pdf")

POSITIVE, NEGATIVE = ("#{:02x}{:02x}{:02x}".format(*SIGN_COLOURS[sign]) for sign in (1, -1))
INK, MUTED, FAINT = "#262626", "#808080", "#d9d9d9"  # of text, of what stands behind, and of lines between
# Of things without an order, such as runs (Okabe and Ito 2008): told apart by the colour-blind, and on white paper.
DISTINCT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
LIGHTEST = 0.9  # how far gradients go: white paper swallows the yellow that follows

UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"), (0.0, 1.0, ""))  # from which number on, which unit

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that figures are the same everywhere
    "font.size": 9,
    "figure.titlesize": 11,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "image.cmap": "viridis",
    "savefig.dpi": DPI,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dnn2graph",  # equal figures make equal files
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the package's style: make and save figures within.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install 'dnn2graph[plot]'") from None
    with matplotlib.rc_context(RC):
        yield


def gradient(count: int) -> np.ndarray:
    """Give the colours of an order, such as depth or time, from dark blue to green.

    Returns
    -------
    float64 array (count, 3)
        Red, green, blue from 0 to 1.

    Examples
    --------
    >>> gradient(3).round(2).tolist()
    [[0.27, 0.0, 0.33], [0.15, 0.52, 0.55], [0.74, 0.87, 0.18]]
    """
    place = np.linspace(0, LIGHTEST, count) * (len(GRADIENT) - 1)
    steps = np.arange(len(GRADIENT))
    return np.stack([np.interp(place, steps, GRADIENT[:, i]) for i in range(3)], axis=1) / 255


def gradient_map() -> LinearSegmentedColormap:
    """Give the colours of :func:`gradient` as a colour map."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("depth", gradient(256))


def shortened(name: str, length: int) -> str:
    """Shorten the path of a module that is too long: the leading words first, which others share, then the middle.

    Examples
    --------
    >>> shortened("stages.0.blocks.11.downsample.conv", 20), shortened("a_layer_of_one_long_word", 12)
    ('s.0.b.11.d.conv', 'a_lay…g_word')
    """
    words = name.split(".")
    for place, word in enumerate(words[:-1]):
        if len(".".join(words)) > length and not word.isdigit():
            words[place] = word[:1]
    name = ".".join(words)
    if len(name) <= length:
        return name
    kept = length - 1
    return f"{name[: kept // 2]}…{name[-(kept - kept // 2) :]}"


def plain(name: str) -> str:
    """Protect a name that comes from a file: a dollar sign would start a formula."""
    return name.replace("$", r"\$")


def compact(value: float, _: float = 0) -> str:
    """Write a number on an axis: 12000 is 12k.

    Examples
    --------
    >>> compact(-0.25), compact(1500), compact(12_000), compact(2_500_000)
    ('−0.25', '1500', '12k', '2.5M')
    """
    _, size, unit = next((each for each in UNITS if abs(value) >= each[0]), UNITS[-1])
    return f"{value / size:.4g}{unit}".replace("-", "−")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF; the file appears at its path only when it is complete.

    Equal figures make equal files.

    Raises
    ------
    ExportError
        If the name has another ending, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ExportError(f"cannot write '{path}': give a figure a name that ends in {', '.join(SUFFIXES)}")
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    with style(), replacing(path) as file:
        figure.savefig(file, format=suffix[1:], metadata=undated)
