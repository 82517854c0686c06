"""The gateway's own secret, and the keys that are made of it.

It lies in the data folder and not in the store: who reads the store alone can forge nothing. The command line opens the same
secret to issue and revoke tokens where the gateway runs.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from interlock.errors import ConfigError

SECRET_BYTES: Final = 32


class GatewaySecret:
    """`<data>/keys/gateway.key`: 32 random bytes, readable by their owner only. Its `repr` hides them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "GatewaySecret(…)"

    @classmethod
    def load_or_create(cls, data: Path) -> GatewaySecret:
        """Read the secret of a data folder, or make it at the first use. Raises `ConfigError`."""
        path = data / "keys" / "gateway.key"
        try:
            if not path.exists():
                _create(path)
            secret = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"the gateway's key cannot be read or made: {error.strerror}", place=str(path), hint="run as the user who runs the gateway"
            ) from error
        if len(secret) != SECRET_BYTES:
            raise ConfigError("the gateway's key is damaged", place=str(path), hint="restore it from a backup")
        return cls(secret)

    def key(self, purpose: str) -> bytes:
        """A 32-byte key of this gateway for one purpose (HKDF-SHA256, RFC 5869)."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"interlock {purpose}".encode()).derive(self._secret)


def _create(path: Path) -> None:
    """Whole or not at all, and whoever comes second takes what the first one made. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
