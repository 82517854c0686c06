"""Policy on disk: a `.cedar` file or a folder of them, read again when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from interlock.errors import PolicyError
from interlock.policy.engine import Policy
from interlock.policy.rules import MAX_SOURCE

POLL_S: Final = 0.5
MAX_FILES: Final = 200


class PolicyFile:
    """The policy at `path`. A change that does not load leaves `current` as it was; `error` says why.

    Raises `PolicyError` when the first load fails: there is nothing to fall back to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        self._sources = read_sources(path)
        self.current = Policy.load(self._sources)

    def reload(self) -> str:
        """Read the path again. Returns "" when all is well (changed or not), else why the old policy stays."""
        try:
            sources = read_sources(self.path)
            if sources != self._sources:
                self.current = Policy.load(sources)
                self._sources = sources
        except PolicyError as exc:
            self.error = f"{exc} ({exc.hint})" if exc.hint else str(exc)
            return self.error
        self.error = ""
        return ""

    async def watch(self, on_change: Callable[[str], None]) -> None:
        """Look at the path twice a second until cancelled, off the event loop. `on_change` is told "" for a
        new policy, or the reason why the old one stays; each once."""
        while True:
            await asyncio.sleep(POLL_S)
            version, error = self.current.version, self.error
            said = await asyncio.to_thread(self.reload)
            if said != error or self.current.version != version:
                on_change(said)


def read_sources(path: Path) -> dict[str, str]:
    """`file name → text` of one `.cedar` file, or of all `.cedar` files in a folder. Raises `PolicyError`."""
    try:
        found = sorted(path.glob("*.cedar")) if path.is_dir() else [path]
        if not found:
            raise PolicyError(f"{path} has no .cedar file", hint="write one; docs/policy.md begins with an example")
        if len(found) > MAX_FILES:
            raise PolicyError(f"{path} has more than {MAX_FILES} .cedar files", hint="merge some")
        return {file.name: _read(file) for file in found}
    except OSError as exc:
        raise PolicyError(f"{path} cannot be read: {exc.strerror}", hint="check the path and its permissions") from exc


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(4 * MAX_SOURCE + 1)
    if len(data) > 4 * MAX_SOURCE:
        raise PolicyError(f"{file.name} is larger than {4 * MAX_SOURCE} bytes", hint="split it into several files")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PolicyError(f"{file.name} is not UTF-8", hint="save it as UTF-8") from exc
