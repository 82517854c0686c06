"""Third-party suites that pytest runs: one process, its results read from the JUnit file."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

RUN_S = 1800


def run(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str], output: Path, python: str = sys.executable
) -> dict[str, bool]:
    """Run pytest in the folder. Test id → passed; skipped tests are left out. `output` gets the report and what was printed.

    Raises `RuntimeError` when there is no report: then not even the collection went well.
    """
    report = output / "report.xml"
    report.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_family=xunit1", *arguments]
    with (output / "printed").open("wb") as printed:
        try:
            subprocess.run(command, cwd=folder, env=dict(environment), stdout=printed, stderr=printed, timeout=RUN_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done after {RUN_S} s, see {output / 'printed'}") from None
    if not report.exists():
        raise RuntimeError(f"no report:\n{(output / 'printed').read_text(errors='replace')[-2000:]}")
    found: dict[str, bool] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}"
        states = {child.tag for child in case}
        if "skipped" not in states:
            found[name] = found.get(name, True) and not states & {"failure", "error"}
    return found
