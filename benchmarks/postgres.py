"""pgbench select-only, direct and through a gateway of its own process, in interleaved rounds; a table and one line of JSON.

    make bench ARGS="--durability strict-request --clients 64"

`simple` makes every statement's text unique (the worst case for caches keyed by text), `prepared` parses once per
session. Rounds are interleaved (direct, gateway, direct, …) so that a busy moment of the machine meets both; the ratio is of
medians. All parts share the cores of one machine: what is printed compares, it does not size.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import PRINCIPAL, RESOURCE, gateway
from interlock.demo.database import DATABASE, EmbeddedPostgres

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
    """Medians over the rounds of one mode against one target: transactions per second, mean latency."""

    mode: str
    target: str
    tps: float
    latency_ms: float


def prepare(pgbench: Path, target: Target, scale: int = SCALE) -> None:
    """Make pgbench's own tables (100,000 accounts per scale unit). Needs a role that may create tables: go direct."""
    _pgbench(pgbench, target, ["--initialize", "--init-steps=dtGvp", f"--scale={scale}", "--quiet"])


def compare(
    pgbench: Path, targets: Mapping[str, Target], *, clients: int = CLIENTS, rounds: int = ROUNDS, round_s: int = ROUND_S
) -> list[Measure]:
    """Measure every mode against every target. Raises `RuntimeError` with pgbench's words when a transaction fails."""
    for target in targets.values():  # warm caches and the processor before anything counts
        _round(pgbench, target, MODES[0], clients, 1)
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for mode in MODES:
            for name, target in targets.items():
                seen.setdefault((mode, name), []).append(_round(pgbench, target, mode, clients, round_s))
    return [
        Measure(mode, name, statistics.median(tps for tps, _ in results), statistics.median(latency for _, latency in results))
        for (mode, name), results in seen.items()
    ]


def report(measures: list[Measure], baseline: str = "direct") -> str:
    """The table for people, and as its last line the same as JSON."""
    base = {measure.mode: measure.tps for measure in measures if measure.target == baseline}
    lines = [f"{'mode':<10}{'target':<10}{'tps':>10}{'latency ms':>12}{'ratio':>8}"]
    results = []
    for measure in measures:
        ratio = measure.tps / base[measure.mode]
        lines.append(f"{measure.mode:<10}{measure.target:<10}{measure.tps:>10,.0f}{measure.latency_ms:>12.3f}{ratio:>8.2f}")
        results.append({"mode": measure.mode, "target": measure.target, "tps": round(measure.tps), "ratio": round(ratio, 3)})
    return "\n".join([*lines, json.dumps({"benchmark": "pgbench -S", "results": results})])


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(description="pgbench select-only, direct and through a gateway started for it")
    options.add_argument("--durability", choices=("write-through", "strict-request", "strict"), default="write-through")
    options.add_argument("--clients", type=int, default=CLIENTS)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--seconds", type=int, default=ROUND_S, help="length of one round")
    options.add_argument("--scale", type=int, default=SCALE, help="pgbench scale: 100,000 accounts each")
    given = options.parse_args(arguments)
    with EmbeddedPostgres() as server:
        direct = Target(server.host, server.port, server.user, server.password, DATABASE)
        prepare(server.pgbench, direct, given.scale)
        with gateway(server, given.durability) as (port, token):
            targets = {"direct": direct, "gateway": Target("127.0.0.1", port, PRINCIPAL, token, RESOURCE)}
            print(f"{given.clients} clients, durability {given.durability}, parsing, policy, masking and recording on")
            print(report(compare(server.pgbench, targets, clients=given.clients, rounds=given.rounds, round_s=given.seconds)))


def _round(pgbench: Path, target: Target, mode: str, clients: int, round_s: int) -> tuple[float, float]:
    printed = _pgbench(
        pgbench, target, ["--select-only", "--no-vacuum", f"--protocol={mode}", f"--client={clients}", "--jobs=2", f"--time={round_s}"]
    )
    failed = re.search(r"number of failed transactions: (\d+)", printed)
    tps = re.search(r"^tps = ([\d.]+)", printed, re.MULTILINE)
    latency = re.search(r"^latency average = ([\d.]+) ms", printed, re.MULTILINE)
    if not tps or not latency or not failed or failed[1] != "0":
        raise RuntimeError(f"pgbench did not finish cleanly:\n{printed}")
    return float(tps[1]), float(latency[1])


def _pgbench(pgbench: Path, target: Target, options: list[str]) -> str:
    done = subprocess.run([pgbench, *options], env=target.environment(), capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"pgbench failed:\n{done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
