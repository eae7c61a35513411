"""What was found, as a page: a summary, a table for each family, each refusal with its reason."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

import dnn2graph

from .families import FAMILIES
from .running import Record
from .trial import OUTPUTS, PRODUCTS, WEIGHTS

Records = Mapping[tuple[str, str], Record]


def _power(number: float) -> str:
    return f"10{str(len(f'{number:.0f}') - 1).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


INTRODUCTION = """\
# Which architectures are covered

Published architectures, and models that are awkward to trace, with random weights: each is traced and put to oracles
that know nothing of the rules by which it was traced. `make zoo` wrote this page; it says what was found, whether it
speaks for this package or not."""

READING = f"""\
How to read it. *nodes*, *edges* and *seconds* are those of the graph in channel granularity, at the architecture's own
size, on one thread; an embedding has a node for each entry of its vocabulary.

- *parameters*: how many of those that influence the output (a gradient other than zero) stand in the graph, in links,
  biases or functions of layers.
- *value*: the graph is unrolled and replayed, every layer and every output compared with the model's. The figure is the
  largest relative error of an output; at most 10⁻⁵ is asked of every layer. Where a forward pass has more than
  {_power(PRODUCTS)} multiplications, this and the next two are asked of smaller images, whose size is said.
- *weights*: the largest relative difference between weights of the channel graph and kernels of the unrolled one,
  aggregated by the definition; asked of models with up to {WEIGHTS / 1e6:g} million weights.
- *dependency*: at weights and inputs drawn at random three times, an output depends on an input exactly if a path joins
  them, for up to {OUTPUTS} channels of each output. *n too many*: so many pairs are joined whose derivative was zero
  each time; that is no error where the model itself cuts derivatives, or a unit rests in every draw.
- *remarks*: *one example*: samples do not lie along the first axis of every input and output, or are not computed each
  for itself; the call was traced as one. *choices*: integers that depend on the input (experts, largest values, tokens)
  are in the graph as the example gave them."""


def verdict(record: Record) -> str:
    """Say in a line what was found of one architecture."""
    if (failed := record["trace"].get("failed")) is not None:
        return f"not traced: {failed}"
    cells = dict(zip(COLUMNS[1:], _row(record), strict=True))
    return "  ".join(f"{title} {cell}" for title, cell in cells.items() if cell)


def document(records: Records) -> str:
    """Return the page, in Markdown."""
    families = [family for family in FAMILIES if any(of == family for of, _ in records)]
    parts = [INTRODUCTION, "## In short", "\n".join(_summary(records, families)), READING]
    for family in families:
        members = {name: record for (of, name), record in records.items() if of == family}
        parts += [f"## {family}", "\n".join(_table(members))]
        if refusals := list(_refusals(members)):
            parts += ["Not traced:", "\n".join(refusals)]
        if failures := list(_failures(members)):
            parts += ["Where an oracle disagrees, or could not be asked:", "\n".join(failures)]
    return "\n\n".join(parts) + "\n"


# --- tables ----------------------------------------------------------------------------------------------------------

COLUMNS = ("architecture", "nodes", "edges", "seconds", "parameters", "value", "weights", "dependency", "remarks")


def _summary(records: Records, families: list[str]) -> Iterator[str]:
    yield _line("family", "traced", "all parameters", "value", "weights", "dependency")
    yield _line("---", *["---:"] * 5)
    for family in families:
        members = [record for (of, _), record in records.items() if of == family]
        traced = [record for record in members if _traced(record)]
        asked = {stage: [r[stage] for r in traced if "skipped" not in r[stage]] for stage in _ORACLES}
        yield _line(
            family,
            f"{len(traced)} of {len(members)}",
            f"{sum(not r['trace']['lost'] for r in traced)} of {len(traced)}",
            *(f"{sum(bool(a.get('ok')) for a in answers)} of {len(answers)}" for answers in asked.values()),
        )
    software = f"dnn2graph {dnn2graph.__version__}, Python {platform.python_version()}"
    yield f"\n{software}{''.join(f', {name} {version}' for name, version in _versions())}"


_ORACLES = ("value", "aggregation", "dependency")


def _versions() -> Iterator[tuple[str, str]]:
    for name in ("torch", "torchvision", "timm", "transformers"):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _table(members: Mapping[str, Record]) -> Iterator[str]:
    yield _line(*COLUMNS)
    yield _line("---", "---:", "---:", "---:", "---:", "---", "---", "---", "---")
    for name, record in members.items():
        yield _line(name, *(_row(record) if _traced(record) else [*[""] * 7, "not traced"]))


def _row(record: Record) -> list[str]:
    found = record["trace"]
    influencing = found["influencing"]
    parameters = f"{influencing - len(found['lost'])} of {influencing}" if influencing is not None else "not derivable"
    size = record["value"].get("size")
    double = " in float64" if record["value"].get("double") else ""
    remarks = [f"at {size}"] * bool(size) + ["one example"] * found["whole"] + ["choices"] * bool(found["notes"])
    return [
        f"{found['nodes']:,}",
        f"{found['edges']:,}",
        f"{found['seconds']:.1f}",
        parameters,
        _error(record["value"]) + double,
        _error(record["aggregation"]),
        _dependency(record["dependency"]),
        ", ".join(remarks),
    ]


def _error(answer: Mapping) -> str:
    if "failed" in answer or "skipped" in answer:
        return "not done" if "failed" in answer else ""
    figure = f"{answer['error']:.0e}" if answer["error"] else "0"
    return figure if answer["ok"] else f"**{figure}**"


def _dependency(answer: Mapping) -> str:
    if "failed" in answer or "skipped" in answer:
        return "not done" if "failed" in answer else ""
    if not answer["ok"]:
        return f"**{answer['missing'] + len(answer['unrepresented'])} missing**"
    return "agrees" if not answer["spurious"] else f"{answer['spurious']} of {answer['pairs']} too many"


def _refusals(members: Mapping[str, Record]) -> Iterator[str]:
    for name, record in members.items():
        if not _traced(record):
            yield f"- `{name}`: {_sentence(record['trace']['failed'])}"


def _failures(members: Mapping[str, Record]) -> Iterator[str]:
    """Say what the tables mark, and what was left out for a reason other than size."""
    for name, record in members.items():
        if not _traced(record):
            continue
        if lost := record["trace"]["lost"]:
            absent = ", ".join(f"`{each}`" for each in lost)
            yield f"- `{name}`, parameters: {absent} influence the output and are absent."
        reasons: dict[str, list[str]] = {}
        for stage, title in zip(_ORACLES, ("value", "weights", "dependency"), strict=True):
            answer = record[stage]
            if "failed" in answer:
                reasons.setdefault(answer["failed"], []).append(title)
            elif "skipped" not in answer and not answer["ok"]:
                reasons.setdefault(_disagreement(stage, answer), []).append(title)
        for why, titles in reasons.items():
            yield f"- `{name}`, {', '.join(titles)}: {_sentence(why)}"


def _disagreement(stage: str, answer: Mapping) -> str:
    if stage == "value":
        return f"relative error {answer['error']:.1e}, first in layer `{answer['layer']}`"
    if stage == "aggregation":
        return f"relative difference {answer['error']:.1e}"
    lost = [f"`{name}`" for name in answer["unrepresented"]]
    return "no path for " + "; ".join([*answer["examples"][: answer["missing"]], *lost])


def _traced(record: Record) -> bool:
    return "failed" not in record["trace"]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "…")) else text + "."


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
