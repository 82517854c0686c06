"""The benchmark measures what it says; run here with the server itself standing on both sides."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from benchmarks.postgres import Measure, Target, compare, prepare, report
from interlock.demo.database import EmbeddedPostgres


def test_it_measures_every_mode_and_target() -> None:
    with EmbeddedPostgres() as server:
        target = Target(server.host, server.port, server.user, server.password, "shop")
        prepare(server.pgbench, target, scale=1)
        assert server.run("SELECT count(*) FROM pgbench_accounts;").strip() == "100000"
        measures = compare(server.pgbench, {"direct": target, "again": target}, clients=2, rounds=1, round_s=1)
        assert {(measure.mode, measure.target) for measure in measures} == {
            ("simple", "direct"), ("simple", "again"), ("prepared", "direct"), ("prepared", "again"),
        }  # fmt: skip
        assert all(measure.tps > 0 and measure.latency_ms > 0 for measure in measures)
        assert all(measure.cpu_us is None for measure in measures)
        counted = compare(server.pgbench, {"direct": replace(target, pid=os.getpid())}, clients=1, rounds=1, round_s=1)
        assert all(measure.cpu_us is not None and 0 <= measure.cpu_us < 1e6 for measure in counted)
        server.run("DROP TABLE pgbench_accounts;")
        with pytest.raises(RuntimeError, match="pgbench_accounts"):
            compare(server.pgbench, {"direct": target}, clients=1, rounds=1, round_s=1)


def test_the_report_ends_with_its_json() -> None:
    measures = [Measure("simple", "direct", 10_000, 0.8), Measure("simple", "gateway", 4_200, 1.9, 101.26, 1.5)]
    lines = report(measures).splitlines()
    assert lines[2].split() == ["simple", "gateway", "4,200", "1.900", "0.42", "101.3", "1.50"]
    assert json.loads(lines[-1])["results"][1] == {
        "mode": "simple",
        "target": "gateway",
        "tps": 4200,
        "ratio": 0.42,
        "cpu_us": 101.3,
        "spread": 1.5,
    }


def test_a_password_shows_in_no_repr() -> None:
    assert "hunter2" not in repr(Target("h", 1, "u", "hunter2", "d"))
