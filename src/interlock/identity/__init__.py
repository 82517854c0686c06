"""Who is asking: a proof (gateway token or JWT of a configured issuer) becomes a `Principal`, which is then
trusted only while its standing is good.

`identity` is the station; `tokens` the gateway's own tokens; `scram` connection secrets, which are proved and never
sent; `certificates` TLS clients; `issuers` the JWTs; `directory` the principals that the configuration names.
"""

from interlock.identity.directory import Directory
from interlock.identity.identity import Identity
from interlock.identity.proof import Proof
from interlock.identity.scram import ScramLogin
from interlock.identity.tokens import AUDIENCES, SCRAM_AUDIENCES, TokenInfo

__all__ = ["AUDIENCES", "SCRAM_AUDIENCES", "Directory", "Identity", "Proof", "ScramLogin", "TokenInfo"]
