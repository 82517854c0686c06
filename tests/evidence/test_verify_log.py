from __future__ import annotations

from pathlib import Path

import pytest

from interlock.evidence.keys import Keys
from interlock.evidence.log import Log
from interlock.evidence.note import Checkpoint
from interlock.evidence.report import Report
from interlock.evidence.verify_log import LogView, verify_log
from tests.evidence.support import keys_of

LEAVES = 9


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return keys_of(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, keys: Keys) -> Path:
    log = Log(tmp_path / "log", keys)
    log.load(lambda leaf: None)
    for number in range(LEAVES):
        log.append("open", 1.0, {"session": f"s{number}", "entry": f"{number}"})
        log.write()
        log.sign(log.head())
        (tmp_path / f"checkpoint-{number + 1}").write_bytes((tmp_path / "log" / "checkpoint").read_bytes())
    log.close()
    return tmp_path / "log"


def checked(folder: Path, keys: Keys, sizes: set[int] | None = None) -> tuple[Report, LogView]:
    report = Report()
    return report, verify_log(folder, keys.signer.verifier, report, sizes or set())


def why(report: Report) -> str:
    return "; ".join(claim.detail for claim in report.failures)


def test_a_whole_log_verifies(folder: Path, keys: Keys) -> None:
    report, view = checked(folder, keys, {3, 9})
    assert report.ok
    assert view.size == LEAVES
    assert view.roots.keys() == {0, 3, 9}
    assert all(about.opened and about.ending is None for about in view.sessions.values())


def test_the_roots_of_the_past_are_those_that_were_signed(folder: Path, keys: Keys) -> None:
    _, view = checked(folder, keys, set(range(LEAVES + 1)))
    for size in range(1, LEAVES + 1):
        signed = Checkpoint.parse(keys.signer.verifier.open((folder.parent / f"checkpoint-{size}").read_text()))
        assert view.roots[size] == signed.root.hex()


@pytest.mark.parametrize("number", range(LEAVES))
def test_each_leaf_counts(folder: Path, keys: Keys, number: int) -> None:
    path = folder / "leaves.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (
        lines[:number] + lines[number + 1 :],
        [*lines[:number], lines[number].replace(b"open", b"0pen"), *lines[number + 1 :]],
        [*lines[:number], lines[number], *lines[number:]],
        [*lines[:number], lines[number][:-1]],
    ):
        path.write_bytes(b"".join(changed))
        report, _ = checked(folder, keys)
        assert not report.ok


def test_a_checkpoint_that_was_rolled_back(folder: Path, keys: Keys) -> None:
    (folder / "checkpoint").write_bytes((folder.parent / "checkpoint-5").read_bytes())
    report, _ = checked(folder, keys)
    assert "rolled back" in why(report)


def test_a_log_that_was_cut(folder: Path, keys: Keys) -> None:
    path = folder / "leaves.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    report, _ = checked(folder, keys)
    assert "covers 9 leaves, 4 are here" in why(report)


def test_a_checkpoint_of_another_gateway_or_none(folder: Path, keys: Keys, tmp_path: Path) -> None:
    (folder / "checkpoint").write_text(keys_of(tmp_path / "other").signer.note(Checkpoint("x", 0, bytes(32)).text()))
    assert "no signature" in why(checked(folder, keys)[0])
    (folder / "checkpoint").write_text(keys.signer.note(Checkpoint("x", 0, bytes(32)).text()))
    assert "another log" in why(checked(folder, keys)[0])
    (folder / "checkpoint").unlink()
    assert not checked(folder, keys)[0].ok
    (folder / "leaves.jsonl").unlink()
    assert not checked(folder, keys)[0].ok


def test_leaves_that_cannot_be_read(folder: Path, keys: Keys) -> None:
    path = folder / "leaves.jsonl"
    for bad in (b"not json\n", b'{"kind":"open","session":"../../etc"}\n'):
        path.write_bytes(bad)
        assert "leaf 0 cannot be read" in why(checked(folder, keys)[0])


def test_what_does_not_belong_there(folder: Path, keys: Keys) -> None:
    (folder / "more").write_text("")
    assert "more does not belong" in why(checked(folder, keys)[0])
