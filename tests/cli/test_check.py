"""`interlock check`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import CONFIG
from tests.cli.transcript import play, run


def test_the_transcript(house: Path) -> None:
    play("check", house)


def test_a_mistake_is_named_with_file_line_and_remedy(house: Path) -> None:
    (house / "interlock.yaml").write_text(CONFIG.replace("host: 127.0.0.1\n    port: 1", "host: 127.0.0.1\n    port: none"))

    said = run(["check", "--config", str(house / "interlock.yaml")])

    assert said.code == 2
    assert f"{house}/interlock.yaml:15: " in said.err
    assert "next:  " in said.err


def test_a_mistake_in_the_policy_is_one_too(house: Path) -> None:
    (house / "policy" / "wrong.cedar").write_text('\n@id("x") permit (principal, action == Action::"fly", resource);\n')

    said = run(["check", "--config", str(house / "interlock.yaml")])

    assert said.code == 2
    assert "wrong.cedar:2" in said.err


def test_tls_files_must_fit(house: Path) -> None:
    (house / "cert.pem").write_text("no certificate")
    (house / "interlock.yaml").write_text(
        CONFIG.replace("postgres: {port: 0}", "postgres: {port: 0, tls: {certificate: cert.pem, key: cert.pem}}")
    )

    said = run(["check", "--config", str(house / "interlock.yaml")])

    assert said.code == 2
    assert "postgres.tls: certificate and key cannot be used" in said.err
