"""What is needed to kill a gateway, and to see afterwards what it knew."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from interlock.demo.database import EmbeddedPostgres
from interlock.evidence import Keys, Report, verify
from interlock.evidence.replay import Moment, replay
from interlock.evidence.seal import read_seal
from tests.live.gateway import CONFIG, POLICY, WAIT_S, write_password

ROOT = Path(__file__).parents[2]


class Process:
    """A gateway process on the files in `folder`; the same folder again is the same gateway, restarted."""

    def __init__(self, folder: Path, server: EmbeddedPostgres, durability: str = "strict-request", port: int = 0) -> None:
        self.data = folder / "data"
        (folder / "policy.cedar").write_text(POLICY)
        settings = {
            "client_tls": "",
            "plaintext": "true",
            "host": "127.0.0.1",
            "upstream_tls": "disable",
            "connections": 1000,
            "listen": 0,
            "sessions": 50,
            "door": "",
            "http_tls": "",
        }
        (folder / "interlock.yaml").write_text(CONFIG.format(port=port or server.port, durability=durability, **settings))
        write_password(folder, server.password)
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        command = [sys.executable, "-m", "tests.adversity.runner", str(folder / "interlock.yaml")]
        self.log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1
        )
        said = json.loads(self._line())
        self.port: int = said["port"]
        self.tokens: dict[str, str] = said["tokens"]

    def _line(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        assert ready, "the gateway says nothing"
        return self.process.stdout.readline()

    def connect(self, principal: str = "alice") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=principal,
            password=self.tokens[principal],
            dbname="orders-db",
            autocommit=True,
            connect_timeout=int(WAIT_S),
        )

    def fill_disk(self, left: int) -> None:
        """From now on no file grows by more than `left` bytes over the spool's size."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{left}\n")
        assert self._line() == "full\n"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._end()

    def stop(self) -> None:
        """It stops by itself when its input ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._end()

    def _end(self) -> None:
        self.process.wait(WAIT_S)
        assert self.process.stdout is not None and self.process.stdin is not None
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.log.close()


class Found:
    """The evidence of a gateway that is not running."""

    def __init__(self, data: Path) -> None:
        self._evidence = data / "evidence"
        self._keys = Keys.load_or_create(data / "keys")

    def sessions(self) -> dict[str, str]:
        """State by session, of people's sessions and the gateway's own."""
        found: dict[str, str] = {}
        for place in (self._evidence / "sessions").iterdir():
            seal = read_seal(place)
            found[place.name] = "unsealed" if seal is None else seal.state
        return found

    def moments(self) -> Iterator[tuple[str, Moment]]:
        for session in self.sessions():
            for moment in replay(self._evidence / "sessions" / session, session, self._keys.secret(session), [], {}, -1):
                yield session, moment

    def verified(self) -> Report:
        return verify(self._evidence, (self._evidence / "public.key").read_text())
