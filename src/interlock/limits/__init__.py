"""How much: sessions and rates per principal. `Limits` is the station; its numbers come from the configuration."""

from interlock.limits.limits import Limits

__all__ = ["Limits"]
