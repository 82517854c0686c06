"""A part of the masking sweep for each run of the suite; `make bypass` does all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.live.sweep import CLIENTS, SHAPES, sweep
from tests.live.vault import Vault, leaked

PART = dict(list(SHAPES.items())[::9])
SLOW = ("psql", "psql copy")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with EmbeddedPostgres() as server, Vault(server, tmp_path_factory.mktemp("vault")) as made:
        yield made


def test_the_sweep_is_wide() -> None:
    assert len(SHAPES) >= 60
    assert len(CLIENTS) >= 16


@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in SLOW])
def test_no_canary_reaches(vault: Vault, client: str) -> None:
    found = list(sweep(vault, SHAPES, (client,)))
    assert not {one.shape: one.leaks for one in found if one.leaks}
    answered = [one.shape for one in found if not one.failed and one.rows]
    assert len(answered) >= len(found) * 3 // 4, {one.shape: one.failed for one in found if one.failed or not one.rows}


@pytest.mark.parametrize("client", SLOW)
def test_psql(vault: Vault, client: str) -> None:
    few = {name: PART[name] for name in list(PART)[:3]}
    assert not [one for one in sweep(vault, few, (client,)) if one.leaks or one.failed]


def test_the_sweep_sees_what_is_not_masked(vault: Vault) -> None:
    """The same, past the gateway: nearly every shape holds a canary. What is not found there would prove nothing here."""
    blind = []
    for name, sql in SHAPES.items():
        rows = vault.direct.execute(sql.encode()).fetchall()
        if not leaked(str(rows).encode()):
            blind.append(name)
    assert len(blind) <= 12, blind
