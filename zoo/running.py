"""Every architecture in a process of its own, within limits of time and memory: a crash or a hang is an answer too."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from .families import Entry
from .trial import STAGES, Answer, attempt

Record = dict[str, Answer]  # what each stage found
GIB = 1 << 30


@dataclass
class Limits:
    """What one stage of one architecture may take."""

    seconds: float = 300
    gigabytes: float = 12


@dataclass(eq=False)
class Run:
    """One architecture on its way through the stages; where one ends the process, another goes on with the rest."""

    entry: Entry
    limits: Limits
    record: Record = field(default_factory=dict)
    stage: str | None = None

    def start(self) -> None:
        """Start a process for the stages that have no answer yet."""
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["zoo.preload"])
        self.pipe, theirs = server.Pipe(duplex=False)
        key = (self.entry.family, self.entry.name)
        arguments = (theirs, key, [stage for stage in STAGES if stage not in self.record], self.limits.gigabytes)
        self.process = server.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.stage = None
        self.deadline = time.monotonic() + self.limits.seconds + 60  # the first time, packages are imported

    def heed(self, readable: bool) -> bool:
        """Take what the process says, or end it after its time; return whether the architecture is done."""
        if readable:
            try:
                stage, answer = self.pipe.recv()
            except EOFError:
                self.process.join()
                return self._broken(f"the process died ({_exit(self.process.exitcode)})")
            if answer is None:
                self.stage, self.deadline = stage, time.monotonic() + self.limits.seconds
            else:
                self.record[stage] = answer
            return self._finished()
        if time.monotonic() > self.deadline:
            self.end()
            return self._broken(f"not done within {self.limits.seconds:g} s")
        return False

    def _broken(self, why: str) -> bool:
        """Note why a stage has no answer, and go on with the rest in another process."""
        self.record[self.stage or "trace"] = {"failed": why}
        if not self._finished():
            self.start()
            return False
        return True

    def _finished(self) -> bool:
        return complete(self.record)

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def complete(record: Record) -> bool:
    """Whether nothing is left to ask: every stage has an answer, or there is no graph."""
    return "failed" in record.get("trace", {}) or all(stage in record for stage in STAGES)


def run_all(
    begun: Iterable[tuple[Entry, Record]], jobs: int, limits: Limits, done: Callable[[Entry, Record], None]
) -> None:
    """Try architectures, several at a time, from what is known of each; tell each record as soon as it is complete."""
    waiting, running = list(begun)[::-1], list[Run]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                entry, record = waiting.pop()
                run = Run(entry, limits, dict(record))
                running.append(run)
                run.start()
            first = min(run.deadline for run in running)
            ready = wait([run.pipe for run in running], timeout=max(0.0, first - time.monotonic()))
            for run in list(running):
                if run.heed(run.pipe in ready):
                    run.end()
                    running.remove(run)
                    done(run.entry, run.record)
    finally:
        for run in running:
            run.end()


def _work(pipe: Connection, key: tuple[str, str], stages: list[str], gigabytes: float) -> None:
    """Answer the stages, in a process of its own."""
    import torch

    from .families import entries

    torch.set_num_threads(1)
    limit = int(gigabytes * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(BrokenPipeError):  # whoever asked has gone
        for stage in stages:
            pipe.send((stage, None))
            answer = attempt(stage, entries()[key])
            pipe.send((stage, answer))
            if stage == "trace" and "failed" in answer:
                return


def _exit(code: Any) -> str:
    return f"signal {-code}" if isinstance(code, int) and code < 0 else f"exit code {code}"
