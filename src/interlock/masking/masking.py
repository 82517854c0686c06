"""The station: what a principal may see of a reply. The gate asks `classes`, then policy, then `lens`."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.errors import ConfigError, MaskingError
from interlock.exchange import Column, Lens, Resource, Shape
from interlock.masking.columns import ColumnClasses
from interlock.masking.detectors import DETECTORS
from interlock.masking.lens import CELL_CHARS_MAX, ColumnLens, Hidden
from interlock.masking.rewrite import mask_texts
from interlock.masking.scanner import Scanner
from interlock.masking.scrub import MASKED, scrub_values
from interlock.masking.settings import MaskingConfig
from interlock.masking.transforms import Transforms

_KEY_BYTES_MIN = 16
_CACHE_MAX = 256


class Masking:
    """Masks whatever a principal may not see raw. `key` (at least 16 bytes) keys the `hash` transform; it
    is the operator's and never shows. Raises `ConfigError` for a shorter one."""

    __slots__ = ("_transforms", "_detectors", "_detected", "_classes", "_scanners")

    def __init__(self, config: MaskingConfig, key: bytes) -> None:
        if len(key) < _KEY_BYTES_MIN:
            raise ConfigError("masking: the key is too short", hint=f"at least {_KEY_BYTES_MIN} random bytes")
        self._transforms = Transforms(config.transforms, key)
        self._detectors = tuple(d for d in DETECTORS if config.detectors is None or d.id in config.detectors)
        self._detected = frozenset(detector.data_class for detector in self._detectors)
        self._classes: dict[str, tuple[Mapping[str, str], ColumnClasses]] = {}
        self._scanners: dict[frozenset[str], Scanner] = {}

    def classes(self, shape: Shape, resource: Resource) -> tuple[frozenset[str], ...]:
        """Per column of the reply, the data classes it carries; `unknown` for what cannot be traced."""
        known = self._column_classes(resource)
        return tuple(known.of(column) for column in shape.columns)

    def detected(self, resource: Resource) -> frozenset[str]:
        """The classes that detectors may find in any text of the resource."""
        return self._detected

    def lens(self, shape: Shape, resource: Resource, revealed: frozenset[str]) -> Lens | None:
        """The lens for a reply; None if there is nothing to mask and nothing to scan."""
        known = self._column_classes(resource)
        hidden = [
            Hidden(index, tuple(sorted(classes)), _direct(known, column, classes))
            for index, column in enumerate(shape.columns)
            if (classes := known.of(column) - revealed)
        ]
        scanner = self._scanner(revealed)
        if not hidden and (scanner is None or not shape.columns):
            return None
        return ColumnLens(shape, hidden, scanner, self._transforms)

    def scrub(self, text: str, resource: Resource, revealed: frozenset[str], known: str = "") -> str:
        """Free text of upstream (errors, notices) as the principal may see it. `known`: the statement that
        caused it; quoted text which the client itself sent stays readable. Raises `MaskingError`."""
        try:
            return self._scrub(text, resource, revealed, known)
        except Exception:  # noqa: S110  # told below
            pass
        # Raised out here, without cause and context: they may quote a value, and end up in logs.
        raise MaskingError("a mask could not run on a message, so it is not shown")

    def _scrub(self, text: str, resource: Resource, revealed: frozenset[str], known: str) -> str:
        columns = {name.rpartition(".")[2].casefold() for name, data_class in resource.classes.items() if data_class not in revealed}
        scanner = self._scanner(revealed)
        if len(text) > CELL_CHARS_MAX:
            return MASKED if columns or scanner else text
        if columns:
            text = scrub_values(text, columns, known)
        if scanner is None:
            return text
        masked = mask_texts((text,), ("",), scanner, self._transforms)[0].get(0, text)
        return MASKED if masked is None else masked

    def _column_classes(self, resource: Resource) -> ColumnClasses:
        held = self._classes.get(resource.name)
        if held is None or held[0] is not resource.classes:
            if len(self._classes) >= _CACHE_MAX:
                self._classes.clear()
            held = self._classes[resource.name] = (resource.classes, ColumnClasses(resource.classes))
        return held[1]

    def _scanner(self, revealed: frozenset[str]) -> Scanner | None:
        hidden = self._detected - revealed
        if not hidden:
            return None
        scanner = self._scanners.get(hidden)
        if scanner is None:
            if len(self._scanners) >= _CACHE_MAX:
                self._scanners.clear()
            scanner = self._scanners[hidden] = Scanner([d for d in self._detectors if d.data_class in hidden])
        return scanner


def _direct(known: ColumnClasses, column: Column, classes: frozenset[str]) -> bool:
    """True if upstream reports the very column that has the classes, so that the cell is its plain value."""
    return column.origin is not None and classes <= known.named(column.origin)
