"""What pages have in common: one file that loads nothing, made of templates, styles, scripts and data."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ...errors import ExportError
from ...export.files import replacing
from ..style import NEGATIVE, POSITIVE

SUFFIXES = (".html", ".htm")
SPARK = (72, 16)  # width and height of a histogram in a table


def check_page_path(path: str | Path) -> None:
    """Raise ExportError if no page can have that name: to be asked before long work."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ExportError(f"cannot write '{path}': give a page a name that ends in {SUFFIXES[0]}")


def write_page(
    path: str | Path, title: str, body: str, *, style: str, data: Mapping[str, Any], scripts: Sequence[str]
) -> None:
    """Write a page; it appears at its path only when it is complete.

    Its content security policy forbids it to load anything.

    Parameters
    ----------
    path : path
    title, body, style : str
        The body is HTML, the style CSS that adds to what pages share.
    data : mapping of str to value
        What scripts read, as JSON, by these ids.
    scripts : sequence of str
        JavaScript; ``dnn2graph.read(id)`` and ``dnn2graph.unpack`` give it the data.
    """
    elements = [
        f'<script type="application/json" id="{name}">{in_script(value)}</script>' for name, value in data.items()
    ]
    elements += [f"<script>\n{script}\n</script>" for script in (resource("packed.js"), *scripts)]
    parts = {
        "title": escape(title),
        "positive": POSITIVE,
        "negative": NEGATIVE,
        "style": resource("base.css") + style,
        "body": body,
        "scripts": "\n".join(elements),
    }
    with replacing(path) as file:
        file.write(filled(resource("page.html"), parts).encode())


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` of a template; what replaces it is not looked into.

    Examples
    --------
    >>> filled("<b>{{what}}</b>", {"what": "{{what}}"})
    '<b>{{what}}</b>'
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def resource(name: str, package: str = __package__) -> str:
    """Read a template, style or script that stands beside the modules of a package."""
    return files(package).joinpath(name).read_text("utf-8")


def in_script(value: Any) -> str:
    r"""Write a value as JSON that stands in a script element, whatever its texts are.

    Examples
    --------
    >>> print(in_script({"name": "</script><!--"}))
    {"name":"\u003c/script>\u003c!--"}
    """
    return orjson.dumps(value).decode().replace("<", "\\u003c")


def pack(values: np.ndarray, dtype: Any) -> dict[str, str]:
    """Write an array as text: its type as numpy writes it, and its bytes in base 64."""
    packed = np.ascontiguousarray(values).astype(np.dtype(dtype).newbyteorder("<"))
    return {"dtype": packed.dtype.str, "data": base64.b64encode(packed.tobytes()).decode()}


def unpack(packed: dict[str, str]) -> np.ndarray:
    """Read back what :func:`pack` wrote.

    Examples
    --------
    >>> unpack(pack(np.array([0.5, 2.0]), np.float32))
    array([0.5, 2. ], dtype=float32)
    """
    return np.frombuffer(base64.b64decode(packed["data"]), packed["dtype"])


def hex_colour(colour: np.ndarray) -> str:
    """Write red, green and blue from 0 to 1 as a web colour.

    Examples
    --------
    >>> hex_colour(np.array([1, 0.5, 0]))
    '#ff8000'
    """
    return "#{:02x}{:02x}{:02x}".format(*np.round(np.asarray(colour) * 255).astype(int))


def number(value: float) -> str:
    """Write a number for a person; a dash where there is none.

    Examples
    --------
    >>> number(-0.123456), number(float("nan"))
    ('−0.1235', '–')
    """
    return "–" if value != value else f"{value:.4g}".replace("-", "−")


def spark(counts: np.ndarray, edges: np.ndarray, what: str = "strengths") -> str:
    """Draw a small histogram for a row of a table."""
    width, height = SPARK
    tall = counts / max(1, counts.max(initial=0)) * height
    step = width / max(1, len(counts))
    bars = "".join(f"M{i * step:.1f} {height}v{-up:.1f}h{step:.1f}V{height}" for i, up in enumerate(tall) if up)
    label = f"{what} from {number(float(edges[0]))} to {number(float(edges[-1]))}"
    size = f'class="spark" width="{width}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{label}"><title>{label}</title><path d="{bars}"/></svg>'
