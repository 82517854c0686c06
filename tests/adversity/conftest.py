"""One PostgreSQL with a table that remembers what reached it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock.demo.database import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as server:
        server.run("CREATE TABLE marks (id text PRIMARY KEY); CREATE TABLE notes (id int, note text)")
        yield server
