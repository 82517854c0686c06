"""The bypass corpus: cases as data (`tests/cases/bypass/postgres/*.yaml`), played by a client without manners.

A case passes only if no canary reached the client, the server's state is what the oracle says, and the verdict is no
worse than expected. A refusal where something harmless was expected passes too, but is counted as an over-refusal.

Fields of a case: `id`, `title`, `source`, `who` (a principal of `tests/live/vault.py`, default reader), `expect`
(refused, masked, held, ended, harmless), and what is sent, one of

- `sql`: one simple Query, or a list of them, one after the other on one connection
- `texts`: as many cases, one Query each; `extended` beside `sql` or `texts`: by Parse, Bind, Describe, Execute, Sync instead
- `steps`: protocol messages, see `_STEPS`; `wait` reads until so many ReadyForQuery came
- `startup`: parameters of the login, alone or beside the others; `first`: bytes in hex before any login

`oracle` is SQL that the server itself must answer with true afterwards; without one nothing on the server may have
changed, unless `changes`. `own: true`: the client itself said the words it must not learn.
"""

from __future__ import annotations

import json
import logging
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import structlog
import yaml

from interlock.demo.database import EmbeddedPostgres
from interlock.protocols.postgres import wire
from tests.live.client import Client
from tests.live.sweep import CLIENTS, SHAPES, sweep
from tests.live.vault import RESOURCE, Vault, leaked

CASES = Path(__file__).parents[1] / "cases" / "bypass" / "postgres"
SILENCE_S = 1.5
"""How long an answer may take before a client that sent nonsense stops to wait for it."""
VERDICTS = ("refused", "masked", "held", "ended", "harmless")


@dataclass(frozen=True)
class Case:
    id: str
    category: str
    title: str
    source: str
    who: str
    expect: str
    steps: tuple[Any, ...]
    startup: Mapping[str, str] = field(default_factory=dict)
    first: str = ""
    oracle: str = ""
    changes: bool = False
    own: bool = False
    sql: tuple[str, ...] = ()
    """The plain texts, where the case is nothing else: they can be tried past the gateway as well."""


@dataclass(frozen=True)
class Result:
    case: Case
    verdict: str
    faults: tuple[str, ...]
    said: str
    by_server: bool = False
    """All errors were the server's own words."""

    @property
    def over(self) -> bool:
        return (
            not self.faults and self.case.expect in ("masked", "harmless") and self.verdict in ("refused", "ended") and not self.by_server
        )


def load(folder: Path = CASES) -> list[Case]:
    """Every case, in the order of files and lines. Raises `ValueError` for one that is not whole."""
    found = [
        case for path in sorted(folder.glob("*.yaml")) for entry in yaml.safe_load(path.read_text()) for case in _cases(entry, path.stem)
    ]
    twice = [name for name, count in Counter(case.id for case in found).items() if count > 1]
    if twice:
        raise ValueError(f"the same id twice: {twice}")
    return found


def _cases(entry: dict[str, Any], category: str) -> Iterator[Case]:
    entry = dict(entry)
    extended = entry.pop("extended", False)
    texts: list[list[str]] = [[text] for text in entry.pop("texts", [])]
    numbered = len(texts) > 0
    if "sql" in entry:
        sql = entry.pop("sql")
        texts.append([sql] if isinstance(sql, str) else sql)
    steps = tuple(entry.pop("steps", ()))
    if entry["expect"] not in VERDICTS:
        raise ValueError(f"{entry['id']}: {entry['expect']} is no verdict")
    for at, lines in enumerate(texts or [[]], 1):
        own = dict(entry)
        if numbered:
            own["id"] = f"{entry['id']}-{at}"
        sent = tuple(step for line in lines for step in _sent(line, extended)) + steps
        sql_only = tuple(lines) if not steps and not extended else ()
        yield Case(category=category, steps=sent, who=own.pop("who", "reader"), source=own.pop("source", "own"), sql=sql_only, **own)


def _sent(text: str, extended: Any) -> list[Any]:
    if not extended:
        return [{"query": text}, {"wait": 1}]
    given = extended if isinstance(extended, dict) else {}
    return [
        {"parse": ["", text]},
        {"bind": ["", "", given.get("values", []), given.get("formats", [])]},
        *([] if given.get("describe") is False else [{"describe": "P"}]),
        {"execute": ["", 0]},
        "sync",
        {"wait": 1},
    ]


def _bind(portal: str, statement: str, values: list[str | None] | None = None, formats: list[int] | None = None) -> bytes:
    return wire.bind(portal, statement, [None if value is None else value.encode() for value in values or []], result_formats=formats or [])


def _call(oid: int, *arguments: str) -> bytes:
    body = struct.pack("!IHH", oid, 0, len(arguments))
    body += b"".join(struct.pack("!i", len(a.encode())) + a.encode() for a in arguments) + struct.pack("!h", 0)
    return wire.message(b"F", body)


_STEPS = {
    "query": lambda text: wire.query(text),
    "parse": lambda given: wire.parse(*given),
    "bind": lambda given: _bind(*given),
    "describe": lambda given: wire.describe(given[0], given[1:].strip()),
    "execute": lambda given: wire.execute(*given),
    "close": lambda given: wire.close(given[0], given[1:].strip()),
    "copy": lambda data: wire.copy_data(data.encode()),
    "call": lambda given: _call(*given),
    "raw": lambda digits: bytes.fromhex(digits.replace(" ", "")),
    "message": lambda given: wire.message(given[0].encode(), bytes.fromhex(given[1].replace(" ", ""))),
    "many": lambda given: b"".join(
        wire.parse("", given[1].replace("$n", str(n))) + wire.bind("", "") + wire.execute("") for n in range(given[0])
    ),
    "big": lambda size: wire.query("SELECT '" + "x" * size + "'"),
    "sync": wire.sync(),
    "flush": wire.flush(),
    "copydone": wire.copy_done(),
    "copyfail": wire.copy_fail("no"),
    "terminate": wire.terminate(),
}


def play(vault: Vault, case: Case) -> Result:
    """One case against the gateway; the server is as it was afterwards."""
    client = Client.connect(vault.port)
    try:
        verdict = _converse(vault, client, case)
    finally:
        client.close()
    faults = [f"leaked {', '.join(found)}"] if (found := leaked(bytes(client.received), bytes(client.sent) if case.own else b"")) else []
    touched = vault.touched()
    if case.oracle:
        try:
            answer = vault.ask(case.oracle)
        except psycopg.Error as error:
            answer = str(error)
        if answer != "True":
            faults.append(f"the oracle says {answer}")
    elif touched and not case.changes:
        faults.append("the server has changed")
    if touched:
        vault.mend()
    if not _good(case.expect, verdict):
        faults.append(f"{verdict}, but {case.expect} is expected")
    errors = client.errors()
    said = f"{errors[-1].get('C')} {errors[-1].get('M')}" if errors else ""
    by_server = bool(errors) and all("R" in error for error in errors)  # the gateway's own errors have no routine
    return Result(case, verdict, tuple(faults), said, by_server)


def _good(expected: str, verdict: str) -> bool:
    match expected:
        case "refused":
            return verdict in ("refused", "held", "ended")
        case "held":
            return verdict in ("held", "refused")
        case "ended":
            return verdict in ("ended", "refused")
        case _:
            return True


def _converse(vault: Vault, client: Client, case: Case) -> str:
    if case.first:
        client.send(bytes.fromhex(case.first.replace(" ", "")))
        client.until("Z", SILENCE_S)
        return "ended" if client.ended or not client.messages else "refused"
    if not client.login(case.who, vault.token(case.who), RESOURCE, case.startup):
        return "refused" if client.errors() else "ended"
    owed, copied = 0, False
    for step in case.steps:
        name, given = (step, 0) if isinstance(step, str) else next(iter(step.items()))
        if name == "wait":
            if owed and not _settled(client, int(given), copies=not copied):
                return "held" if _held(client) else "ended" if client.ended else _verdict(client)
            owed, copied = 0, False
            continue
        owed += 1
        copied |= name in ("copydone", "copyfail")
        if name == "slow":
            for at, _ in enumerate(message := wire.query(str(given))):
                client.send(message[at : at + 1])
            continue
        make = _STEPS[name]
        client.send(make if isinstance(make, bytes) else make(given))  # type: ignore[operator]
    if owed:
        client.until("Z", SILENCE_S, max(1, sum(step in ("sync",) or (isinstance(step, dict) and "query" in step) for step in case.steps)))
    return "held" if _held(client) else "ended" if client.ended else _verdict(client)


def _settled(client: Client, times: int, *, copies: bool) -> bool:
    """Read until ReadyForQuery came so often (or, if it `copies`, data is asked for); a held statement never gets there."""
    deadline = time.monotonic() + 2 * SILENCE_S
    while time.monotonic() < deadline:
        if client.until("ZNG", SILENCE_S):
            if client.messages[-1].kind == "Z":
                times -= 1
                if not times:
                    return True
            elif (copies and client.messages[-1].kind == "G") or _held(client):
                return not _held(client)
        elif client.ended:
            return False
    return False


def _held(client: Client) -> bool:
    return any(notice.startswith("held:") for notice in client.notices())


def _verdict(client: Client) -> str:
    return "refused" if client.errors() else "shown"


def vacuous(vault: Vault, case: Case) -> str:
    """Why a refusal of this case would prove nothing: the server itself says no; empty if it would not."""
    if not case.sql or any("COPY" in text for text in case.sql):
        return ""
    try:
        with psycopg.connect(vault.server.dsn("shop", superuser=True), autocommit=True) as direct:
            for text in case.sql:
                direct.execute(text.encode())
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    finally:
        if vault.touched():
            vault.mend()
    return ""


def main() -> None:
    """Play everything, print what is wrong, what was refused without need, and last one line of JSON."""
    started = time.monotonic()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    wanted = sys.argv[1:]
    cases = [case for case in load() if not wanted or any(case.id.startswith(word) or case.category == word for word in wanted)]
    with EmbeddedPostgres() as server, tempfile.TemporaryDirectory() as folder, Vault(server, Path(folder)) as vault:
        results = [play(vault, case) for case in cases]
        swept = [] if wanted else list(sweep(vault, SHAPES))
        empty = {case.id: why for case in cases if case.expect == "refused" and (why := vacuous(vault, case))}
    for result in results:
        for fault in result.faults:
            print(f"FAULT {result.case.category}/{result.case.id} as {result.case.who}: {fault} · {result.said}")
    for result in results:
        if result.over:
            print(f"over-refused {result.case.category}/{result.case.id}: {result.said}")
    for one in swept:
        if one.leaks:
            print(f"FAULT sweep by {one.client}, {one.shape}: leaked {', '.join(one.leaks)}")
        elif one.failed:
            print(f"not answered to {one.client}, {one.shape}: {one.failed}")
    for name, why in empty.items():
        print(f"proves nothing {name}: {why}")
    for result in results:
        if result.case.expect == "refused" and result.by_server:
            print(f"refused by the server {result.case.id}: {result.said}")
    summary = {
        "bypass": "postgres",
        "cases": len(results),
        "faults": sum(bool(result.faults) for result in results) + sum(bool(one.leaks) for one in swept),
        "sweep": {"clients": len(CLIENTS), "shapes": len(SHAPES), "asked": len(swept), "answered": sum(not one.failed for one in swept)},
        "over_refusals": sum(result.over for result in results),
        "verdicts": dict(Counter(result.verdict for result in results)),
        "categories": dict(Counter(case.category for case in cases)),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))
    sys.exit(1 if summary["faults"] else 0)


if __name__ == "__main__":
    main()
