"""Damaged and hostile files end in a result or in one of our errors: never in a crash, a hang, or code that is run.

``DNN2GRAPH_FUZZ=2000`` tries so many files; the default is 200. A number always makes the same file, so that one that
fails can be made again.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.streaming import LazyTensors, measure_file
from tests.commands import REPOSITORY

TRIES = int(os.environ.get("DNN2GRAPH_FUZZ", "200"))
SECONDS = 10  # of the processor, for one file
PATIENCE = 30  # times as long on the clock, on a machine that has more to do
ROOM = 2 << 30  # bytes of address space beyond what the libraries take
MOST = 256 << 20  # bytes of memory for one file, of some kilobytes
# Where the system was asked for what it does not have, a size was believed before it was checked.
ASKED = re.compile(r"MemoryError|bad_alloc|allocate|not enough memory|out of memory", re.IGNORECASE)
# What code in a file would do, and what reads pickles without a look at what they hold.
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
)


# --- intact files, and what reads them -------------------------------------------------------------------------------


class Code:
    """What a pickle holds that runs code when it is read."""

    def __reduce__(self):
        return os.system, ("true",)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def graph():
    return dg.from_torch(network(), torch.zeros(1, 5))


def write_safetensors(path):
    from safetensors.torch import save_file

    save_file({**network().state_dict(), "2.bias": torch.ones(3, dtype=torch.bfloat16)}, path, {"format": "pt"})


def write_index(path):
    from safetensors.torch import save_file

    weights = network().state_dict()
    where = {name: f"model-{name[0]}.safetensors" for name in weights}
    for file in set(where.values()):
        save_file({name: weights[name] for name in where if where[name] == file}, path.with_name(file))
    index = {"metadata": {"total_size": 156}, "weight_map": where}
    path.with_name("model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def write_onnx(path):
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    from onnx import helper, numpy_helper

    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["hidden"], transB=1),
        helper.make_node("Relu", ["hidden"], ["relu"]),
        helper.make_node("Gemm", ["relu", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, n]) for name, n in (("x", 5), ("y", 3)))
    stored = [numpy_helper.from_array(value.numpy(), name) for name, value in network().state_dict().items()]
    model = helper.make_graph(nodes, "network", [x], [y], stored)
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_parquet(path):
    folder = next(parent for parent in path.parents if parent.name == "graph")
    dg.write_parquet(graph(), folder)


def save_old(path):
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=False)


def measured(path):
    found = measure_file(path, threads=1)
    found.table()
    found.strengths()


def lazy(path):
    tensors = LazyTensors(path)
    for name in tensors:
        tensors[name].double().sum()


def loaded(path):
    dg.strength(dg.load(path))


def read(path):
    dg.strength(dg.read(path))


def audited(path):
    dg.audit(path)


@dataclass(frozen=True)
class Kind:
    """A kind of file: which one is damaged, what writes it intact, what reads it, and what is read if another."""

    damaged: str
    write: Callable
    reads: tuple[Callable, ...]
    read: str = ""


KINDS = {
    "safetensors": Kind("model.safetensors", write_safetensors, (measured, lazy, loaded)),
    "index": Kind("model.safetensors.index.json", write_index, (measured, lazy, loaded)),
    "shard": Kind("model-0.safetensors", write_index, (measured, lazy, loaded), read="model.safetensors.index.json"),
    "pt": Kind("model.pt", lambda path: torch.save(network().state_dict(), path), (loaded,)),
    "old pt": Kind("model.pth", save_old, (loaded,)),
    "code": Kind("model.pt", lambda path: torch.save({"0.weight": Code()}, path), (loaded,)),
    "pt2": Kind("model.pt2", lambda path: shutil.copy(REPOSITORY / "data" / "digits_mlp.pt2", path), (loaded,)),
    "onnx": Kind("model.onnx", write_onnx, (loaded,)),
    "npz": Kind("graph.npz", lambda path: dg.save_npz(graph(), path), (read,)),
    "parquet document": Kind("graph/dnn2graph.json", write_parquet, (read,), read="graph"),
    "parquet nodes": Kind("graph/nodes.parquet", write_parquet, (read,), read="graph"),
    "parquet edges": Kind("graph/edges/target_layer=1/links-0000.parquet", write_parquet, (read,), read="graph"),
    "graphml": Kind("graph.graphml", lambda path: dg.write_graphml(graph(), path), (read, audited)),
    "graphml.gz": Kind("graph.graphml.gz", lambda path: dg.write_graphml(graph(), path), (read, audited)),
    "gexf": Kind("graph.gexf", lambda path: dg.write_gexf(graph(), path), (audited,)),
}


def crash(path):
    os.abort()


def hang(path):
    while True:
        pass


def run_code(path):
    os.system("true")


def ask_for_memory(path):
    try:
        np.zeros(1 << 45)
    except MemoryError as error:
        raise dg.LoadError("it cannot be read") from error


def take_memory(path):
    np.ones(MOST + (1 << 24), np.uint8)


def err(path):
    raise KeyError(path)


MISDEEDS = {
    err: "fault Traceback",
    ask_for_memory: "fault asked for memory",
    take_memory: "fault took",
    run_code: "fault os.system",
    crash: "fault ended by SIGABRT",
    hang: "fault no end",
}


# --- damage ----------------------------------------------------------------------------------------------------------

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
NUMBERS = (b"0", b"-1", b"1", b"7", b"2147483648", b"99999999999", b"9223372036854775807", b"1" * 40, b"1e999", b"nan")
WORD = re.compile(rb"[A-Za-z_]\w*")
WORDS = (b"", b"null", b"true", b"[]", b"{}", b"F64", b"../x", b"/dev/zero", b"os.system", b"\xff\xfe", b"a" * 5000)
SIZES = (0, 1, 255, 1 << 15, (1 << 31) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)


def damage(content: bytes, chance: random.Random) -> bytes:
    """Damage some bytes in one to three places."""
    for _ in range(chance.randint(1, 3)):
        content = chance.choice((flip, overwrite, truncate, cut_out, repeat, insert, resize, number, number, word))(
            content or b"\0", chance
        )
    return content


def span(content, chance, longest=64):
    begin = chance.randrange(len(content))
    return begin, min(len(content), begin + chance.randint(1, longest))


def flip(content, chance):
    begin, _ = span(content, chance)
    return content[:begin] + bytes([content[begin] ^ 1 << chance.randrange(8)]) + content[begin + 1 :]


def overwrite(content, chance):
    begin, end = span(content, chance)
    return content[:begin] + chance.choice((chance.randbytes(end - begin), bytes(end - begin))) + content[end:]


def truncate(content, chance):
    return content[: chance.randrange(len(content))]


def cut_out(content, chance):
    begin, end = span(content, chance)
    return content[:begin] + content[end:]


def repeat(content, chance):
    begin, end = span(content, chance, len(content))
    return content[:end] + content[begin:end] * chance.randint(1, 3) + content[end:]


def insert(content, chance):
    begin, _ = span(content, chance)
    return content[:begin] + chance.randbytes(chance.randint(1, 64)) + content[begin:]


def resize(content, chance):
    """Put a size where one might stand: often at the start, in four or eight bytes."""
    begin = chance.choice((0, 8, chance.randrange(len(content))))
    width = chance.choice((4, 8))
    size = (chance.choice(SIZES) % (1 << 8 * width)).to_bytes(width, chance.choice(("little", "big")))
    return content[:begin] + size + content[begin + width :]


def number(content, chance):
    return exchange(content, NUMBER, chance.choice(NUMBERS), chance)


def word(content, chance):
    return exchange(content, WORD, chance.choice(WORDS), chance)


def exchange(content, pattern, replacement, chance):
    found = list(pattern.finditer(content, 0, 1 << 20))
    if not found:
        return content
    begin, end = chance.choice(found).span()
    return content[:begin] + replacement + content[end:]


def damage_header(content, chance):
    """Damage the header of a safetensors file, whose length is right again."""
    length = int.from_bytes(content[:8], "little")
    header = damage(content[8 : 8 + length], chance)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def damage_member(content, chance):
    """Damage a part of a zip archive, whose checksum is right again."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    members = archive.namelist()
    chosen, again = chance.choice(members), io.BytesIO()
    with zipfile.ZipFile(again, "w") as written:
        for member in members:
            part = archive.read(member)
            written.writestr(member, damage(part, chance) if member == chosen else part)
    return again.getvalue()


def damage_inside(content, chance):
    """Damage what gzip has compressed."""
    return gzip.compress(damage(gzip.decompress(content), chance), 1)


def damaged(kind: str, content: bytes, number: int) -> bytes:
    """Give the damaged file of a number: as its bytes, or within its structure."""
    chance = random.Random(f"{kind} {number}")
    within = {b"PK": damage_member, b"\x1f\x8b": damage_inside}.get(content[:2])
    if kind in ("safetensors", "shard"):
        within = damage_header
    return chance.choice((damage, within, within))(content, chance) if within else damage(content, chance)


# --- the process that reads ------------------------------------------------------------------------------------------


def peak(reset=False):
    """Give the most memory that this process has had since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024


def refuse(event, args):
    """End at once if code would be run: no exception, which a reader might turn into an error of ours."""
    if event in FORBIDDEN:
        say(f"fault {event} {args}")
        os._exit(1)


def say(line):
    os.write(1, line.replace("\n", " | ").encode(errors="replace") + b"\n")


def serve():
    """Read files as the lines of the input name them, and say what came of each in one line."""
    for kind, path in intact(Path(sys.argv[2])).items():
        for reads in KINDS[kind].reads:  # whatever this imports, it does before the limits
            with suppress(dg.LoadError):
                reads(path)
    limit = psutil.Process().memory_info().vms + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(refuse)
    say("ready")
    for line in sys.stdin:
        reads, path = json.loads(line)
        before = peak(reset=True)
        try:
            globals()[reads](Path(path))
            answer = "result"
        except dg.Dnn2graphError as error:
            answer = f"error {error}"
            causes = f"{error!r} {error.__cause__!r}"
            if ASKED.search(causes):
                answer = f"fault asked for memory before it had checked a size: {causes}"
        except BaseException:
            answer = f"fault {traceback.format_exc()}"
        if (taken := peak() - before) > MOST:
            answer = f"fault took {taken:,} bytes: {answer}"
        say(answer)


def intact(folder: Path) -> dict[str, Path]:
    """Write the intact files that are not there yet; give what is to be read of each."""
    paths = {}
    for kind, each in KINDS.items():
        path = folder / kind / each.damaged
        if not (folder / kind).exists():
            path.parent.mkdir(parents=True) if "/" not in each.damaged else (folder / kind).mkdir(parents=True)
            try:
                each.write(path)
            except pytest.skip.Exception:
                continue
        if path.exists():
            paths[kind] = folder / kind / (each.read or each.damaged)
    return paths


class Reader:
    """A process that reads files for the tests, watched from outside, and started again if it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.test_fuzz", "serve", str(self.folder)],
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout.readline() == b"ready\n"

    def ask(self, reads, path, seconds=SECONDS):
        """Let a file be read; give what came of it."""
        if self.process is None:
            self.start()
        self.process.stdin.write(json.dumps([reads.__name__, str(path)]).encode() + b"\n")
        self.process.stdin.flush()
        if not self._answers(seconds):
            self.stop()
            return f"fault no end after {seconds} seconds of the processor"
        answer = self.process.stdout.readline().decode(errors="replace").strip()
        if answer and not answer.startswith(tuple(f"fault {event} " for event in FORBIDDEN)):
            return answer
        code = self.process.wait()
        self.process = None
        return answer or f"fault ended by {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def _answers(self, seconds):
        watched = psutil.Process(self.process.pid)
        begin, used = time.monotonic(), sum(watched.cpu_times()[:2])
        while not select.select([self.process.stdout], [], [], seconds)[0]:
            if sum(watched.cpu_times()[:2]) - used > seconds * 0.9 or time.monotonic() - begin > seconds * PATIENCE:
                return False
        return True

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Intact files of all kinds."""
    folder = tmp_path_factory.mktemp("intact")
    return folder, intact(folder)


@pytest.fixture(scope="module")
def reader(files):
    """Give a process that reads."""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits and watches processes as Linux does")
    reader = Reader(files[0])
    yield reader
    reader.stop()


# --- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_in_a_result_or_in_one_of_our_errors(kind, files, reader, tmp_path):
    folder, paths = files
    if kind not in paths:
        pytest.skip("what writes such files is not installed")
    reads, place = KINDS[kind].reads, list(KINDS).index(kind)
    content = (folder / kind / KINDS[kind].damaged).read_bytes()
    faults, outcomes = [], set()
    for number in range(place, TRIES, len(KINDS)):
        work = tmp_path / str(number)
        shutil.copytree(folder / kind, work)
        (work / KINDS[kind].damaged).write_bytes(damaged(kind, content, number))
        for each in reads:
            answer = reader.ask(each, work / (KINDS[kind].read or KINDS[kind].damaged))
            outcomes.add(answer.split()[0])
            if answer.startswith("fault"):
                faults.append(f"damaged({kind!r}, …, {number}), {each.__name__}: {answer}")
        shutil.rmtree(work)
    assert not faults, "\n\n".join(faults)
    assert outcomes <= {"result", "error"}


@pytest.mark.parametrize("kind", KINDS)
def test_intact_files_are_read(kind, files, reader):
    if kind not in files[1]:
        pytest.skip("what writes such files is not installed")
    for reads in KINDS[kind].reads:
        answer = reader.ask(reads, files[1][kind])
        assert answer.split()[0] == ("error" if kind == "code" else "result"), answer


@pytest.mark.parametrize("misdeed", MISDEEDS, ids=lambda misdeed: misdeed.__name__)
def test_no_misdeed_goes_unseen(misdeed, reader, tmp_path):
    assert reader.ask(misdeed, tmp_path, seconds=1).startswith(MISDEEDS[misdeed])


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    serve()
