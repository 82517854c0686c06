"""What third-party suites found (docs/transparency.md): each stays found out here."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.live.gateway import WAIT_S, Gateway


def test_the_backend_is_the_one_that_the_client_was_told(gateway: Gateway) -> None:
    """Drivers tell their own notifications from others' by the sender's process id."""

    async def play() -> None:
        connection = await asyncpg.connect(gateway.dsn("bob"), timeout=WAIT_S)
        try:
            heard: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            await connection.add_listener("news", lambda _, pid, *__: heard.set_result(pid))
            await connection.execute("NOTIFY news, 'today'")
            assert await asyncio.wait_for(heard, WAIT_S) == connection.get_server_pid()
            assert await connection.fetchval("SELECT pg_backend_pid()") == connection.get_server_pid()
        finally:
            await connection.close(timeout=WAIT_S)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("login", "failure"),
    [
        ({"database": "nowhere"}, asyncpg.InvalidCatalogNameError),
        ({"password": "il_wrong"}, asyncpg.InvalidPasswordError),
        ({"database": "elsewhere"}, asyncpg.InsufficientPrivilegeError),
    ],
    ids=["no such resource", "no good token", "no right"],
)
def test_a_refused_login_has_the_sqlstate_that_drivers_know(gateway: Gateway, login: dict[str, str], failure: type[Exception]) -> None:
    environment = gateway.environment("alice")
    target = {"password": environment["PGPASSWORD"], "database": environment["PGDATABASE"]} | login

    async def play() -> None:
        with pytest.raises(failure):
            await asyncpg.connect(host=environment["PGHOST"], port=int(environment["PGPORT"]), user="alice", timeout=WAIT_S, **target)

    asyncio.run(play())
