"""What can be known from the disk alone, without a running gateway: what policy says of a text, and recorded sessions.

Nothing is written here, and nothing is changed. Whoever reads recordings so must be able to read the gateway's keys; the
log does not learn that somebody looked, and nothing is masked beyond what the client itself saw masked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from interlock.config import Config
from interlock.errors import ConfigError, EvidenceError, VerificationError
from interlock.evidence import Keys, Renderer
from interlock.evidence.event import Tally
from interlock.evidence.index import ROSTER_LIMIT, Index, SessionSummary, summarize
from interlock.evidence.log import Roster, decode_leaf
from interlock.evidence.replay import Moment, replay
from interlock.evidence.spool import Spool
from interlock.exchange import Effect, Resource
from interlock.facts.sql import Catalog
from interlock.protocols import PROTOCOLS, mcp

Json = dict[str, Any]

NO_CATALOG = (
    "read without the database's catalog: tables are known by the configuration's class map only (schema public unless it says "
    "otherwise), and every function counts as sql.opaque; with a token the running gateway is asked, which knows the catalog"
)


def explain(config: Config, subject: str, on: str, text: str, action: str) -> Json:
    """What policy says of a text on a resource, or (`action`) of one action on the resource itself, as the console
    answers it. Raises `ConfigError`, `PolicyError`."""
    from interlock.identity import Directory
    from interlock.policy import Policy, explain, read_sources

    policy = Policy.load(read_sources(config.policy))
    principal = Directory(config.principals).principal(subject)
    if principal is None:
        raise ConfigError(f"{subject} is not a configured, enabled principal", hint="see `principals` in the configuration")
    resource = next((each for each in config.resources if each.name == on), None)
    if resource is None:
        raise ConfigError(f"there is no resource {on}", hint=f"one of: {', '.join(each.name for each in config.resources) or 'none'}")
    now = time.time()
    if action:
        return explain(policy, principal, resource, [Effect(action)], {}, now=now).to_dict()
    protocol = PROTOCOLS.get(resource.kind)
    if protocol is None:
        raise ConfigError(f"{on} takes no statements", hint="ask about an action: --action mcp.list")
    foreseen = protocol.foresee(resource, text, _sketch(resource), ("public",), config.limits.statement_bytes)
    operation = foreseen.operation
    said = explain(policy, principal, resource, operation.effects, operation.facts, now=now).to_dict()
    return said | {"error": foreseen.error, "position": foreseen.position, "never": foreseen.never, "note": NO_CATALOG}


def _sketch(resource: Resource) -> Catalog:
    """The tables and columns that the class map names, and nothing more."""
    columns: dict[tuple[str, str], list[str]] = {}
    for path in resource.classes:
        *schema, table, column = path.split(".")
        columns.setdefault((schema[-1] if schema else "public", table), []).append(column)
    tables = list(columns)
    return Catalog.build(
        [(oid, schema, table, "r", None) for oid, (schema, table) in enumerate(tables, 1)],
        [(oid, number, name, 25) for oid, table in enumerate(tables, 1) for number, name in enumerate(columns[table], 1)],
    )


class Recordings:
    """The evidence below a data folder, to look at. A context manager; a gateway may run meanwhile."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "evidence"
        if not (self._folder / "log").is_dir():
            raise EvidenceError(f"there is no evidence in {self._folder}", hint="it comes with the gateway's first start")
        self._keys = Keys.load_or_create(data / "keys") if (data / "keys" / "wrap.key").exists() else None
        self._roster = Roster(ROSTER_LIMIT)
        for line in _lines(self._folder / "log" / "leaves.jsonl"):
            self._roster.add(decode_leaf(line))
        self._index = Index(self._folder / "sessions", self._roster)
        self._spools: list[Spool] = []

    def __enter__(self) -> Recordings:
        for path in sorted((self._folder / "spool").glob("*.spool")):
            self._spools.append(Spool.scan(path))
        return self

    def __exit__(self, *_: object) -> None:
        for spool in self._spools:
            spool.close()

    def sessions(self, limit: int) -> list[SessionSummary]:
        """The newest first."""
        return self._index.newest(limit, self._open)

    def session(self, session_id: str) -> SessionSummary:
        """Raises `EvidenceError` when there is none of this id."""
        found = self._index.one(session_id, self._open)
        if found is None:
            raise EvidenceError(f"there is no session {session_id}", hint="`interlock sessions` lists them")
        return found

    def timeline(self, session_id: str) -> Iterator[Json]:
        """What happened and what passed, as the console's API says it. Raises `EvidenceError`, `VerificationError`."""
        secret = self._keys.secret(session_id) if self._keys else None
        for moment in replay(self._folder / "sessions" / session_id, session_id, secret, self._spools, _renderers(), -1):
            yield _moment(moment)

    def _open(self, session_id: str) -> SessionSummary | None:
        """The line of a session that has no seal yet, counted from its journal."""
        if session_id not in self._roster.unfinished:
            return None
        tally = Tally()
        try:
            for moment in replay(self._folder / "sessions" / session_id, session_id, None, self._spools, {}, -1):
                tally.add(moment.kind, moment.facts, int(moment.at * 1e9))
            return summarize(session_id, "live", tally)
        except (EvidenceError, VerificationError, KeyError):
            return None


def as_json(summary: SessionSummary) -> Json:
    return asdict(summary)


def _renderers() -> dict[str, Renderer]:
    from interlock.console import render

    return {**{name: protocol.render for name, protocol in PROTOCOLS.items()}, "mcp": mcp.render, "console": render}


def _moment(moment: Moment) -> Json:
    return {
        "seq": moment.seq,
        "at": moment.at,
        "kind": moment.kind,
        "exchange": moment.exchange,
        "facts": dict(moment.facts),
        "direction": moment.direction,
        "lines": list(moment.lines),
    }


def _lines(path: Path) -> Iterable[bytes]:
    """Whole lines: the last one may be in the middle of being written."""
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror}") from error
