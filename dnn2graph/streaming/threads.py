"""Work shared out among threads, of which the asking one is one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from threading import Condition, Thread
from typing import Generic, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Part], Result], parts: Iterable[Part], threads: int
) -> Generator[Result, None, None]:
    """Iterate over what a function makes of each of some parts, in order.

    Parts are taken as they are needed, and threads go at most some parts ahead of who asks, so that what was made of a
    part can be dropped soon. An error ends it, and who stops asking closes it.
    """
    yield from map(function, parts) if threads == 1 else _Shared(function, parts, threads).results()


class _Shared(Generic[Part, Result]):
    """Parts that threads share, and what they have made of some of them."""

    def __init__(self, function: Callable[[Part], Result], parts: Iterable[Part], threads: int) -> None:
        self._function, self._parts, self._threads = function, enumerate(parts), threads
        self._changed = Condition()  # whose lock is held by whoever reads or changes what follows
        self._begun = 0
        self._made: dict[int, Result] = {}
        self._error: BaseException | None = None
        self._over = False

    def results(self) -> Iterator[Result]:
        helpers = [Thread(target=self._help, daemon=True) for _ in range(self._threads - 1)]
        for helper in helpers:
            helper.start()
        try:
            number = 0
            while self._wait_for(number):
                with self._changed:
                    result = self._made.pop(number)
                    self._changed.notify_all()
                yield result
                number += 1
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()
            for helper in helpers:
                helper.join()

    def _wait_for(self, number: int) -> bool:
        """Take on parts until the result of one is there; False if there is no such part."""
        while number not in self._made and not self._far_ahead and not self._error and self._take_on():
            pass
        with self._changed:
            self._changed.wait_for(lambda: self._error or number in self._made or number == self._begun)
            if self._error:
                raise self._error
            return number in self._made

    def _help(self) -> None:
        try:
            while not self._over and self._take_on():
                with self._changed:
                    self._changed.wait_for(lambda: self._over or not self._far_ahead)
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    @property
    def _far_ahead(self) -> bool:
        return len(self._made) >= self._threads + 2  # as parts take their time, not all alike

    def _take_on(self) -> bool:
        """Do the next part; False if there is none."""
        with self._changed:
            begun = next(self._parts, None)
            if begun is None:
                return False
            self._begun += 1
        number, part = begun
        result = self._function(part)
        with self._changed:
            self._made[number] = result
            self._changed.notify_all()
        return True
