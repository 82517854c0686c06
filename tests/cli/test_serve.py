"""`interlock serve` as a process: it comes up, stops when told, and says why when it cannot start."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path
from urllib.request import urlopen

from tests.cli.conftest import CONFIG, serving
from tests.cli.transcript import run


def test_it_serves_until_it_is_told_to_stop(house: Path) -> None:
    with serving(house) as (process, said):
        ready = next(line for line in map(json.loads, said) if line["event"] == "serving")
        assert ready["resources"] == ["orders-db", "tickets"]
        with urlopen(f"{ready['http']}/api/health", timeout=30) as answer:
            assert json.load(answer) == {"ok": True}
        token = run(["token", "issue", "bob", "--config", str(house / "interlock.yaml")]).out.strip()
        assert run(["sessions"], {"INTERLOCK_URL": ready["http"], "INTERLOCK_TOKEN": token}).code == 0

        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 0
        assert [json.loads(line)["event"] for line in said][-2:] == ["stopping", "stopped"]


def test_a_taken_port_is_a_sentence(house: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (house / "interlock.yaml").write_text(CONFIG.replace("postgres: {port: 0}", f"postgres: {{port: {port}}}"))
        with serving(house) as (process, _):
            _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert re.search(rf"error: cannot listen on 127\.0\.0\.1:{port}: Address already in use\nnext:  ", err)
    assert "Traceback" not in err


def test_a_second_gateway_on_one_folder_is_a_sentence(house: Path) -> None:
    with serving(house) as (_, said):
        assert any('"serving"' in line for line in said)
        with serving(house) as (second, _):
            _, err = second.communicate(timeout=60)

    assert second.returncode == 1
    assert "error: another gateway writes to" in err
