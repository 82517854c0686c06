"""What the steps of the story share: the house as its clients see it, and how a claim is checked."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from interlock.demo.clients import ConsoleApi, Psql
from interlock.demo.database import EmbeddedPostgres
from interlock.demo.teller import Teller

RESOURCES = ("orders-db", "tickets")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_NUMBER = re.compile(r"\+?\(?\d[\d ().-]{7,}\d")
_BETWEEN = re.compile(r"[\s().-]")


class Broken(Exception):
    """A claim of the story does not hold. The text says which, without any value that should have been hidden."""


def claim(holds: bool, what: str) -> None:
    """Raises `Broken` unless it holds."""
    if not holds:
        raise Broken(what)


@dataclass(frozen=True)
class Step:
    """One step of the story: `play` returns what was proven, in a sentence, or raises; `deadline_s` bounds it."""

    name: str
    title: str
    play: Callable[[Stage], Awaitable[str]]
    deadline_s: float = 30.0


@dataclass
class Stage:
    """`tokens` are by principal; `revocable` is one more of alice's, with its id, for the step that takes it away.
    `started_at` is monotonic seconds. The fields below are what one step leaves for later ones."""

    server: EmbeddedPostgres
    postgres_port: int
    url: str
    evidence: Path
    tokens: dict[str, str]
    revocable: tuple[str, str]
    teller: Teller
    started_at: float = field(default_factory=time.monotonic)
    first_masked_s: float | None = None
    held_session: str = ""

    def psql(self, user: str, token: str = "") -> Psql:
        """An unmodified psql of this user, through the gateway."""
        return Psql(self.server.psql, self.server.host, self.postgres_port, user, token or self.tokens[user], RESOURCES[0])

    def console(self, user: str) -> ConsoleApi:
        return ConsoleApi(self.url, self.tokens[user])

    async def upstream(self, sql: str) -> str:
        """What the database itself says, past the gateway: the story's own eyes, which no client has."""
        return (await asyncio.to_thread(self.server.run, sql, superuser=True)).strip()

    async def rows(self, query: str) -> list[dict[str, str]]:
        """What the database itself holds in the rows of a query; NULL is an empty text."""
        found = json.loads(await self.upstream(f"SELECT json_agg(t) FROM ({query}) AS t;"))  # noqa: S608 - the story's own
        return [{name: str(value or "") for name, value in row.items()} for row in found]

    async def count(self, table: str) -> int:
        return int(await self.upstream(f"SELECT count(*) FROM {table};"))  # noqa: S608 - the story's own


def sensitive(texts: Iterable[str]) -> set[str]:
    """The e-mail addresses, and phone, card and similar numbers, in texts."""
    return {found.group() for text in texts for pattern in (_EMAIL, _NUMBER) for found in pattern.finditer(text)}


def leaked(output: str, hidden: Iterable[str]) -> int:
    """How many of these values occur in an output, however they are spaced."""
    squeezed = _BETWEEN.sub("", output).lower()
    return sum(_BETWEEN.sub("", value).lower() in squeezed for value in hidden)
