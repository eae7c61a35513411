"""Tables of what is supported, made from the registry of rules, so that they hold what the code does.

``python -m dnn2graph.trace.document docs/rules.md README.md`` writes them between their marks in these files.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from itertools import chain
from pathlib import Path
from types import ModuleType

from . import registry, rules

MARK = "<!-- {}: made by python -m dnn2graph.trace.document -->"
END = "<!-- end -->"


def families() -> dict[str, dict[str, list[str]]]:
    """Return the operations of each rule, and the rules of each family; both by name, in order of the alphabet."""
    found: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in sorted(rules.__all__)}
    for operation, rule in chain(registry.RULES.items(), registry.COMPLEX_RULES.items()):
        family, _, function = registry.name_of(rule).rpartition(".")
        if family in found:  # others are of the user
            found[family][function].append(str(operation).removeprefix("aten.").removesuffix(".default"))
    for said, _, default in registry.DEFAULTS:
        family, _, function = registry.name_of(default()).rpartition(".")
        found[family][function].append(said)
    return {family: dict(sorted(each.items())) for family, each in found.items() if each}


def rules_table() -> str:
    """Make the table of all rules: what each represents and which operations."""
    lines = ["| rule | represents | operations |", "| --- | --- | --- |"]
    for family, each in families().items():
        for function, operations in each.items():
            said = _first_line(getattr(getattr(rules, family), function))
            lines.append(f"| `{family}.{function}` | {said} | {_listed(operations)} |")
    return "\n".join(lines)


def families_table() -> str:
    """Make the short table: what each family of rules is about, and of how many operations."""
    lines = ["| rules | about | operations |", "| --- | --- | --- |"]
    for family, each in families().items():
        count = len({operation for operations in each.values() for operation in operations})
        lines.append(f"| `{family}` | {_first_line(getattr(rules, family))} | {count} |")
    return "\n".join(lines)


TABLES = {"rules": rules_table, "families": families_table}


def updated(text: str) -> str:
    """Return a text with its tables as they should be."""
    for name, table in TABLES.items():
        begin = MARK.format(name)
        between = re.compile(re.escape(begin) + ".*?" + re.escape(END), re.DOTALL)
        text = between.sub(lambda _: f"{begin}\n\n{table()}\n\n{END}", text)  # noqa: B023  # called at once
    return text


def _first_line(documented: ModuleType | object) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0].replace("``", "`").replace("|", r"\|")


def _listed(operations: list[str]) -> str:
    return ", ".join(each if " " in each else f"`{each}`" for each in sorted(set(operations)))


def main(paths: list[str]) -> None:
    """Bring the tables in files up to date."""
    for path in map(Path, paths):
        path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
