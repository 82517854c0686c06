"""The hot modules are there to be compiled, and who cannot compile is told why."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import subprocess
import sys

from tools.compile import HOT, ROOT, TARGET


def test_every_hot_module_is_there_once() -> None:
    assert len(set(HOT)) == len(HOT)
    assert [module for module in HOT if not (ROOT / "src" / "interlock" / f"{module}.py").is_file()] == []


def test_without_a_compiler_it_says_so() -> None:
    stamp = TARGET / ".made-of"
    script = "import tools.compile as c, pathlib, tempfile; c.TARGET = pathlib.Path(tempfile.mkdtemp()) / 'compiled'; c.main()"
    before = stamp.stat().st_mtime_ns if stamp.exists() else 0
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "CC": "no-such-compiler"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no C compiler: no-such-compiler is not on the PATH" in done.stderr and "Traceback" not in done.stderr
    assert before == (stamp.stat().st_mtime_ns if stamp.exists() else 0)


def test_the_form_under_test_is_the_form_that_was_asked_for() -> None:
    """`make test-compiled` must not pass by testing the sources, nor `make test` by testing what was compiled."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    compiled = str(TARGET.relative_to(ROOT)) in os.environ.get("PYTHONPATH", "")
    for module in HOT:
        file = str(importlib.import_module(f"interlock.{module.replace('/', '.')}").__file__)
        assert file.endswith(suffix if compiled else ".py")
        assert file.startswith(str(TARGET if compiled else ROOT / "src"))
