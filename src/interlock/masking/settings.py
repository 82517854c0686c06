"""What an operator may choose about masking: a transform per data class, and which detectors run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.errors import ConfigError
from interlock.masking.detectors import DETECTORS
from interlock.masking.transforms import TRANSFORMS


@dataclass(frozen=True, slots=True)
class MaskingConfig:
    """`transforms`: data class → `redact`, `partial`, `hash` or `null`; `*` stands for every other class
    (default: `redact`). `detectors`: ids of the detectors that run; None means all, empty means none.

    Raises `ConfigError` for a transform or a detector that does not exist: a misspelt name must not
    silently weaken a mask.
    """

    transforms: Mapping[str, str] = field(default_factory=dict)
    detectors: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for data_class, transform in self.transforms.items():
            if transform not in TRANSFORMS:
                raise ConfigError(
                    f"masking: {transform!r} for {data_class!r} is no transform", hint=f"one of {', '.join(sorted(TRANSFORMS))}"
                )
        known = {detector.id for detector in DETECTORS}
        for identifier in self.detectors or ():
            if identifier not in known:
                raise ConfigError(f"masking: there is no detector {identifier!r}", hint=f"one of {', '.join(sorted(known))}")
