"""Whatever happens to an export on the command line, its path holds the old file or the whole new one."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from dnn2graph.audit import audit

NAMES = pytest.mark.parametrize("name", ["graph.graphml", "graph.gexf", "graph.graphml.gz"])
TEXTS = pytest.mark.parametrize("name", ["graph.graphml", "graph.gexf"])
OLD = "old"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Save a model whose files are large enough to be interrupted: 160 000 edges."""
    path = tmp_path_factory.mktemp("model") / "model.pt"
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(400, 400)).state_dict(), path)
    return path


@pytest.fixture
def old(tmp_path):
    """Give what puts an old file into a folder."""

    def put(name):
        (tmp_path / name).write_text(OLD)
        return tmp_path / name

    return put


@pytest.fixture
def disk(tmp_path):
    """Mount a file system of a megabyte, where that is allowed."""
    if shutil.which("mount") is None:
        pytest.skip("no mount command")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this user may not mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def command(model, path, *options):
    """Write the command line of an export of everything."""
    return [sys.executable, "-m", "dnn2graph", "export", str(model), "-o", str(path), "--all", *options]


def export(model, path, **options):
    """Export everything and wait for the end."""
    return subprocess.run(command(model, path), capture_output=True, text=True, **options)


def remains(folder):
    """List what is in a folder, but for the unfinished files of killed processes."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".dnn2graph-"))


def failed(done, cause):
    """Assert that a command ended as one that could not write: one line that says why."""
    assert done.returncode == 2, done.stderr
    assert cause in done.stderr
    assert done.stderr.startswith("dnn2graph: cannot write ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@TEXTS
def test_a_process_killed_at_any_moment_leaves_the_old_file_or_the_whole_new_one(name, model, old, tmp_path):
    path, whole = old(name), tmp_path / f"whole-{name}"
    begin = time.monotonic()
    assert export(model, whole).returncode == 0
    lasted, content = time.monotonic() - begin, whole.read_bytes()
    chance = random.Random(name)
    for _ in range(4):
        path.write_text(OLD)
        process = subprocess.Popen(command(model, path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.5, 1.1) * lasted)  # before that it loads libraries
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.wait() in (0, -signal.SIGKILL)
        assert path.read_bytes() in ([OLD.encode(), content] if process.returncode else [content])
    assert remains(tmp_path) == sorted([name, whole.name])


@NAMES
def test_a_process_killed_while_it_writes_leaves_the_old_file(name, model, old, tmp_path):
    path = old(name)
    process = subprocess.Popen(command(model, path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not [each for each in tmp_path.iterdir() if each.name.startswith(".dnn2graph-")]:
        os.sched_yield()
    process.kill()
    killed = process.wait() == -signal.SIGKILL
    assert killed or audit(path).edges == 160_000
    if killed:
        assert path.read_text() == OLD
    assert remains(tmp_path) == [name]


@NAMES
def test_an_interruption_is_silent_and_leaves_the_old_file_and_nothing_else(name, model, old, tmp_path):
    path = old(name)
    process = subprocess.Popen(command(model, path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not [each for each in tmp_path.iterdir() if each.name.startswith(".dnn2graph-")]:
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert "Traceback" not in err
    if process.returncode == 0:  # it was quicker
        assert audit(path).edges == 160_000
    else:
        assert process.returncode == 130
        assert path.read_text() == OLD
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@NAMES
def test_a_full_disk_is_told_and_the_old_file_stays(name, model, disk):
    (disk / name).write_text(OLD)
    failed(export(model, disk / name), "No space left on device")
    assert (disk / name).read_text() == OLD
    assert [entry.name for entry in disk.iterdir()] == [name]


@NAMES
def test_a_limit_on_files_is_told_and_the_old_file_stays(name, model, old, tmp_path):
    path = old(name)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))

    failed(export(model, path, preexec_fn=limited), "File too large: write to another disk")
    assert path.read_text() == OLD
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@TEXTS
def test_a_full_device_is_told(name, model, tmp_path):
    path = tmp_path / name
    path.symlink_to("/dev/full")
    failed(export(model, path), "No space left on device")
    assert path.is_symlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@TEXTS
def test_a_folder_without_permission_is_told_and_the_old_file_stays(name, model, old, tmp_path):
    path = old(name)
    tmp_path.chmod(0o555)
    try:
        failed(export(model, path), "choose a folder that you may write to")
        assert path.read_text() == OLD
        assert [entry.name for entry in tmp_path.iterdir()] == [name]
    finally:
        tmp_path.chmod(0o755)


@TEXTS
def test_a_disk_that_may_only_be_read_is_told_and_the_old_file_stays(name, model, disk):
    (disk / name).write_text(OLD)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    failed(export(model, disk / name), "choose a folder that you may write to")
    assert (disk / name).read_text() == OLD
    assert [entry.name for entry in disk.iterdir()] == [name]


@TEXTS
def test_a_pipe_whose_reader_goes_away_is_told_or_silent_but_never_a_traceback(name, model, tmp_path):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    process = subprocess.Popen(command(model, pipe), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pipe.open("rb") as reader:
        assert reader.read(5) == b"<?xml"
    _, err = process.communicate()
    assert process.returncode in (2, 141)
    assert "Traceback" not in err
    assert process.returncode == 141 or "cannot write" in err
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
