"""pgbench through the gateway in all its query modes: it runs through without an error, and the numbers add up."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.live.gateway import WAIT_S, Gateway

TABLES = "pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers"


@pytest.fixture(scope="module", autouse=True)
def bank(postgres: EmbeddedPostgres, gateway: Gateway) -> Iterator[None]:
    subprocess.run([postgres.pgbench, "-i", "-q", "-s", "1"], env=postgres.environment(), check=True, capture_output=True, timeout=60)
    gateway.learn()
    yield
    postgres.run(f"DROP TABLE {TABLES}")


def pgbench(gateway: Gateway, *arguments: str) -> str:
    command: list[str | Path] = [gateway.server.pgbench, "-n", "-c", "4", "-j", "2", "-t", "25", *arguments]
    done = subprocess.run(command, env=gateway.environment(), capture_output=True, text=True, timeout=2 * WAIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_transactions_in_every_mode(gateway: Gateway, mode: str) -> None:
    gateway.sql("TRUNCATE pgbench_history")
    out = pgbench(gateway, "-M", mode)
    assert "number of transactions actually processed: 100/100" in out and re.search(r"failed transactions: 0 ", out)
    assert gateway.sql("SELECT count(*) FROM pgbench_history") == "100"
    sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)"
    assert gateway.sql(sums) == "t"


@pytest.mark.parametrize("mode", ["extended", "prepared"])
def test_pipelines(gateway: Gateway, mode: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    script = tmp_path_factory.mktemp("pgbench") / "pipeline.sql"
    script.write_text(
        "\\set id random(1, 1000)\n\\startpipeline\nBEGIN;\nUPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;\n"
        "SELECT abalance FROM pgbench_accounts WHERE aid = :id;\nCOMMIT;\n\\endpipeline\n"
    )
    assert "actually processed: 100/100" in pgbench(gateway, "-M", mode, "-f", str(script))
