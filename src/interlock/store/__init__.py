"""Control state: what must outlive a restart and be the same for everybody (tokens, revocations, approvals,
tool pins). Embedded SQLite, one schema with migrations; `bus` pushes changes to whoever must know at once.

`Store.open(folder)` → `read()` / `write()` transactions on `tables`; `Bus(store)` → `listen`, `announce`, `pull`.
"""

from interlock.store.bus import Bus, Change, Topic
from interlock.store.store import Store

__all__ = ["Bus", "Change", "Store", "Topic"]
