"""Who must agree: held operations wait for people, who approve exactly one digest, once.

`approvals` is the station; `quorum` the rules (who may answer, when all have agreed); `request` the values;
`records` their rows in the store.
"""

from interlock.approval.approvals import Approvals
from interlock.approval.quorum import missing
from interlock.approval.request import Answer, Request, State, Vote

__all__ = ["Answer", "Approvals", "Request", "State", "Vote", "missing"]
