"""What may be reached: the registered resources, and the credentials that only the gateway holds.

`registry` finds resources and their credentials; `secrets` resolves references such as `env:NAME`.
"""

from interlock.resources.registry import OWN, Registry
from interlock.resources.secrets import resolve

__all__ = ["OWN", "Registry", "resolve"]
