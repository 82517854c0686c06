"""Who is asking: a proof (gateway token or JWT of a configured issuer) becomes a `Principal`, which is then
trusted only while its standing is good.

`identity` is the station; `tokens` the gateway's own tokens; `issuers` the JWTs; `directory` the principals
that the configuration names.
"""

from interlock.identity.directory import Directory
from interlock.identity.identity import Identity, Proof
from interlock.identity.tokens import AUDIENCES, TokenInfo

__all__ = ["AUDIENCES", "Directory", "Identity", "Proof", "TokenInfo"]
