"""Work is spread over processes and clusters, in any order, and a worker that is lost is survived."""

from __future__ import annotations

import os
import signal
from functools import partial

import joblib
import pytest

import dnn2graph as dg
from dnn2graph.population.parallel import each


def square(number):
    return number * number


def square_once_killed(folder, number):
    """Kill the worker process that is given number 2 for the first time."""
    mark = folder / "killed"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def kill(number):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number):
    raise dg.LoadError(f"file {number} is damaged")


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_is_done_and_counted(jobs):
    calls = []
    found = dict(each(square, range(20), jobs, lambda done, total: calls.append((done, total))))
    assert found == {number: number**2 for number in range(20)}
    assert calls == [(done, 20) for done in range(1, 21)]
    assert list(each(square, [], jobs)) == []


def test_a_worker_that_is_killed_is_replaced_and_its_task_done_again(tmp_path):
    found = dict(each(partial(square_once_killed, tmp_path), range(8), 2))
    assert (tmp_path / "killed").exists()
    assert found == {number: number**2 for number in range(8)}


def test_workers_that_are_lost_again_and_again_end_in_one_sentence():
    with pytest.raises(dg.Dnn2graphError, match="lost 3 times, with 2 of 2 tasks left"):
        list(each(kill, range(2), 2))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_task_is_the_error_of_the_call(jobs):
    with pytest.raises(dg.LoadError, match="is damaged"):
        list(each(fail, range(3), jobs))


def test_a_dask_cluster_does_the_work_when_it_surrounds_the_call(cluster):
    with joblib.parallel_config(backend="dask"):
        found = dict(each(worker_of, range(12), None))
    assert {number for number, _ in found.values()} == set(range(12))
    assert os.getpid() not in {process for _, process in found.values()}


def test_a_dask_worker_that_is_killed_is_survived(cluster, tmp_path):
    with joblib.parallel_config(backend="dask"):
        found = dict(each(partial(square_once_killed, tmp_path), range(8), None))
    assert (tmp_path / "killed").exists()
    assert found == {number: number**2 for number in range(8)}


def worker_of(number):
    return number, os.getpid()
