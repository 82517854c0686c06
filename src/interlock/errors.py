"""Every expected failure, as one small tree.

```
InterlockError            a sentence for the person who meets it
├── ConfigError           the configuration is wrong: file, line, remedy
├── ProtocolError         a peer broke its protocol; `fault` says which side: client or upstream
├── IdentityError         the proof is not good (unknown, expired, revoked, wrong audience)
├── ResourceError         no such resource, or its credential cannot be read
├── PolicyError           a policy file does not load, or a rule erred
├── ApprovalError         a request cannot be answered so (unknown, own request, wrong group, over)
├── LimitError            a bound is reached
├── MaskingError          a mask cannot run: the reply is refused
├── EvidenceError         the journal or recording cannot be written: the session ends
├── VerificationError     a recording does not verify
├── UpstreamError         upstream cannot be reached, or refuses our login
└── StoreError            the control store failed
```

A station raises one of these, or fails in a way nobody expected; the gate turns both into a `Refusal`.
The text must hold no secret and no data of a row: it is shown to clients and written to logs.
"""

from __future__ import annotations

from typing import Literal


class InterlockError(Exception):
    """A failure with a sentence for the person who meets it, and perhaps what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(InterlockError):
    """The configuration is wrong. `place` is `file:line` where known; `hint` is the remedy."""

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.place = place


class ProtocolError(InterlockError):
    """A peer broke its protocol: the session ends, nothing of the message is forwarded."""

    def __init__(self, message: str, *, fault: Literal["client", "upstream"], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.fault = fault


class IdentityError(InterlockError):
    """The proof of identity is not good. `reason` says why, for the gateway's own log: whoever shows a
    proof learns only that it is not accepted."""

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ResourceError(InterlockError):
    """No such resource, or its credential cannot be read."""


class PolicyError(InterlockError):
    """A policy file does not load, or a rule erred while deciding."""


class ApprovalError(InterlockError):
    """An approval request cannot be answered in this way."""


class LimitError(InterlockError):
    """A bound is reached."""


class MaskingError(InterlockError):
    """A mask cannot run; the reply is refused."""


class EvidenceError(InterlockError):
    """The journal or the recording cannot be written; the session ends."""


class VerificationError(InterlockError):
    """A recording does not verify."""


class UpstreamError(InterlockError):
    """Upstream cannot be reached, or does not accept the gateway's login."""


class StoreError(InterlockError):
    """The control store failed."""
