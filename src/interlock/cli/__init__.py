"""The command line. One file per command group; what they share stands first.

| module     | commands                                     | needs                                              |
|------------|----------------------------------------------|----------------------------------------------------|
| `serve`    | `serve`                                      | configuration; starts the gateway (`app.py`)       |
| `check`    | `check`                                      | configuration and policy, no gateway               |
| `token`    | `token issue`, `token list`, `token revoke`  | the data folder: the operator of the machine       |
| `policy`   | `policy check`, `policy explain`             | policy; a gateway for the live catalog, if there is one |
| `connect`  | `connect`                                    | a token                                            |
| `approve`  | `approve`                                    | the console's API                                  |
| `sessions` | `sessions`, `replay`, `kill`                 | the console's API, or (but `kill`) the data folder |
| `verify`   | `verify`                                     | a folder and a public key, nothing else            |
| `demo`     | `demo`                                       | the demo extra                                     |

`show` prints (tables and colours in a terminal, plain text in a pipe, JSON on request), `options` holds what several
commands take, `gateway` talks to a running gateway, `offline` reads what lies on the disk, `failures` says which
failure has which exit code. Modules of commands are imported when their command runs: `--help` is quick.

Secrets come from the environment or from files, never from arguments, and are never printed, except a new token, once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from interlock.cli.failures import exit_code
from interlock.errors import InterlockError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Expected failures are a sentence on standard error, never a traceback."""
    from interlock.cli.commands import app
    from interlock.cli.show import complain

    try:
        app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="interlock")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except InterlockError as error:
        complain(error)
        return exit_code(error)
    return 0


__all__ = ["main"]
