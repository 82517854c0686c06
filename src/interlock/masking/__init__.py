"""What they may see: data classes, detectors, transforms, lenses.

Masked is the default, `reveal` the exception. `Masking.classes` says which data classes the columns of a
reply carry (`columns.py`: origin united with lineage, `unknown` where neither can tell); the gate asks policy
which of them this principal may reveal; `Masking.lens` makes the function that masks the rest (`lens.py`):
whole columns by class, and what `detectors.py` finds in all other cells (`scanner.py`), by `transforms.py`.
`Derived` remembers which columns hold values of others (`derived.py`). `Masking.scrub` does the same for a server's sentences (`scrub.py`).

A lens knows protocols only through `exchange.Shape`, and whatever goes wrong in it becomes a `MaskingError`:
then nothing of the reply leaves.
"""

from interlock.masking.columns import UNKNOWN
from interlock.masking.derived import Derived
from interlock.masking.masking import Masking
from interlock.masking.settings import MaskingConfig

__all__ = ["Derived", "Masking", "MaskingConfig", "UNKNOWN"]
