"""The same work for many parts of a population, across processes and machines, by joblib."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import Dnn2graphError
from ..progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")

TRIES = 3  # of what a lost worker had not finished


def each(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Result]]:
    """Call a function with each task, and yield (number of the task, result) as they end.

    A worker process that is lost (killed, out of memory) is survived: what it had not finished is done again. joblib's
    own processes are replaced here; of Dask, ``dask.distributed`` gives the work to other workers by itself.

    Parameters
    ----------
    function : callable
        Of one argument; it can be pickled, and so can the tasks and the results.
    tasks : sequence
    jobs : int, optional
        Processes; 1 works in this one. None takes what surrounds the call, such as
        ``with joblib.parallel_config(backend="dask"): …``.
    progress : callable, optional
        Called with the number of tasks done and their total.

    Raises
    ------
    Dnn2graphError
        If workers were lost again and again; the message says at how many tasks.

    Examples
    --------
    >>> sorted(each(abs, [-1, -2]))
    [(0, 1), (1, 2)]
    """
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    waiting = dict(enumerate(tasks))
    for attempt in range(1, TRIES + 1):
        calls = [joblib.delayed(_numbered)(function, number, task) for number, task in waiting.items()]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")  # it is replaced
                for number, result in joblib.Parallel(jobs, return_as="generator_unordered")(calls):
                    del waiting[number]
                    if progress:
                        progress(len(tasks) - len(waiting), len(tasks))
                    yield number, result
            return
        except TerminatedWorkerError as error:
            if attempt == TRIES:
                raise Dnn2graphError(
                    f"worker processes were lost {TRIES} times, with {len(waiting)} of {len(tasks)} tasks left to do: "
                    "is there enough memory? Give fewer jobs"
                ) from error


def _numbered(function: Callable[[Any], Any], number: int, task: Any) -> tuple[int, Any]:
    return number, function(task)
