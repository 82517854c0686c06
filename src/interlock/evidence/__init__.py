"""What happened: journal, recording, seals and the transparency log.

```
<evidence>/
  public.key                 the verifier key (C2SP signed-note vkey): all that an auditor needs
  spool/000001.spool         what was just written, all sessions; gone once archived
  sessions/<id>/             journal.msgpack (clear, hash-chained), 000000.seg … (sealed), seal.json, seal.sig
  log/leaves.jsonl           one leaf per line; log/checkpoint: its signed Merkle root
```

`Evidence` records and replays, `Keys` holds the operator's keys, `verify` checks offline with the public key alone;
`export` copies one session, with the proof that it is in the log, for somebody outside.
"""

from .bundle import export
from .event import Direction
from .index import SessionSummary
from .keys import Keys
from .note import Verifier
from .recorder import Evidence
from .replay import Moment, Renderer
from .report import Claim, Report
from .seal import Seal
from .verify import verify

__all__ = [
    "Evidence",
    "Keys",
    "Direction",
    "Moment",
    "Renderer",
    "SessionSummary",
    "Seal",
    "verify",
    "Report",
    "Claim",
    "Verifier",
    "export",
]
