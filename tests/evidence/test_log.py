from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.errors import EvidenceError
from interlock.evidence.keys import Keys
from interlock.evidence.log import MAX_LEAF, Log, Roster
from interlock.evidence.note import Checkpoint
from interlock.evidence.tree import Tree, leaf_hash
from tests.evidence.support import keys_of


def begin(root: Path, keys: Keys | None = None) -> tuple[Log, list[Mapping[str, object]]]:
    leaves: list[Mapping[str, object]] = []
    log = Log(root / "log", keys or keys_of(root))
    log.load(leaves.append)
    return log, leaves


def filled(root: Path) -> Log:
    log, _ = begin(root)
    for number in range(5):
        assert log.append("open", 1.5, {"session": f"s{number}"}) == number
    assert log.write()
    assert not log.write()
    log.sign(log.head())
    return log


def test_leaves_and_checkpoint_are_what_the_specification_says(tmp_path: Path) -> None:
    log = filled(tmp_path)
    lines = (tmp_path / "log" / "leaves.jsonl").read_bytes().splitlines()
    assert json.loads(lines[2]) == {"kind": "open", "at": 1.5, "session": "s2"}
    tree = Tree()
    for line in lines:
        tree.append(leaf_hash(line))
    verifier = keys_of(tmp_path).signer.verifier
    signed = Checkpoint.parse(verifier.open((tmp_path / "log" / "checkpoint").read_text()))
    assert signed == Checkpoint(verifier.name, 5, tree.root()) == log.signed


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = filled(tmp_path)
    first.close()
    log, leaves = begin(tmp_path)
    assert [leaf["session"] for leaf in leaves] == ["s0", "s1", "s2", "s3", "s4"]
    assert log.head() == first.head()
    assert log.append("close", 2.0, {}) == 5


def test_a_torn_last_leaf_is_cut(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "log" / "leaves.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"op')
    _, leaves = begin(tmp_path)
    assert len(leaves) == 5
    assert path.read_bytes() == whole


@pytest.mark.parametrize("attack", ["cut", "change", "swap", "no checkpoint", "foreign checkpoint"])
def test_nothing_is_signed_on_top_of_a_log_that_was_changed(tmp_path: Path, attack: str) -> None:
    filled(tmp_path).close()
    path, checkpoint = tmp_path / "log" / "leaves.jsonl", tmp_path / "log" / "checkpoint"
    lines = path.read_bytes().splitlines(keepends=True)
    match attack:
        case "cut":
            path.write_bytes(b"".join(lines[:-1]))
        case "change":
            path.write_bytes(b"".join(lines).replace(b"s3", b"x3"))
        case "swap":
            path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
        case "no checkpoint":
            checkpoint.unlink()
        case _:
            checkpoint.write_text(keys_of(tmp_path / "other").signer.note(Checkpoint("other", 0, bytes(32)).text()))
    with pytest.raises(EvidenceError, match="log"):
        begin(tmp_path)


def test_a_leaf_has_a_limit(tmp_path: Path) -> None:
    log, _ = begin(tmp_path)
    with pytest.raises(EvidenceError, match="limit"):
        log.append("x", 0.0, {"text": "x" * MAX_LEAF})
    with pytest.raises(EvidenceError, match="cannot be encoded"):
        log.append("x", 0.0, {"text": object()})
    assert log.size == 0


def test_the_roster_knows_who_never_ended() -> None:
    roster = Roster(2)
    for number in range(4):
        roster.add({"kind": "open", "session": f"s{number}"})
    roster.add({"kind": "close", "session": "s1"})
    roster.add({"kind": "recovered", "session": "s3"})
    roster.add({"kind": "gateway-start"})
    assert list(roster.unfinished) == ["s0", "s2"]
    assert list(roster.newest) == ["s2", "s3"]
