"""The operator's keys, and one secret per session.

```
keys/                 0700
  wrap.key            wraps the session secrets (32 bytes)
  journal.key         keys the digests in the journal (32 bytes)
  signing.key         signs seals and checkpoints (Ed25519, 32 bytes)
  sessions/<id>.key   one wrapped session secret: delete it, and the recording can never be read again
```

A session's secret is 32 random bytes. From it come, by HKDF-SHA256, a key for each spool file and each segment, so that
no nonce is ever used twice, and, by keyed BLAKE2s, the salt of each event's leaf.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from hashlib import blake2s, sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from interlock.errors import EvidenceError

from .disk import replace, sync_folder
from .note import Signer

SECRET_BYTES = 32
_NONCE_BYTES = 12
_WRAP_VERSION = b"\x01"
_LOST_KEY = "restore the file, or remove it to give up that recording: the journal stays readable"
_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_id(session_id: str) -> str:
    """Session ids name files and folders: letters, digits, `_`, `-`, at most 64. Raises `EvidenceError`."""
    if not _SESSION_ID.fullmatch(session_id):
        raise EvidenceError("a session id has 1 to 64 letters, digits, dashes or underscores")
    return session_id


def subkey(secret: bytes, purpose: str, salt: bytes) -> AESGCM:
    """An AES-256-GCM key of its own for one purpose and salt (RFC 5869)."""
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=f"interlock {purpose}".encode()).derive(secret))


def event_salt(secret: bytes, seq: int) -> bytes:
    """The 16 bytes that keep an event's leaf hash from being guessed, and open it when disclosed."""
    return blake2s(seq.to_bytes(8, "big"), key=secret, digest_size=16).digest()


class Keys:
    """The keys of one gateway. Its `repr` hides them."""

    def __init__(self, folder: Path, *, wrap: bytes, journal: bytes, signing: bytes) -> None:
        self._folder = folder / "sessions"
        self._wrap = AESGCM(wrap)
        self._journal = journal
        public = Signer("", signing).verifier.public
        self.signer = Signer(f"interlock-{sha256(public).hexdigest()[:8]}", signing)

    def __repr__(self) -> str:
        return f"Keys({self.signer.verifier.name!r})"

    @classmethod
    def load_or_create(cls, folder: Path) -> Keys:
        """Read the keys of `folder` (`<data>/keys`), or make them on first start. Raises `EvidenceError`."""
        try:
            for each in (folder, folder / "sessions"):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
                each.chmod(0o700)
            wrap, journal, signing = (_load_or_create(folder / f"{name}.key") for name in ("wrap", "journal", "signing"))
        except OSError as error:
            raise EvidenceError(f"the keys in {folder} cannot be read or made: {error.strerror}") from error
        return cls(folder, wrap=wrap, journal=journal, signing=signing)

    def digest(self, content: bytes) -> str:
        """The keyed digest (HMAC-SHA256, 64 hex digits) by which the journal names content without showing it."""
        return hmac.digest(self._journal, content, "sha256").hex()

    def create_secret(self, session_id: str) -> tuple[bytes, Path]:
        """A new session secret, and the file that holds it wrapped (written, not yet synced). Raises `OSError`."""
        secret, nonce = secrets.token_bytes(SECRET_BYTES), secrets.token_bytes(_NONCE_BYTES)
        path = self._path(session_id)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, _WRAP_VERSION + nonce + self._wrap.encrypt(nonce, secret, session_id.encode()))
        finally:
            os.close(fd)
        return secret, path

    def secret(self, session_id: str) -> bytes | None:
        """A session's secret, or None when it was shredded. Raises `EvidenceError` when it does not unwrap."""
        try:
            blob = self._path(session_id).read_bytes()
        except FileNotFoundError:
            return None
        try:
            if blob[:1] != _WRAP_VERSION:
                raise InvalidTag
            return self._wrap.decrypt(blob[1 : 1 + _NONCE_BYTES], blob[1 + _NONCE_BYTES :], session_id.encode())
        except (InvalidTag, ValueError):
            raise EvidenceError(f"the wrapped key of session {session_id} is damaged, or wrapped by another key", hint=_LOST_KEY) from None

    def shred(self, session_id: str) -> bool:
        """Destroy a session's secret, durably. False when there was none. Raises `OSError`."""
        try:
            self._path(session_id).unlink()
        except FileNotFoundError:
            return False
        sync_folder(self._folder)
        return True

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{check_id(session_id)}.key"


def _load_or_create(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(32)
        replace(path, key, mode=0o600)
    if len(key) != 32:
        raise EvidenceError(f"{path} is not a key: it must have 32 bytes")
    return key
