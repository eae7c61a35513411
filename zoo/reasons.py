"""Why an architecture is not represented, in a sentence."""

from __future__ import annotations

from dnn2graph import UnsupportedOperation

SENTENCES = {  # by how the reason of a refused operation begins
    "random numbers": "it draws random numbers among its activations, and no graph computes those",
    "complex numbers": "it does with complex numbers what no rule represents",
    "batch-norm by batch statistics": "it normalises by statistics of the batch, so that samples depend on each other",
    "": "no rule represents",
}
LONGEST = 240  # characters of a message in the table


def reason(error: Exception) -> str:
    """Say in a sentence what was refused or raised."""
    if isinstance(error, UnsupportedOperation):
        return _operations(error.operations)
    text = " ".join(str(error).split())
    if len(text) > LONGEST:
        text = text[:LONGEST].rsplit(" ", 1)[0] + " …"
        if text.count("(") > text.count(")"):
            text = text.rpartition(" (")[0]
    return text if type(error).__module__.startswith("dnn2graph") else f"{type(error).__name__}: {text}"


def _operations(lines: list[str]) -> str:
    """Name the operations that have no rule, each once, and why; a line is ``place: operation on shapes (why)``."""
    reasons: dict[str, dict[str, None]] = {}
    for line in lines:
        operation, _, rest = line.split(": ", 1)[1].partition(" on ")
        why = rest.rsplit(" (", 1)[1] if " (" in rest else ""
        sentence = next(sentence for begin, sentence in SENTENCES.items() if why.startswith(begin))
        reasons.setdefault(sentence, {})[f"`{operation.removesuffix('.default')}`"] = None
    return "; ".join(f"{sentence}: {', '.join(names)}" for sentence, names in reasons.items())
