"""The document of a reproduction: Markdown, line by line."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import __version__
from .claims import CLAIMS, FAILS, IN_PART, LEVEL, UNKNOWN, VERDICTS
from .ensemble import CONTROLS

if TYPE_CHECKING:
    from .reproduction import Result

FIGURES = {
    "densities": "Pooled densities by accuracy (logarithmic scale): node strengths above, link weights below.",
    "divergences": "Symmetric Kullback–Leibler divergence between the bins of accuracy.",
    "fluctuation": "Layers fluctuation against test accuracy: a point for each network at each snapshot.",
    "separation": "How well single features separate low from high accuracy, under each control.",
}

INTRODUCTION = """\
La Malfa et al., *Characterizing Learning Dynamics of Deep Neural Networks via Complex Networks* ([arXiv
2110.02628](https://arxiv.org/abs/2110.02628)), train populations of networks and claim that the weights of their
links alone do not tell accurate networks from poor ones, that nodes strength and layers fluctuation do, and that
the strengths of accurate networks deviate more extremely. This page asks each claim of populations that were
trained for it. A program wrote it, and it says what it found, whether that agrees with the paper or not."""

READING = f"""\
How to read it. A *member* is one network at one snapshot of its training. Members in the lowest third of accuracy
are *low*, those in the highest third *high*; the AUC of a feature is the share of (low, high) pairs in which it is
larger for the accurate member. A feature *separates* if its AUC differs from 0.5 at the {LEVEL:.0%} level after
Holm's correction for all features of the population. Intervals are 95 % bootstrap intervals over networks, because
the snapshots of one network are not independent. Nor are features: the mean strength of the first layer, and of
the last, is a multiple of the mean weight of its links, and separates exactly as well.

Accuracy grows with training time and depends on initialisation, and so do weights. Therefore each claim is asked
four times: of all members (control *none*); with low and high chosen, and compared, only among members of the same
step (*time*); of the same initialisation and support (*initialisation*); and of the same in all three. What
separates only without controls may have separated training time, or initialisations, and not accuracy.

*holds*: the claim's test is met. *in part*: in some layers or statistics. *does not hold*: the test is not met; for
the first claim, some feature of link weights alone separates. That no feature of link weights separates is no proof
that none could: the intervals say how much a difference could hide. *cannot be told*: intervals overlap, or there
is nothing to compare."""

DEPARTURES = """\
## Where this differs from the paper

- Networks have one hidden layer; the published code also has deeper ones. Training is plain gradient descent
  throughout, as the paper says; the published code chose between that and Adam at random.
- The paper trains each network for a random number of epochs and keeps its end. Here each network is kept at
  snapshots, so that all accuracies occur at every initialisation, and time can be controlled for.
- Strengths are those of the paper's formulas. The published code adds biases, and 1 for the missing side of the
  first and last layers (`convention="reference"` gives its numbers).
- Link weights are those of kernels, each once, without biases.
- The published divergence sums over grid points; here it is the integral, which does not depend on the grid, of
  densities whose tails are exact."""


def document(results: Sequence[Result], scale: str, jobs: int | None, beside: str) -> Iterator[str]:
    """Write the document.

    Parameters
    ----------
    results : sequence of Result
    scale : str
    jobs : int or None
        With how many processes it was made.
    beside : str
        Name of the folder of figures.

    Yields
    ------
    str
        Lines.
    """
    yield "# The paper's populations, reproduced"
    yield from ("", INTRODUCTION, "", "## In short", "")
    yield from _summary(results)
    yield from ("", READING, "")
    yield from _run(results, scale, jobs)
    for result in results:
        yield ""
        yield from _section(result, beside)
    yield from ("", DEPARTURES, "")


def _summary(results: Sequence[Result]) -> Iterator[str]:
    """Say in how many populations each claim holds, then tabulate: claims and controls down, populations across."""
    uncontrolled, *_, strictest = CONTROLS
    for claim in CLAIMS:
        counts = [_counted(results, claim, control) for control in (uncontrolled, strictest)]
        yield f"- *{claim[0].upper()}{claim[1:]}*: {counts[0]}; among networks alike in {strictest}, {counts[1]}."
    yield ""
    yield from _table(
        ["claim", "control", *(result.experiment.title for result in results)],
        [
            [
                claim if number == 0 else "",
                control,
                *(_emphasised(_verdict(result, claim, control)) for result in results),
            ]
            for claim in CLAIMS
            for number, control in enumerate(CONTROLS)
        ],
    )


def _counted(results: Sequence[Result], claim: str, control: str) -> str:
    """Count the verdicts: "holds in 3 of 4 populations, does not hold in 1"."""
    verdicts = [_verdict(result, claim, control) for result in results]
    counts = {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}
    (first, number), *rest = counts.items()
    others = "".join(f", {_placed(verdict)} {count}" for verdict, count in rest)
    return f"{_placed(first)} {number} of {len(results)} populations{others}"


def _placed(verdict: str) -> str:
    return {IN_PART: "holds in part in", UNKNOWN: "cannot be told in"}.get(verdict, f"{verdict} in")


def _verdict(result: Result, claim: str, control: str) -> str:
    (found,) = (each for each in result.findings if (each.claim, each.control) == (claim, control))
    return found.verdict


def _emphasised(verdict: str) -> str:
    return f"**{verdict}**" if verdict == FAILS else verdict


def _run(results: Sequence[Result], scale: str, jobs: int | None) -> Iterator[str]:
    """Say exactly what was run."""
    minutes = sum(result.seconds for result in results) / 60
    design = results[0].experiment.design
    yield "## The run"
    yield ""
    yield f"- Command: `dnn2graph population reproduce --scale {scale} --jobs {jobs}`, {minutes:.1f} minutes."
    python = platform.python_version()
    yield f"- Software: dnn2graph {__version__}{_commit()}, torch {torch.__version__}, Python {python}."
    yield f"- Machine: {os.cpu_count()} cores, {platform.machine()}; one thread for each process."
    yield f"- Initialisations: {', '.join(design.initialisations)}, each at supports {_listed(design.supports)}."
    yield f"- Training: plain gradient descent, learning rate {design.learning_rate:g}, batches of {design.batch_size}."
    yield ""
    titles = ["population", "networks", "seeds", "updates", "snapshots at", "diverged", "test accuracy", "minutes"]
    yield from _table(titles, [_population_row(result) for result in results])


def _population_row(result: Result) -> list[str]:
    design, accuracy = result.experiment.design, result.measured.members["accuracy"]
    least, median, most = np.quantile(accuracy, [0, 0.5, 1])
    return [
        result.experiment.title,
        f"{design.networks}, in groups of {result.store.description['group_size']}",
        f"{design.seed} to {design.seed + design.networks - 1}",
        str(design.steps),
        _listed(design.snapshots),
        f"{result.analysis.diverged} of {len(accuracy)} members",
        f"{least:.1%} to {most:.1%}, median {median:.1%}",
        f"{result.seconds / 60:.1f}",
    ]


def _section(result: Result, beside: str) -> Iterator[str]:
    """Show one population: its figures, and the evidence behind each verdict."""
    name, title = result.experiment.name, result.experiment.title
    yield f"## {title}"
    for kind, caption in FIGURES.items():
        of_pooled = kind in ("densities", "divergences")
        pooled = " Networks of initialisation {}, support {:g}.".format(*result.pooled) if of_pooled else ""
        yield ""
        yield f"![{caption}]({beside}/{name}-{kind}.png)"
        yield ""
        yield f"{caption}{pooled}"
    yield ""
    yield from _table(
        ["claim", "control", "verdict", "evidence"],
        [
            [each.claim if each.control == next(iter(CONTROLS)) else "", each.control, each.verdict, each.evidence]
            for claim in CLAIMS
            for each in result.findings
            if each.claim == claim
        ],
    )
    yield ""
    yield f"All features: [{name}-separation.csv]({beside}/{name}-separation.csv)."


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (titles, ["---"] * len(titles), *rows):
        yield f"| {' | '.join(cells)} |"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _commit() -> str:
    """Name the commit of the source, where it is a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" (commit {done.stdout.strip()})"
