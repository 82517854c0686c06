"""A part of the bypass corpus for each run of the suite; `make bypass` plays all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.protocols.postgres import wire
from tests.live.bypass import Case, load, play
from tests.live.client import Client
from tests.live.vault import RESOURCE, Vault, leaked

CASES = load()


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with EmbeddedPostgres() as server, Vault(server, tmp_path_factory.mktemp("vault")) as made:
        yield made


def _part() -> list[Case]:
    """All that is a dialogue, and of many spellings of the same thing the first and every twentieth."""
    groups: dict[str, list[Case]] = {}
    for case in CASES:
        groups.setdefault(case.id.rsplit("-", 1)[0] if case.id[-1].isdigit() else case.id, []).append(case)
    return [case for group in groups.values() for at, case in enumerate(group) if at % 20 == 0]


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 150
    assert {"lexical", "protocol", "statements", "lineage", "channels"} <= {case.category for case in CASES}


@pytest.mark.parametrize("case", _part(), ids=lambda case: case.id)
def test_case(vault: Vault, case: Case) -> None:
    result = play(vault, case)
    assert not result.faults, f"{case.title}: {result.faults} {result.said}"


def test_the_oracle_sees_a_leak(vault: Vault) -> None:
    """Past the gateway everything is there: a canary that nobody can find would prove nothing."""
    row = vault.direct.execute("SELECT string_agg(p::text, ',') || string_agg(reverse(email), ',') FROM people p").fetchone()
    assert row is not None
    found = leaked(str(row[0]).encode())
    assert len(found) > 8
    vault.direct.execute("UPDATE notes SET n = 0 WHERE id = 1")
    assert vault.touched()
    vault.mend()
    assert not vault.touched()


def test_nobody_cancels_for_others(vault: Vault) -> None:
    """A cancel request with another session's process id and one's own key, or a wrong one, does nothing."""
    sleeper, other = Client.connect(vault.port), Client.connect(vault.port)
    assert sleeper.login("reader", vault.token("reader"), RESOURCE)
    assert other.login("reader", vault.token("reader"), RESOURCE)
    pid, key = sleeper.key
    for wrong in (other.key[1], bytes(4), key[::-1] + b"x", key[:3] + bytes((key[3] ^ 1,))):
        request = Client.connect(vault.port)
        request.send((12 + len(wrong)).to_bytes(4) + (80877102).to_bytes(4) + pid.to_bytes(4) + wrong)
        request.close()
    sleeper.send(wire.query("SELECT pg_sleep(0.3)"))
    assert sleeper.until("Z")
    assert not sleeper.errors()
    sleeper.close()
    other.close()
