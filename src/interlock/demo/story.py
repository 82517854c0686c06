"""The story: a house is opened on loopback, its clients play through the real doors, and every claim is checked.

One process holds it all: the embedded PostgreSQL's watcher, the gateway with its doors and console, and the clients as
child processes. However it ends, nothing stays behind (but `./demo-data`, where that was asked for).
"""

from __future__ import annotations

import asyncio
import contextlib
import json as jsonlib
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import structlog
import uvloop

from interlock.app import App
from interlock.config import load
from interlock.demo import shop
from interlock.demo.database import HOST, EmbeddedPostgres
from interlock.demo.database_steps import APPROVED, AROUND, BLOCKED, MASKED, PREDICATES, REVOKED
from interlock.demo.evidence_steps import REPLAYED, VERIFIED
from interlock.demo.mcp_steps import DATABASE, TICKETS
from interlock.demo.setup import demo_folder, write_config
from interlock.demo.stage import RESOURCES, Broken, Stage, Step
from interlock.demo.teller import Teller
from interlock.errors import InterlockError

STEPS = (MASKED, AROUND, APPROVED, BLOCKED, DATABASE, TICKETS, PREDICATES, REPLAYED, VERIFIED, REVOKED)
DOORS = ("postgres", "mcp", "console")
PRINCIPALS = ("alice", "bob", "claude")
OPEN_S = 30.0
"""How long the gateway may take to open its doors, in seconds."""
INTERRUPTED = 130


@dataclass(frozen=True)
class Played:
    """What came of one step: `detail` says what was proven, or why it was not."""

    name: str
    ok: bool
    seconds: float
    detail: str


def main(
    *,
    once: bool,
    json: bool,
    ready_file: Path | None,
    keep: bool = False,
    postgres_port: int = 6432,
    http_port: int = 7080,
    policy: str | None = None,
) -> int:
    """Open the house, play the story, and stay until Ctrl-C; `once`: end with the story. 0 when every claim held.

    `json` prints one object {"steps": [{name, ok, seconds, detail}], "ok"} instead of the story. `ready_file` gets the
    addresses and tokens as soon as clients may come, which is before the story is played. `policy` replaces the demo's.
    """
    story = _Story(Teller(quiet=json), once, json, ready_file)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with demo_folder(keep) as folder, open(folder / "gateway.log", "a", encoding="utf-8") as log:
            _log_to(log)
            with story.database(folder) as server:
                uvloop.run(story.play(write_config(folder, server, postgres_port, http_port, policy), server))
    except InterlockError as error:
        story.fell(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
    except OSError as error:
        story.fell(f"{type(error).__name__}: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        if not story.ended:
            return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0 if story.ok else 1


class _Story:
    def __init__(self, teller: Teller, once: bool, json: bool, ready_file: Path | None) -> None:
        self.ended = False
        self._teller = teller
        self._once = once
        self._json = json
        self._ready_file = ready_file
        self._started_at = time.monotonic()
        self._played: list[Played] = []

    @property
    def ok(self) -> bool:
        return self.ended and all(each.ok for each in self._played)

    @contextlib.contextmanager
    def database(self, folder: Path) -> Iterator[EmbeddedPostgres]:
        """A PostgreSQL that holds the shop; when the block ends, it is gone."""
        rows = shop.CUSTOMERS + shop.ORDERS
        with contextlib.ExitStack() as stack:
            with self._teller.waiting(f"Starting a real PostgreSQL 18 and filling a shop with {rows:,} rows …"):
                server = stack.enter_context(EmbeddedPostgres(folder))
                shop.load(server)
            yield server

    async def play(self, config: Path, server: EmbeddedPostgres) -> None:
        """Open the gateway, tell the story; without `once` stay until this task is cancelled."""
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        app = App(load(config))
        try:
            async with asyncio.timeout(OPEN_S):
                await app.start()
        except TimeoutError:
            raise InterlockError(f"the gateway did not open its doors within {OPEN_S:.0f} s") from None
        try:
            stage = await self._stage(app, server)
            if self._ready_file is not None:
                _write_atomically(self._ready_file, jsonlib.dumps(_ready(stage), indent=2) + "\n")
            self._opened(stage)
            await self._act(stage)
            self._end(stage)
            if not self._once:
                self._invite(stage, config.parent)
                await asyncio.Event().wait()
        finally:
            await app.stop()

    def fell(self, why: str) -> None:
        """The house could not be opened, or fell down."""
        self._add(Played("end" if self._played else "start", False, time.monotonic() - self._started_at, why))
        self._print_json()

    # -- the acts ----------------------------------------------------------------------------------------

    async def _stage(self, app: App, server: EmbeddedPostgres) -> Stage:
        tokens = {principal: (await app.identity.issue(principal, DOORS))[0] for principal in PRINCIPALS}
        token, info = await app.identity.issue("alice", DOORS[:1])
        url = f"http://{HOST}:{app.http.port}"
        port = app.listeners["postgres"].port
        return Stage(server, port, url, app.evidence.folder, tokens, (token, info.id), self._teller, self._started_at)

    def _opened(self, stage: Stage) -> None:
        took = time.monotonic() - self._started_at
        self._teller.says(
            f"The gateway is open after {took:.1f} s: PostgreSQL at {HOST}:{stage.postgres_port}, MCP and console at {stage.url}"
        )
        self._add(
            Played("start", True, took, f"a PostgreSQL with {shop.CUSTOMERS + shop.ORDERS:,} rows, an MCP server, the gateway and console")
        )

    async def _act(self, stage: Stage) -> None:
        """Step by step, until a claim does not hold: later steps build on earlier ones."""
        for number, step in enumerate(STEPS, 1):
            self._teller.heading(number, len(STEPS), step.title)
            played = await _play(step, stage)
            self._add(played)
            if not played.ok:
                return

    def _end(self, stage: Stage) -> None:
        self.ended = True
        self._teller.blank()
        if self.ok:
            count = len(self._played)
            took = sum(each.seconds for each in self._played)
            self._teller.proven(f"{count} of {count} steps did what they claim, in {took:.0f} s")
            self._teller.proven(f"{stage.first_masked_s:.1f} s from the start to the first masked row")
        else:
            failed = self._played[-1]
            self._teller.broken(f"the step {failed.name} did not do what it claims: {failed.detail}")
        self._print_json()

    def _invite(self, stage: Stage, folder: Path) -> None:
        """What to try next. The tokens are good for this demo only, and for twelve hours at most."""
        psql = shutil.which("psql") or _short(stage.server.psql)
        interlock = shutil.which("interlock") or _short(Path(sys.executable).with_name("interlock"))
        alice, bob, claude = (stage.tokens[principal] for principal in PRINCIPALS)
        tell = self._teller
        tell.blank()
        tell.says("Now you. The house stays open until Ctrl-C.")
        for principal in PRINCIPALS:
            tell.line(principal, stage.tokens[principal])
        tell.line("psql", f"PGPASSWORD={alice} {psql} -h {HOST} -p {stage.postgres_port} -U alice -d {RESOURCES[0]}")
        tell.line("MCP", f"{stage.url}/mcp   with the header  Authorization: Bearer {claude}")
        tell.line("", f'claude mcp add --transport http interlock {stage.url}/mcp --header "Authorization: Bearer {claude}"')
        tell.line("console", f"{stage.url}   sign in with bob's token, and answer what alice and claude ask for")
        tell.line("as bob", f"export INTERLOCK_URL={stage.url} INTERLOCK_TOKEN={bob}")
        tell.line("", f"{interlock} approve    {interlock} sessions    {interlock} replay {stage.held_session}")
        tell.line("policy", f"{folder / 'policy' / 'demo.cedar'}   change it: it counts within a second")
        tell.line("log", f"{folder / 'gateway.log'}")

    # -- what came of it ---------------------------------------------------------------------------------

    def _add(self, played: Played) -> None:
        self._played.append(played)
        (self._teller.proven if played.ok else self._teller.broken)(played.detail)

    def _print_json(self) -> None:
        if self._json:
            steps = [asdict(each) | {"seconds": round(each.seconds, 3)} for each in self._played]
            print(jsonlib.dumps({"steps": steps, "ok": self.ok}, indent=2), flush=True)


async def _play(step: Step, stage: Stage) -> Played:
    """One step, within its deadline. Whatever goes wrong in it is what came of it."""
    since = time.monotonic()
    try:
        async with asyncio.timeout(step.deadline_s):
            ok, detail = True, await step.play(stage)
    except Broken as broken:
        ok, detail = False, f"this does not hold: {broken}"
    except TimeoutError:
        ok, detail = False, f"it was not over after {step.deadline_s:.0f} s"
    except InterlockError as error:
        ok, detail = False, error.message
    except Exception as error:
        ok, detail = False, f"{type(error).__name__}: {error}"
    return Played(step.name, ok, time.monotonic() - since, detail)


def _ready(stage: Stage) -> dict[str, object]:
    return {
        "postgres": {"host": HOST, "port": stage.postgres_port},
        "mcp_url": f"{stage.url}/mcp",
        "console_url": stage.url,
        "resources": list(RESOURCES),
        "tokens": stage.tokens,
        "upstream_dsn": stage.server.dsn(),
    }


def _short(path: Path) -> str:
    """A program's path for the shell, as seen from the current folder where it lies below it."""
    return shlex.quote(str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path))


def _write_atomically(path: Path, text: str) -> None:
    """Whoever waits for the file finds the whole of it; there are tokens in it, so nobody else reads it."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def _log_to(log: TextIO) -> None:
    """The gateway's log, and that of the libraries below it, in a file: standard output is the story's."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        logger_factory=structlog.WriteLoggerFactory(log),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=log, level=logging.WARNING, force=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
