"""The composition root: a gateway starts whole or not at all, and what it opened is closed again."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx2
import pytest

from interlock.app import running
from interlock.config import Config, load
from interlock.errors import ConfigError, PolicyError

CONFIG = """
data: ./data
postgres: {{host: 127.0.0.1, port: {port}}}
http: {{host: 127.0.0.1, port: {http}}}
plaintext_loopback: true
policy: ./policy.cedar
principals:
  - {{id: alice, kind: user, groups: [engineering]}}
"""
POLICY = '@id("all") permit (principal, action, resource);'


def configured(folder: Path, *, port: int = 0, http: int = 0, policy: str = POLICY) -> Config:
    (folder / "policy.cedar").write_text(policy)
    file = folder / "interlock.yaml"
    file.write_text(CONFIG.format(port=port, http=http))
    return load(file)


def test_a_gateway_serves_until_its_block_ends_and_starts_again(tmp_path: Path) -> None:
    async def main() -> None:
        config = configured(tmp_path)
        for _ in range(2):
            async with running(config) as app:
                url = f"http://127.0.0.1:{app.http.port}/api/health"
                async with httpx2.AsyncClient(trust_env=False) as client:
                    assert (await client.get(url)).json() == {"ok": True}
                port = app.listeners["postgres"].port
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())


@pytest.mark.parametrize("taken", ["port", "http"])
def test_a_start_that_fails_closes_what_it_opened(tmp_path: Path, taken: str) -> None:
    async def main() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with pytest.raises(ConfigError, match="cannot listen"):
                async with running(configured(tmp_path, **{taken: other.getsockname()[1]})):
                    pass
        async with running(configured(tmp_path)):  # the same folder: no lock, no port, no store was left behind
            pass

    asyncio.run(main())


def test_a_policy_that_does_not_load_opens_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(PolicyError):
            async with running(configured(tmp_path, policy="permit (")):
                pass

    asyncio.run(main())
    assert not (tmp_path / "data" / "evidence").exists()


def test_keys_differ_by_purpose_and_stay_the_same(tmp_path: Path) -> None:
    async def main() -> list[bytes]:
        async with running(configured(tmp_path)) as app:
            return [app.key("identity"), app.key("masking")]

    first = asyncio.run(main())
    assert first == asyncio.run(main())
    assert len(set(first)) == 2


def test_a_changed_policy_is_taken_up_and_logged(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(configured(tmp_path)) as app:
            before = app.policy.current.version
            (tmp_path / "policy.cedar").write_text(POLICY + '\n@id("no") forbid (principal, action == Action::"sql.ddl", resource);')
            async with asyncio.timeout(10):
                while app.policy.current.version == before:  # noqa: ASYNC110 - seen from outside, as an operator would
                    await asyncio.sleep(0.05)
            (tmp_path / "policy.cedar").write_text("permit (")
            async with asyncio.timeout(10):
                while not app.policy.error:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert app.policy.current.version != before
        leaves = (tmp_path / "data" / "evidence" / "log" / "leaves.jsonl").read_text()
        assert leaves.count('"policy"') >= 2

    asyncio.run(main())
