"""What several test files share that must be started and ended."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cluster():
    """Start two worker processes of Dask."""
    distributed = pytest.importorskip("dask.distributed", reason="needs the extra dask")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster
