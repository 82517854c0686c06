"""`make transparency`: third-party suites, direct and through a gateway that permits everything; prints what differs.

    make transparency ARGS="asyncpg node-pg"

A test that comes to something else through the gateway must be in `reviewed.yaml`, with the reason; else the run
fails. The last line is one line of JSON with the figures.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from tests.transparency.suites import SUITES, Both, Ground, default_cache, missing

SHOWN = 300
"""How much of an outcome is printed, in characters."""


@dataclass
class Verdict:
    """One suite: how many tests passed, which differ, and for which of these there is a reason."""

    suite: str
    tests: int = 0
    direct: int = 0
    through: int = 0
    reviewed: dict[str, str] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""


def judge(suite: str, both: Both, reasons: Mapping[str, str]) -> Verdict:
    """A test passes direct if its outcome is not `failed`; through, if it is also the same outcome. What fails direct
    and passes through is no loss of transparency (a test of timing, mostly)."""
    direct, through = both
    verdict = Verdict(suite, tests=len(direct))
    for name, outcome in direct.items():
        passes = outcome != "failed"
        verdict.direct += passes
        verdict.through += passes and through.get(name) == outcome
        if passes and through.get(name) != outcome:
            reason = next((why for pattern, why in reasons.items() if name == pattern or _matches(name, pattern)), "")
            if reason:
                verdict.reviewed[name] = reason
            else:
                verdict.unexplained.append(name)
    return verdict


def _matches(name: str, pattern: str) -> bool:
    return pattern.startswith("*") and fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def show(verdict: Verdict, both: Both) -> None:
    print(f"{verdict.suite:<20}{verdict.tests:>8}{verdict.direct:>8}{verdict.through:>9}{verdict.seconds:>8.0f} s", flush=True)
    for name, reason in verdict.reviewed.items():
        print(f"    reviewed: {name}: {reason}")
    for name in verdict.unexplained:
        print(f"    DIFFERS:  {name}\n      direct:  {both[0][name][:SHOWN]}\n      through: {both[1].get(name, 'did not run')[:SHOWN]}")
    if verdict.error:
        print(f"    NOT RUN:  {verdict.error}")


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(description="third-party suites, direct and through the gateway")
    options.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)} (default: all)")
    options.add_argument("--cache", type=Path, default=default_cache(), help="where downloads are kept")
    options.add_argument("--output", type=Path, help="where logs and results are kept (default: in the cache)")
    given = options.parse_args(arguments)
    if unknown := set(given.suites) - SUITES.keys():
        options.error(f"no such suite: {', '.join(sorted(unknown))}")
    if absent := missing():
        options.error(f"install first: apt-get install {' '.join(absent)}")
    given.cache.mkdir(parents=True, exist_ok=True)
    ground = Ground(given.cache, given.output or given.cache / "results")
    reasons = yaml.safe_load((Path(__file__).parent / "reviewed.yaml").read_text())
    print(f"{'suite':<20}{'tests':>8}{'direct':>8}{'through':>9}{'time':>10}")
    verdicts = []
    for name in given.suites or SUITES:
        began = time.monotonic()
        both: Both = ({}, {})
        try:
            both = SUITES[name](ground)
            verdict = judge(name, both, reasons.get(name) or {})
        except Exception as error:
            verdict = Verdict(name, error=f"{type(error).__name__}: {error}"[-SHOWN:])
        verdict.seconds = round(time.monotonic() - began, 1)
        verdicts.append(verdict)
        show(verdict, both)
    print(json.dumps({"transparency": [asdict(verdict) for verdict in verdicts]}))
    return 1 if any(verdict.unexplained or verdict.error for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
