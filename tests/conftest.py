"""What holds for every test: a quiet environment, and hypothesis without a stopwatch (two cores are shared)."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("interlock", deadline=None, max_examples=100)
settings.load_profile("interlock")

# libpq and psql read these before anything that a test tells them.
for name in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[name]
