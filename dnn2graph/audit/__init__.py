"""What viewers will do with a GraphML or GEXF file, told beforehand.

The rules are what the viewers' readers do (:mod:`~dnn2graph.audit.gephi`, :mod:`~dnn2graph.audit.lite`,
:mod:`~dnn2graph.audit.libraries`). The file is read once, in blocks: :mod:`~dnn2graph.audit.reader`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..progress import Progress
from . import gephi, libraries, lite
from .findings import SEVERITIES, Audit, Finding, View
from .memory import estimate
from .reader import read
from .source import GZIP, blocks

__all__ = ["Audit", "Finding", "audit"]

RULES = {
    "Gephi": gephi.findings,
    "Gephi Lite": lite.findings,
    "igraph": libraries.igraph,
    "networkx": libraries.networkx,
    "Cytoscape and yEd": libraries.others,
}


def audit(path: str | Path, *, progress: Progress | None = None) -> Audit:
    """Predict what viewers will do with a GraphML or GEXF file, of whatever origin.

    Memory does not grow with the file, apart from 16 bytes for each node and each edge, and 32 for those that repeat.

    Parameters
    ----------
    path : str or Path
        Plain or compressed by gzip, whatever its name.
    progress : callable, optional
        Called with the number of bytes read and their total.

    Returns
    -------
    Audit
        The findings, the gravest first; ``ok`` if nothing would be lost.

    Raises
    ------
    LoadError
        If the file cannot be read, is no well-formed XML, is neither GraphML nor GEXF, or declares entities.

    Examples
    --------
    >>> import tempfile, torch, dnn2graph as dg
    >>> from dnn2graph.audit import audit
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     graph.write_graphml(f"{folder}/linear.graphml")
    ...     audit(f"{folder}/linear.graphml").ok
    True
    """
    path = Path(path)
    size, compressed = 0, False

    def counted() -> Iterator[bytes]:
        nonlocal size
        for block in blocks(path, progress):
            size += len(block)
            yield block

    census = read(path, counted())
    with path.open("rb") as file:
        compressed = file.read(len(GZIP)) == GZIP
    found = [
        finding
        for viewer, rules in RULES.items()
        for finding in rules(View(viewer, census, size, compressed))
    ]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    counts = census.counts
    memory = estimate(census, size)
    return Audit(str(path), census.format, counts["node"], counts["edge"], os.path.getsize(path), memory, tuple(found))
