"""Which failure ends the command with which exit code.

```
0  done                     3  the gateway cannot be reached
1  failed, or refused       4  evidence does not verify
2  usage, configuration     5  waits for approval: do the same again once it is approved
```
"""

from __future__ import annotations

from typing import Final

from interlock.errors import ConfigError, InterlockError, PolicyError, VerificationError

FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
UNVERIFIED: Final = 4
WAITING: Final = 5


class Unreachable(InterlockError):
    """The gateway does not answer."""


class Refused(InterlockError):
    """The gateway answered no. `code` is its own word for it (`denied`, `unknown`, …)."""

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Waiting(InterlockError):
    """What was asked waits for people."""


def exit_code(error: InterlockError) -> int:
    match error:
        case Unreachable():
            return UNREACHABLE
        case VerificationError():
            return UNVERIFIED
        case ConfigError() | PolicyError():
            return USAGE
        case Waiting():
            return WAITING
        case _:
            return FAILED
