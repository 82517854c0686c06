"""Policy on disk: loading, reloading, watching; a bad change keeps the old policy and says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interlock.errors import PolicyError
from interlock.policy import PolicyFile

GOOD = '@id("all") permit (principal, action, resource);'
BETTER = '@id("reads") permit (principal, action in Action::"read", resource);'
BAD = '@id("all")\npermit (principal, action == Action::"sql.selct", resource);'


def test_a_good_change_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.cedar"
    path.write_text(GOOD)
    policy = PolicyFile(path)
    first = policy.current
    assert policy.reload() == ""
    assert policy.current is first
    path.write_text(BETTER)
    assert policy.reload() == ""
    assert "reads" in policy.current.rules
    assert policy.current.version != first.version


def test_a_bad_change_keeps_the_old_policy_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "p.cedar"
    path.write_text(GOOD)
    policy = PolicyFile(path)
    first = policy.current
    path.write_text(BAD)
    reason = policy.reload()
    assert reason == 'p.cedar:1: rule "all": unrecognized action `Action::"sql.selct"` (did you mean sql.select?)'
    assert policy.error == reason
    assert policy.current is first
    path.unlink()
    assert "cannot be read" in policy.reload()
    assert policy.current is first
    path.write_text(GOOD)
    assert policy.reload() == ""
    assert policy.error == ""


def test_a_folder_is_one_policy(tmp_path: Path) -> None:
    (tmp_path / "b.cedar").write_text(BETTER)
    (tmp_path / "a.cedar").write_text(GOOD)
    (tmp_path / "notes.txt").write_text("not Cedar")
    policy = PolicyFile(tmp_path)
    assert policy.current.rules["reads"].place == "b.cedar:1"
    assert policy.current.rules["all"].place == "a.cedar:1"
    (tmp_path / "c.cedar").write_text(GOOD)
    assert policy.reload().startswith('c.cedar:1: rule "all": the id is taken by a.cedar:1')


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff", "not UTF-8"),
        (b" " * (4 * (1 << 20) + 1), "larger than"),
        (b" " * ((1 << 20) + 1), "longer than"),
        (None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "p.cedar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PolicyError, match=says):
        PolicyFile(path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"has no \.cedar file"):
        PolicyFile(tmp_path)


def test_the_base_policy_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "base.cedar").write_text(GOOD)
    with pytest.raises(PolicyError, match="shipped base policy"):
        PolicyFile(tmp_path)


def test_watching_tells_each_change_once(tmp_path: Path) -> None:
    path = tmp_path / "p.cedar"
    path.write_text(GOOD)
    policy = PolicyFile(path)

    async def play() -> list[str]:
        told: asyncio.Queue[str] = asyncio.Queue()
        watching = asyncio.create_task(policy.watch(told.put_nowait))
        heard = []
        for text in (BAD, BETTER):
            path.write_text(text)
            heard.append(await asyncio.wait_for(told.get(), 20))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return [*heard, *(told.get_nowait() for _ in range(told.qsize()))]

    bad, better = asyncio.run(play())
    assert bad.startswith("p.cedar:1")
    assert better == ""
    assert "reads" in policy.current.rules
