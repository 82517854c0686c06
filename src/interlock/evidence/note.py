"""C2SP signed notes with Ed25519 (https://c2sp.org/signed-note) and checkpoints (https://c2sp.org/tlog-checkpoint).

A note is text that ends in a newline, an empty line, and signature lines `— name base64(key hash || signature)`.
A verifier key is `name+hash+base64(0x01 || public key)`. One meaning has one spelling: what does not write back
to the same bytes is refused, so no byte of a note can be changed unseen.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from interlock.errors import VerificationError

_ED25519 = b"\x01"


def _key_hash(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def strict_base64(text: str) -> bytes:
    """Decode standard base64 with padding, canonical spelling only. Raises `ValueError`."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if base64.b64encode(data).decode() != text:
        raise ValueError("not the canonical spelling")
    return data


@dataclass(frozen=True, slots=True)
class Verifier:
    """A name and an Ed25519 public key (32 bytes): all that is needed to check what the gateway signed."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read a verifier key. Raises `VerificationError`."""
        try:
            name, digest, encoded = vkey.strip().split("+", 2)
            key = strict_base64(encoded)
        except ValueError:
            raise VerificationError("this is not a verifier key (name+hash+base64)") from None
        if key[:1] != _ED25519 or len(key) != 33 or _key_hash(name, key[1:]).hex() != digest:
            raise VerificationError("the verifier key is damaged, or not an Ed25519 key")
        return cls(name, key[1:])

    def __str__(self) -> str:
        return f"{self.name}+{_key_hash(self.name, self.public).hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def check(self, text: str, signature_line: str) -> None:
        """Check one signature line (with its newline) over a note's text. Raises `VerificationError`."""
        prefix = f"— {self.name} "
        if not signature_line.startswith(prefix) or not signature_line.endswith("\n"):
            raise VerificationError(f"there is no signature by {self.name}")
        try:
            blob = strict_base64(signature_line[len(prefix) : -1])
        except ValueError:
            raise VerificationError("the signature is not valid base64") from None
        if blob[:4] != _key_hash(self.name, self.public) or len(blob) != 68:
            raise VerificationError("the signature was made with another key")
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(blob[4:], text.encode())
        except InvalidSignature:
            raise VerificationError("the signature does not match the text") from None

    def open(self, note: str) -> str:
        """The text of a note that carries exactly our signature. Raises `VerificationError`."""
        text, gap, line = note.rpartition("\n\n")
        if not gap:
            raise VerificationError("this is not a signed note")
        self.check(text + "\n", line)
        return text + "\n"


class Signer:
    """The gateway's signing key. Its `repr` shows the name only."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, private: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Signer({self.verifier.name!r})"

    def signature_line(self, text: str) -> str:
        """The signature line, with its newline, over a note's text (which must end in a newline)."""
        blob = _key_hash(self.verifier.name, self.verifier.public) + self._key.sign(text.encode())
        return f"— {self.verifier.name} {base64.b64encode(blob).decode()}\n"

    def note(self, text: str) -> str:
        return f"{text}\n{self.signature_line(text)}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The signed head of a log: its origin, how many leaves, and the root over them (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a checkpoint's text. Raises `VerificationError`."""
        try:
            origin, size, root, end = text.split("\n")
            checkpoint = cls(origin, int(size), strict_base64(root))
        except ValueError:
            raise VerificationError("the checkpoint cannot be read") from None
        if end or checkpoint.text() != text or len(checkpoint.root) != 32:
            raise VerificationError("the checkpoint cannot be read")
        return checkpoint
