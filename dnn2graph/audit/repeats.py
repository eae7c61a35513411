"""Which of many keys occur more than once, in eight bytes for each key."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# Odd multipliers: multiplying by them loses no bit, and keys that differ keep differing.
FIRST, SECOND, THIRD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
PENDING = 1 << 17  # keys that are gathered before they are sorted out


def hashes(texts: Iterable[bytes], count: int) -> np.ndarray:
    """Hash texts, uint64 (count,). Two different of a billion texts share a hash with a probability of 3 %."""
    return np.fromiter(map(hash, texts), np.int64, count).view(np.uint64)


class Repeats:
    """Counts the keys that occurred before.

    Keeps 8 bytes for each key; :meth:`found` takes 8 more while it sorts, and 16 for each key that is not unique.
    """

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.count = 0

    def add(self, keys: np.ndarray) -> None:
        self.count += len(keys)
        if self.parts and len(self.parts[-1]) + len(keys) <= PENDING:  # many small parts would cost more than keys
            self.parts[-1] = np.concatenate([self.parts[-1], keys])
        else:
            self.parts.append(keys)

    def found(self) -> tuple[int, int | None]:
        """Return how many keys repeat an earlier one, and the ordinal of the first that does."""
        ordered = self.merged()
        ordered.sort()
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(repeated):
            return 0, None
        values = np.unique(repeated)
        begin, ordinals, keys = 0, [], []
        for part in self.parts:
            place = np.searchsorted(values, part).clip(max=len(values) - 1)
            hit = np.flatnonzero(values[place] == part)
            ordinals.append(begin + hit)
            keys.append(part[hit])
            begin += len(part)
        ordinal, key = np.concatenate(ordinals), np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        later = np.flatnonzero(key[order][1:] == key[order][:-1]) + 1
        return len(repeated), int(ordinal[order[later]].min())

    def merged(self) -> np.ndarray:
        """Give a copy of all keys."""
        return np.concatenate([np.empty(0, np.uint64), *self.parts])


class Missing:
    """Which of the keys that are referred to are declared nowhere; references may come before declarations."""

    def __init__(self, declared: Repeats) -> None:
        self.declared = declared
        self.known, self.known_count = np.empty(0, np.uint64), 0
        self.keys, self.ordinals = np.empty(0, np.uint64), np.empty(0, np.int64)
        self.pending: list[tuple[np.ndarray, np.ndarray]] = []
        self.pending_count = 0

    def add(self, distinct: np.ndarray, keys: np.ndarray, ordinal: int) -> None:
        """Take the keys that elements from an ordinal on refer to, one each, and the distinct ones among them."""
        if self.declared.count > 2 * self.known_count:  # each time twice as many: sorting stays cheap
            self._learn()
        unknown = distinct[~self._is_known(distinct)]
        if len(unknown):
            place = np.flatnonzero(np.isin(keys, unknown))
            found, first = np.unique(keys[place], return_index=True)
            self.pending.append((found, ordinal + place[first]))
            self.pending_count += len(found)
            if self.pending_count > max(PENDING, 2 * len(self.keys)):
                self._settle()

    def found(self) -> tuple[int, int | None]:
        """Return how many keys are declared nowhere, and the ordinal of the first that is referred to."""
        self._settle()
        missing = ~self._is_known(self.keys)
        return int(missing.sum()), int(self.ordinals[missing].min()) if missing.any() else None

    def _learn(self) -> None:
        self.known, self.known_count = np.unique(self.declared.merged()), self.declared.count

    def _is_known(self, keys: np.ndarray) -> np.ndarray:
        if not len(self.known):
            return np.zeros(len(keys), bool)
        return self.known[np.searchsorted(self.known, keys).clip(max=len(self.known) - 1)] == keys

    def _settle(self) -> None:
        """Keep each unknown key once, with its first use, and none that was declared meanwhile."""
        if self.declared.count != self.known_count:
            self._learn()
        keys = np.concatenate([self.keys, *(keys for keys, _ in self.pending)])
        ordinals = np.concatenate([self.ordinals, *(ordinals for _, ordinals in self.pending)])
        self.pending, self.pending_count = [], 0
        order = np.lexsort((ordinals, keys))
        keys, first = np.unique(keys[order], return_index=True)
        keep = ~self._is_known(keys)
        self.keys, self.ordinals = keys[keep], ordinals[order][first[keep]]


class Lines:
    """The line that each of many elements begins on; runs of equal distance are kept as one."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, int]] = []  # first ordinal, its line, lines between neighbours
        self.count = 0

    def add(self, count: int, line: int, step: int) -> None:
        if self.runs:
            first, start, known = self.runs[-1]
            if self.count - first == 1 and count == 1:  # the second of a run says how far they are apart
                self.runs[-1] = first, start, line - start
                self.count += 1
                return
            if line == start + known * (self.count - first) and (count == 1 or step == known):
                self.count += count
                return
        self.runs.append((self.count, line, step))
        self.count += count

    def at(self, ordinal: int | None) -> int | None:
        """Return the line of an element."""
        if ordinal is None:
            return None
        begin = np.searchsorted([first for first, *_ in self.runs], ordinal, side="right") - 1
        first, line, step = self.runs[begin]
        return line + step * (ordinal - first)
