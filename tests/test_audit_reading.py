"""A graph file is read fast and exactly: whatever it holds, templates and the XML parser count the same."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.audit import RULES, audit, reader, regular, repeats
from dnn2graph.audit.anatomy import take_apart
from dnn2graph.audit.elements import Columns, Key
from dnn2graph.audit.findings import View
from dnn2graph.audit.reader import read
from dnn2graph.audit.regular import Template
from dnn2graph.audit.repeats import Lines, Missing, Repeats, hashes
from tests.memory import peak_of

HEAD = b'<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
KEY = b'<key id="weight" for="edge" attr.name="weight" attr.type="double"/>\n'
START, END = b'<graph edgedefault="directed">\n', b"</graph>\n</graphml>\n"
EDGE = b'<edge source="%d" target="%d"><data key="weight">%g</data></edge>\n'


def counted(text, templates=True, size=1 << 20):
    """Read a text in blocks, and give everything that was counted, or the error."""
    blocks = (text[begin : begin + size] for begin in range(0, len(text), size))
    try:
        census = read(Path("file"), blocks, templates=templates)
    except dg.LoadError as error:
        return str(error)
    findings = [each for viewer, rules in RULES.items() for each in rules(View(viewer, census, len(text), False))]
    lines = [census.edge_lines.at(place) for place in range(census.edge_lines.count)]
    return census.counts, census.tallies, census.features, census.types, census.keys, census.placed, findings, lines


def agree(text, size=1 << 20):
    """Whether both ways of reading a text count the same."""
    return counted(text, True, size) == counted(text, False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write one graph in the dialects of this package, networkx and igraph."""
    folder = tmp_path_factory.mktemp("files")
    model = nn.Sequential(nn.Linear(12, 10), nn.Linear(10, 9))
    graph = dg.from_torch(model, torch.zeros(1, 12))
    for weight in ("abs", "signed"):
        dg.write_graphml(graph, folder / f"{weight}.graphml", weight=weight)
        dg.write_gexf(graph, folder / f"{weight}.gexf", weight=weight)
    nx.write_graphml(graph.to_networkx(), folder / "networkx.graphml")
    nx.write_gexf(graph.to_networkx(), folder / "networkx.gexf")
    graph.to_igraph().write_graphml(str(folder / "igraph.graphml"))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# ---------------------------------------------------------------------- both ways agree


def test_files_of_all_writers_are_read_alike_in_blocks_of_any_size(files):
    for name, text in files.items():
        expected = counted(text, False)
        assert expected[0] == {"node": 31, "edge": 210}, name
        for size in (100, 777, 5000, 1 << 20):
            assert counted(text, True, size) == expected, (name, size)


def test_most_of_a_file_is_read_by_template(files, monkeypatch):
    seen, parse = [], reader._Reader._parse

    def watched(self, data, final=False):
        seen.append(len(data))
        parse(self, data, final)

    monkeypatch.setattr(reader._Reader, "_parse", watched)
    for name in ("abs.graphml", "abs.gexf", "signed.graphml", "signed.gexf", "networkx.graphml", "igraph.graphml"):
        seen.clear()
        counted(files[name])
        assert sum(seen) < 3000, name  # the declarations, and what stands between and behind


def test_elements_that_all_differ_are_no_trap(monkeypatch):
    learned = []
    monkeypatch.setattr(regular, "Template", lambda anatomy: (learned.append(1), Template(anatomy))[1])
    edges = b"".join(b'<edge source="a" target="b"><data key="q%d">1</data></edge>\n' % edge for edge in range(2000))
    assert agree(HEAD + START + edges + END)
    assert 0 < len(learned) <= 70


INSERTED = [
    b"<edge ", b"</edge>", b"</edge/>", b"<node ", b"<!-- ", b" -->", b"<!-- <edge source='1' target='2'/> -->",
    b"<![CDATA[", b"]]>", b"&amp;", b"&#48;", b"&foo;", b"<", b">", b'"', b"'", b"/", b"\r\n", b"\n", b"\r", b"\t",
    b" ", b"0", b"-", b"e", b"nan", b"1e400", b"1e-50", b"1.5f", b",", b"\xc3\xa9", b"\xff", b"\x00", b"\x01",
    b"<?pi x?>", b"<x:y/>", b' id="1"', b' id="0"', b' label="q"', b' kind="k"', b' directed="false"', b' a="0.5"',
    b"<node id='zz'/>", b'<node id="1"/>', b'<edge source="1" target="2"/>', b'<edge source="1" target="2"></edge>\n',
    b"<graph>", b"</graph>", b'<data key="weight">0</data>', b'<data key="weight">\n 3\n</data>', b"<b>1</b>",
    b'<data key="q">1</data>', b"<default>3</default>", b'<attvalue for="q" value="1"/>',
    b'<key id="q" for="edge" attr.name="weight" attr.type="double"/>',
]  # fmt: skip


def mutated(text, chance):
    """Change a file at a few places: insert, delete, replace, repeat or exchange."""
    if chance.random() < 0.4:
        lines = text.splitlines(keepends=True)
        for _ in range(chance.randint(1, 4)):
            here, there, count = chance.randrange(len(lines)), chance.randrange(len(lines)), chance.randint(1, 80)
            if chance.random() < 0.5:
                lines[here:here] = lines[there : there + count]
            else:
                lines[here], lines[there] = lines[there], lines[here]
        text = b"".join(lines)
    changed = bytearray(text)
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        place, kind = chance.randrange(len(changed) + 1), chance.random()
        if kind < 0.6:
            marks = [changed.find(b">", place) + 1, changed.find(b'"', place) + 1, changed.find(b"<", place)]
            place = chance.choice([*(mark for mark in marks if mark > 0), place])
            changed[place:place] = chance.choice(INSERTED)
        elif kind < 0.8:
            del changed[place : place + chance.choice([1, 1, 2, 5, 40, 300])]
        else:
            changed[place : place + 1] = bytes([chance.randrange(256)])
    return bytes(changed)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_and_unusual_files_are_read_alike(seed, files):
    chance = random.Random(seed)
    outcomes = set()
    for _ in range(20):
        text = mutated(chance.choice(list(files.values())), chance)
        expected = counted(text, False)
        outcomes.add(isinstance(expected, str))
        for size in (1 << 20, chance.choice([100, 777, 4096, 9000])):
            assert counted(text, True, size) == expected
    assert outcomes == {True, False}  # some were well-formed, and some not


@pytest.mark.parametrize(
    "body",
    [
        b'<node id="a"/>\n' * 200,
        b'<node\tid="a"/>\n<node id="b" />\n' * 100,
        b'<node id="caf\xc3\xa9"/>\n' * 200,
        b'<node id="a &amp; b"/>\n' * 200,
        b"<node id='a'></node>\n" * 200,
        b'<node id=""/>\n' * 200,
        b'<node id="a"/>text\n' * 200,
        b"".join(EDGE % (node, node + 1, node) for node in range(200)).replace(b"\n", b"\r\n"),
        b"".join(EDGE % (node, node + 1, node) for node in range(200)).replace(b"\n", b"\r"),
        b"".join(EDGE % (node, node + 1, node) for node in range(200)).replace(b"\n", b""),
        b"".join(b'<edge source="a" target="b" label="%d"/><!-- <edge -->' % node for node in range(200)),
        b'<edge source="a" target="b"><data key="weight">1</data><data key="weight">0</data></edge>\n' * 200,
        b'<edge source="a" target="b"><data key="weight"><b>1</b></data></edge>\n' * 200,
        b'<edge source="a" target="b"><port name="x"><data key="weight">3</data></port></edge>\n' * 200,
        b'<node id="n"><graph edgedefault="directed"><node id="n"/><edge source="n" target="n"/></graph></node>' * 200,
        b'<edge source="a" target="b"><data key="weight">1</data></edge>\n' * 100 + b"<edge><data/></edge>\n" * 100,
    ],
)
def test_unusual_ways_to_write_are_read_alike(body):
    text = HEAD + KEY + START + body + END
    assert not isinstance(counted(text), str)
    assert agree(text)
    assert agree(text, 333)


@pytest.mark.parametrize(
    "prologue",
    [
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n',
        b'<?xml version="1.0" encoding="windows-1252"?>\n',
        b'<?xml version="1.0" standalone="yes"?>\n<!-- <edge source="1" target="2"/> -->\n',
        b"\xef\xbb\xbf",
        b'<!DOCTYPE graphml SYSTEM "http://graphml.graphdrawing.org/dtds/graphml.dtd">\n',
        b'<!DOCTYPE graphml [<!ATTLIST edge label CDATA "kind">]>\n',
    ],
)
def test_prologues_are_heeded(prologue):
    edges = b"".join(EDGE % (node, node + 1, node) for node in range(300))
    text = prologue + HEAD + KEY + START + edges + END
    assert not isinstance(counted(text), str)
    assert agree(text)


def test_a_file_in_utf_16_is_read_by_the_parser():
    edges = b"".join(EDGE % (node, node + 1, node) for node in range(300))
    text = (HEAD + KEY + START + edges + END).decode().encode("utf-16")
    assert counted(text)[0]["edge"] == 300
    assert agree(text)


def test_default_attributes_of_a_document_type_count():
    text = b'<!DOCTYPE graphml [<!ATTLIST edge label CDATA "kind">]>\n' + HEAD + START
    text += b'<edge source="a" target="b"/>\n' * 100 + END
    assert counted(text)[2]["edge", "edge@label"].count == 100


# ---------------------------------------------------------------------- files that mean harm, or are none


BOMB = b"".join(b'<!ENTITY l%d "%b">' % (n + 1, b"&l%d;" % n * 10) for n in range(12))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", "no element found"),
        (b"\x00\x01\x02" * 1000, "not well-formed"),
        (b"PK\x03\x04" + os.urandom(1000), "not well-formed"),
        (b"Source,Target,Weight\n0,1,0.5\n", "syntax error|not well-formed"),
        (b"<html><body/></html>", "neither GraphML nor GEXF: its first element is <html>"),
        (HEAD + START + b'<node id="a">', "no element found"),
        (HEAD + START + b'<edge source="1" tar', "unclosed token"),
        (HEAD + START + END + b"more", "junk after document element"),
        (b'<?xml version="1.0" encoding="klingon"?>' + HEAD + START + END, "encoding"),
        (HEAD + START + b'<node id="\xff"/>' + END, "not well-formed"),
        (b"<a>" * 5000, "neither GraphML nor GEXF"),
        (HEAD + b"<a>" * 5000, "nests more than 1,000 elements"),
        (b'<!DOCTYPE graphml [<!ENTITY l0 "lol">' + BOMB + b"]>" + HEAD + b"&l12;", "declares an entity .'l0'"),
        (b'<!DOCTYPE graphml [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + HEAD + b"&f;", "declares an entity"),
        (b'<!DOCTYPE graphml [<!ENTITY % f SYSTEM "file:///etc/passwd"> %f;]>' + HEAD, "declares an entity"),
    ],
)
def test_what_is_no_graph_file_is_refused_by_name_and_cause(text, cause, tmp_path):
    path = tmp_path / "graph.graphml"
    path.write_bytes(text)
    with pytest.raises(dg.LoadError, match=f"'{path}' .*(?:{cause})"):
        audit(path)


def test_a_document_type_elsewhere_is_not_fetched(tmp_path, monkeypatch):
    path = tmp_path / "graph.graphml"
    path.write_bytes(b'<!DOCTYPE graphml SYSTEM "http://localhost:9/x.dtd">' + HEAD + START + END)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the audit went to the network"))
    assert audit(path).nodes == 0


def test_an_endless_tag_is_refused_before_it_fills_the_memory():
    blocks = (b" " * (1 << 20) for _ in range(1000))

    def hostile():
        yield HEAD + START + b"<node"
        for consumed, block in enumerate(blocks):
            assert consumed < 40
            yield block

    with pytest.raises(dg.LoadError, match="a tag or comment of more than 16 MB"):
        read(Path("file"), hostile())


def test_damaged_compression_is_told(tmp_path):
    path = tmp_path / "graph.graphml.gz"
    whole = gzip.compress(HEAD + START + b'<node id="a"/>' * 1000 + END)
    for damaged in (whole[:-20], whole[:40] + b"\x55" * 10 + whole[50:]):
        path.write_bytes(damaged)
        with pytest.raises(dg.LoadError, match="is damaged or cut off"):
            audit(path)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
)
def test_paths_that_are_no_files_are_named(make, cause, tmp_path):
    make(tmp_path / "graph.graphml")
    with pytest.raises(dg.LoadError, match=f"cannot read '{tmp_path}/graph.graphml': {cause}"):
        audit(tmp_path / "graph.graphml")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(dg.LoadError, match="is no regular file"):
        audit(tmp_path / "pipe")


# ---------------------------------------------------------------------- memory


def test_memory_grows_by_16_bytes_an_edge_and_no_more():
    count, size = 150_000, 1 << 20

    def blocks(edges):
        yield HEAD + KEY + START + b"".join(b'<node id="%d"/>\n' % node for node in range(1000))
        text = b""
        for edge in range(edges):
            text += EDGE % (edge % 1000, edge // 1000, edge + 1)
            if len(text) > size:
                yield text
                text = b""
        yield text + END

    def peak(edges):
        census, most = peak_of(read, Path("file"), blocks(edges))
        return census.counts["edge"], most

    (few, small), (many, large) = peak(count // 3), peak(count)
    assert (few, many) == (count // 3, count)
    assert small < 30e6
    assert large - small < 20 * (many - few)


# ---------------------------------------------------------------------- parts


def test_repeats_are_counted_and_the_first_is_placed():
    found = Repeats()
    for part in ([1, 2, 3], [4, 2], [5, 1, 1]):
        found.add(np.array(part, np.uint64))
    assert found.found() == (3, 4)
    assert Repeats().found() == (0, None)


@pytest.mark.parametrize("seed", range(5))
def test_repeats_are_those_that_a_set_finds(seed):
    random_ = np.random.default_rng(seed)
    keys = random_.integers(0, 30_000, 20_000).astype(np.uint64)
    found = Repeats()
    for part in np.split(keys, np.sort(random_.integers(0, len(keys), 50))):
        found.add(part)
    seen, places = set(), []
    for place, key in enumerate(keys.tolist()):
        if key in seen:
            places.append(place)
        seen.add(key)
    assert found.found() == (len(places), places[0])


@pytest.mark.parametrize("seed", range(5))
def test_missing_keys_are_those_that_a_set_finds_whatever_comes_first(seed, monkeypatch):
    monkeypatch.setattr(repeats, "PENDING", 50)
    random_ = np.random.default_rng(seed)
    declared = Repeats()
    missing = Missing(declared)
    known, uses, ordinal = set(), [], 0
    for _ in range(40):
        if random_.random() < 0.4:
            keys = random_.integers(1, 500, 20).astype(np.uint64)
            declared.add(keys)
            known.update(keys.tolist())
        else:
            keys = random_.integers(1, 600, 30).astype(np.uint64)
            missing.add(np.unique(keys), keys, ordinal)
            uses += [(ordinal + place, key) for place, key in enumerate(keys.tolist())]
            ordinal += len(keys)
    unknown = [(place, key) for place, key in uses if key not in known]
    assert missing.found() == (len({key for _, key in unknown}), min(unknown)[0])


def test_lines_are_kept_in_runs():
    lines, expected = Lines(), []
    told = [(3, 10, 2), (2, 16, 2), (1, 30, 0), (1, 31, 0), (1, 33, 0), (4, 40, 1), (1, 50, 0), (1, 60, 0), (1, 70, 0)]
    for count, line, step in told:
        lines.add(count, line, step)
        expected += [line + step * place for place in range(count)]
    assert [lines.at(place) for place in range(lines.count)] == expected
    assert len(lines.runs) < len(expected) / 2
    assert lines.at(None) is None


def test_hashes_of_texts_are_those_of_the_slow_way():
    assert hashes([b"", b"a"], 2).tolist() == [0, hash(b"a") % (1 << 64)]


@pytest.mark.parametrize(
    "text",
    [
        b'<edge source="a" target="b"',  # not whole
        b'<edge source="a" target="b"/>',  # perhaps white space follows
        b'<edge source="a" source="b"/>\n<',  # an error
        b'<edge source="a"></node>\n<',
        b'<edge source="a"></edge/>\n<',
        b'<edge source="a"></edge x="1">\n<',
        b'<edge source="&amp;"/>\n<',
        b"<edge source='a'/>\n<",
        b'<edge source="a">text<data/></edge>\n<',
        b'<edge source="a"><edge source="b"/></edge>\n<',
        b'<edge source="\xc3\xa9"/>\n<',
        b'<edge source="a"/>\r<',
        b'<graph source="a"/>\n<',
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(text):
    assert take_apart(text, 0, Columns("GraphML")) is None


def test_an_element_is_taken_apart_into_fixed_text_and_values():
    columns = Columns("GraphML")
    columns.declare(Key("edge", "w", "weight", "double", 1))
    text = b'<edge source="a" target="b">\n <data key="w">1</data><data key="q">x</data></edge>\n<edge'
    anatomy = take_apart(text, 0, columns)
    assert anatomy.owner == "edge"
    assert [(item.tag, item.attributes, item.key) for item in anatomy.shape] == [
        ("edge", ("source", "target"), None),
        ("data", ("key",), "w"),
        ("data", ("key",), "q"),
    ]
    assert [piece if isinstance(piece, bytes) else piece.column for piece in anatomy.pieces] == [
        b'<edge source="', "source", b'" target="', "target", b'">\n <data key="w">', "weight",
        b'</data><data key="q">', None, b"</data></edge>\n",
    ]  # fmt: skip
