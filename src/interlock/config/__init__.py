"""One YAML file → one frozen, typed `Config`.

Unknown keys, wrong types and contradictions raise `ConfigError`, which names file, line and remedy.
Relative paths belong to the folder of the file. Secrets are never in the file, only where to find them.

`model` holds the values with unit, default and limit of each; `load` reads and checks them; `kinds` has one
reader per kind of resource; `yaml_file` turns YAML into typed values with places.
"""

from interlock.config.kinds import KINDS
from interlock.config.load import is_loopback, load
from interlock.config.model import (
    ALGORITHMS,
    RESERVED,
    ApprovalConfig,
    Config,
    IssuerConfig,
    LimitsConfig,
    ListenerConfig,
    MaskingSettings,
    PrincipalConfig,
    TlsConfig,
)

__all__ = [
    "ALGORITHMS",
    "KINDS",
    "RESERVED",
    "ApprovalConfig",
    "Config",
    "IssuerConfig",
    "LimitsConfig",
    "ListenerConfig",
    "MaskingSettings",
    "PrincipalConfig",
    "TlsConfig",
    "is_loopback",
    "load",
]
