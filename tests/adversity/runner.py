"""A gateway in a process of its own, to be killed: `python -m tests.adversity.runner FILE` serves, and says where and with
which tokens as one line of JSON. A line on its standard input makes its disk full: no file may grow by more than so many bytes."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

import uvloop

from interlock.app import running
from interlock.config import load


async def main(file: Path) -> None:
    async with running(load(file)) as app:
        tokens = {name: (await app.identity.issue(name, ["postgres"]))[0] for name in ("alice", "bob")}
        print(json.dumps({"port": app.listeners["postgres"].port, "tokens": tokens}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            largest = max(path.stat().st_size for path in (app.config.data / "evidence" / "spool").iterdir())
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest + int(line), resource.RLIM_INFINITY))
            print("full", flush=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
