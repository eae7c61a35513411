"""How many networks to train at once: found by trying."""

from __future__ import annotations

import time

from torch import Tensor

from .batches import Batches
from .design import Design
from .group import Group
from .initialisation import initial_weights

SIZES = (1, 4, 16, 64, 256)
ROUNDS = 3
SECONDS = 0.1  # that each size is tried in each round, and one step at least
LONGEST = 0.5  # seconds that a step of a group may take: networks so large fill the machine one by one
HOPELESS = 2.0  # of the best time per network: no larger group is tried then
GAIN = 0.95  # of the time of an ordinary loop, which a group must stay under to be preferred


def calibrate(design: Design, images: Tensor, labels: Tensor, most: int) -> int:
    """Find the number of networks that is trained fastest at once, on the design's own shapes and images.

    Parameters
    ----------
    design : Design
    images, labels : tensors (N, *shape) and (N,)
        What it trains on.
    most : int
        Networks in a group, at most.

    Returns
    -------
    int
        Of 1, 4, 16, 64 and 256.
    """
    trials: list[_Trial] = []
    for size in SIZES:
        fastest = min((trial.seconds for trial in trials), default=0.0)
        if size > most or size * fastest > LONGEST or (trials and trials[-1].seconds > HOPELESS * fastest):
            break
        trials.append(_Trial(design, images, labels, size))
    for _ in range(ROUNDS - 1):  # in turns: what disturbs the machine then disturbs all
        for trial in trials:
            trial.run()
    loop, *groups = trials
    best = min(groups, key=lambda trial: trial.seconds, default=loop)
    return best.size if best.seconds < GAIN * loop.seconds else loop.size


class _Trial:
    """A group that is trained for a moment; ``seconds`` per network and step are the fewest that it took so far."""

    def __init__(self, design: Design, images: Tensor, labels: Tensor, size: int) -> None:
        networks = range(size)
        self.size, self.seconds, self.learning_rate = size, float("inf"), design.learning_rate
        self.group = Group(design.model(), initial_weights(design, networks))
        self.batches = Batches(design, networks, images, labels)
        self._step(0)  # pays for the order of the images, and for new memory
        self.run()

    def run(self) -> None:
        steps, begin = 0, time.perf_counter()
        while steps == 0 or time.perf_counter() - begin < SECONDS:
            before = time.perf_counter()
            self._step(steps % self.batches.per_epoch)
            self.seconds = min(self.seconds, (time.perf_counter() - before) / self.size)
            steps += 1

    def _step(self, step: int) -> None:
        self.group.learn(*self.batches.at(step), self.learning_rate)
