"""pgbench select-only, direct and through proxies of their own processes, in interleaved rounds; a table and one line of JSON.

    make bench ARGS="--compiled --durability strict-request --clients 64"

`simple` makes every statement's text unique (the worst case for caches keyed by text), `prepared` parses once per
session. Rounds are interleaved (direct, gateway, direct, …) so that a busy moment of the machine meets both; the ratio is of
medians. All parts share the cores of one machine: what is printed compares, it does not size. The least disturbed column is
CPU µs per query of the proxy's own process (user and kernel, from /proc; Linux only). pgbouncer takes part when it is installed.
`spread` is the fastest round over the slowest: where it is far from 1 the machine was busy, and tps and ratio say little.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gateway import PRINCIPAL, RESOURCE, gateway
from benchmarks.pgbouncer import pgbouncer
from interlock.demo.database import DATABASE, EmbeddedPostgres
from tools.compile import TARGET, compile_package

MODES = ("simple", "prepared")
CLIENTS = 8
SCALE = 10
ROUNDS = 4
ROUND_S = 3


@dataclass(frozen=True, repr=False)
class Target:
    """Where pgbench connects; its password travels in the environment only."""

    host: str
    port: int
    user: str
    password: str
    database: str
    pid: int | None = None
    """The process whose CPU time counts; None where it is not one process."""

    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return ours | {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
        }


@dataclass(frozen=True)
class Measure:
    """Medians over the rounds of one mode against one target: transactions per second, mean latency, CPU time of the
    target's process per transaction in µs (None where it is not known); and `spread`, the fastest round over the slowest."""

    mode: str
    target: str
    tps: float
    latency_ms: float
    cpu_us: float | None = None
    spread: float = 1.0


@dataclass(frozen=True)
class Round:
    """What one run of pgbench found."""

    tps: float
    latency_ms: float
    cpu_us: float | None


def prepare(pgbench: Path, target: Target, scale: int = SCALE) -> None:
    """Make pgbench's own tables (100,000 accounts per scale unit). Needs a role that may create tables: go direct."""
    _pgbench(pgbench, target, ["--initialize", "--init-steps=dtGvp", f"--scale={scale}", "--quiet"])


def compare(
    pgbench: Path, targets: Mapping[str, Target], *, clients: int = CLIENTS, rounds: int = ROUNDS, round_s: int = ROUND_S
) -> list[Measure]:
    """Measure every mode against every target. Raises `RuntimeError` with pgbench's words when a transaction fails."""
    for target in targets.values():  # warm caches and the processor before anything counts
        _round(pgbench, target, MODES[0], clients, 1)
    seen: dict[tuple[str, str], list[Round]] = {}
    for _ in range(rounds):
        for mode in MODES:
            for name, target in targets.items():
                seen.setdefault((mode, name), []).append(_round(pgbench, target, mode, clients, round_s))
    return [_median(mode, name, results) for (mode, name), results in seen.items()]


def _median(mode: str, target: str, results: list[Round]) -> Measure:
    cpu = [each.cpu_us for each in results if each.cpu_us is not None]
    return Measure(
        mode,
        target,
        statistics.median(each.tps for each in results),
        statistics.median(each.latency_ms for each in results),
        statistics.median(cpu) if cpu else None,
        max(each.tps for each in results) / min(each.tps for each in results),
    )


def report(measures: list[Measure], baseline: str = "direct") -> str:
    """The table for people, and as its last line the same as JSON."""
    base = {measure.mode: measure.tps for measure in measures if measure.target == baseline}
    lines = [f"{'mode':<10}{'target':<12}{'tps':>10}{'latency ms':>12}{'ratio':>8}{'CPU µs':>9}{'spread':>8}"]
    results = []
    for measure in measures:
        ratio = measure.tps / base[measure.mode]
        cpu = None if measure.cpu_us is None else round(measure.cpu_us, 1)
        figures = f"{measure.tps:>10,.0f}{measure.latency_ms:>12.3f}{ratio:>8.2f}{'–' if cpu is None else cpu:>9}{measure.spread:>8.2f}"
        lines.append(f"{measure.mode:<10}{measure.target:<12}{figures}")
        results.append(
            {
                "mode": measure.mode,
                "target": measure.target,
                "tps": round(measure.tps),
                "ratio": round(ratio, 3),
                "cpu_us": cpu,
                "spread": round(measure.spread, 2),
            }
        )
    load = [round(each, 1) for each in os.getloadavg()]
    return "\n".join([*lines, json.dumps({"benchmark": "pgbench -S", "load": load, "cores": os.cpu_count(), "results": results})])


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(description="pgbench select-only, direct and through a gateway started for it")
    options.add_argument("--durability", choices=("write-through", "strict-request", "strict"), default="write-through")
    options.add_argument("--clients", type=int, default=CLIENTS)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--seconds", type=int, default=ROUND_S, help="length of one round")
    options.add_argument("--scale", type=int, default=SCALE, help="pgbench scale: 100,000 accounts each")
    options.add_argument("--compiled", action="store_true", help="beside the sources, the package that `make compile` made")
    given = options.parse_args(arguments)
    packages: dict[str, Path | None] = {"gateway": None}
    if given.compiled:
        compile_package()
        packages["compiled"] = TARGET
    with EmbeddedPostgres() as server:
        direct = Target(server.host, server.port, server.user, server.password, DATABASE)
        prepare(server.pgbench, direct, given.scale)
        with contextlib.ExitStack() as running:
            targets = {"direct": direct}
            if (bouncer := running.enter_context(pgbouncer(server))) is None:
                print("pgbouncer is not installed: it is left out")
            else:
                targets["pgbouncer"] = replace(direct, port=bouncer[0], pid=bouncer[1])
            for name, package in packages.items():
                port, token, pid = running.enter_context(gateway(server, given.durability, package))
                targets[name] = Target("127.0.0.1", port, PRINCIPAL, token, RESOURCE, pid)
            print(f"{given.clients} clients, durability {given.durability}, parsing, policy, masking and recording on")
            print(report(compare(server.pgbench, targets, clients=given.clients, rounds=given.rounds, round_s=given.seconds)))


def _round(pgbench: Path, target: Target, mode: str, clients: int, round_s: int) -> Round:
    before = _cpu_s(target.pid)
    printed = _pgbench(
        pgbench, target, ["--select-only", "--no-vacuum", f"--protocol={mode}", f"--client={clients}", "--jobs=2", f"--time={round_s}"]
    )
    after = _cpu_s(target.pid)
    failed = re.search(r"number of failed transactions: (\d+)", printed)
    tps = re.search(r"^tps = ([\d.]+)", printed, re.MULTILINE)
    latency = re.search(r"^latency average = ([\d.]+) ms", printed, re.MULTILINE)
    done = re.search(r"number of transactions actually processed: (\d+)", printed)
    if not tps or not latency or not done or not failed or failed[1] != "0":
        raise RuntimeError(f"pgbench did not finish cleanly:\n{printed}")
    cpu_us = None if before is None or after is None else (after - before) * 1e6 / max(1, int(done[1]))
    return Round(float(tps[1]), float(latency[1]), cpu_us)


def _cpu_s(pid: int | None) -> float | None:
    """User and kernel seconds that a process has used (proc(5), fields 14 and 15 of `stat`)."""
    if pid is None:
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pgbench(pgbench: Path, target: Target, options: list[str]) -> str:
    done = subprocess.run([pgbench, *options], env=target.environment(), capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"pgbench failed:\n{done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
