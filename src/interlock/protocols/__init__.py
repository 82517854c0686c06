"""Translation, pure: bytes ⇄ operations and replies. No I/O, no clock, no randomness, no gate.

A protocol is a folder. Its name occurs there, in the table `PROTOCOLS`, in `facts/sql/<dialect>.py`, and in the one
`net/` driver of a library that owns its socket; adding one is a folder, a mirrored test folder, a page of docs and
a line here. `stream.py` says what a protocol over its own byte stream must offer.
"""

from collections.abc import Mapping

from interlock.protocols import postgres
from interlock.protocols.stream import StreamProtocol

PROTOCOLS: Mapping[str, StreamProtocol] = {"postgres": postgres.PROTOCOL}

__all__ = ["PROTOCOLS", "StreamProtocol"]
