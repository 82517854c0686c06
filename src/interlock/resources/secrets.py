"""Secrets by reference: `env:NAME`, `file:/path`, and `plain:VALUE` for what is no secret.

A reference is resolved each time it is needed, so that a changed secret is used at the next connect. Errors
name the reference, never the value.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from interlock.errors import ResourceError

MAX_SECRET_BYTES: Final = 64 * 1024


def resolve(reference: str) -> str:
    """The value behind a reference. One line end at the end of a file is dropped. Blocking, but local.
    Raises `ResourceError` when it is absent, empty, over-long or not UTF-8 text."""
    scheme, _, rest = reference.partition(":")
    if scheme == "plain":
        return rest
    if scheme == "env":
        value = os.environ.get(rest, "")
    elif scheme == "file":
        value = _read(reference, Path(rest))
    else:
        raise ResourceError("a secret must be referred to as env:NAME or file:PATH")
    if not value:
        raise ResourceError(f"the secret {reference} is absent or empty", hint="set it where the gateway is started")
    return value


def _read(reference: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ResourceError(f"the secret {reference} cannot be read ({type(error).__name__})", hint="check path and permissions") from None
    if len(data) > MAX_SECRET_BYTES:
        raise ResourceError(f"the secret {reference} is longer than {MAX_SECRET_BYTES} bytes")
    return text.removesuffix("\n").removesuffix("\r")
