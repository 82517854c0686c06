from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock.protocols.postgres import wire
from interlock.protocols.postgres.readable import render


def test_what_was_asked() -> None:
    sent = (
        wire.query("select 1")
        + wire.parse("s", "select $1, $2")
        + wire.bind("p", "s", [b"alice", None, b"\0\0\0\7"])
        + wire.describe("P", "p")
        + wire.execute("p", 5)
        + wire.sync()
        + wire.copy_data(b"1\ta\n2\tb\n")
        + wire.copy_done()
        + wire.copy_fail("enough")
    )
    assert render("up", sent) == [
        "query: select 1",
        "prepare s: select $1, $2",
        "bind s with $1 = alice, $2 = NULL, $3 = \\\\x00000007".replace("\\\\", "\\"),
        "execute p for 5 rows",
        "copy: 1\\ta",
        "copy: 2\\tb",
        "copy done",
        "copy failed: enough",
    ]


def test_what_the_client_saw() -> None:
    seen = (
        wire.row_description([wire.Field("id", type_oid=23, format=1), wire.Field("email")])
        + wire.data_row([b"\0\0\0\7", b"[email]"])
        + wire.data_row([None, b"x"])
        + wire.command_complete("SELECT 2")
        + wire.error("ERROR", "42501", "no DDL", "rule: no-ddl", "Ask dba.")
        + wire.notice("NOTICE", "00000", "waiting")
        + wire.notification(1, "jobs", "done")
        + wire.ready("I")
    )
    assert render("down", seen) == [
        "columns: id | email",
        "row: 7 | [email]",
        "row: NULL | x",
        "done: SELECT 2",
        "ERROR 42501: no DDL · detail: rule: no-ddl · hint: Ask dba.",
        "NOTICE 00000: waiting",
        "notification on jobs: done",
    ]


def test_rows_without_their_description_are_shown_as_they_can_be() -> None:
    assert render("down", wire.data_row([b"text", b"\0\0\0\7", None, b""])) == ["row: text | \\x00000007 | NULL | "]


def test_a_recording_cannot_drive_the_terminal() -> None:
    (line,) = render("up", wire.query("select '\x1b[2J\r\n'"))
    assert line == "query: select '\\x1b[2J\\r\\n'"
    (line,) = render("down", wire.error("ERROR", "42501", "\x1b]0;owned\x07"))
    assert "\x1b" not in line


def test_secrets_are_not_shown() -> None:
    assert render("up", wire.password("hunter2")) == ["(a secret, not shown)"]


def test_long_values_are_cut() -> None:
    (line,) = render("up", wire.query("x" * 10_000))
    assert len(line) < 600
    assert "10000 characters" in line


def test_odd_bytes_are_named_not_raised() -> None:
    assert render("up", wire.ssl_request()) == ["(unreadable bytes: 8)"]
    assert render("down", wire.message(b"T", b"\0\5")) == ["(unreadable 'T' message of 7 bytes)"]


@given(st.sampled_from(["up", "down"]), st.binary(max_size=200))
def test_nothing_ever_raises(direction: str, data: bytes) -> None:
    framed = b"".join(wire.message(bytes((kind,)), data[:50]) for kind in data[:20])
    for candidate in (data, framed):
        for line in render(direction, candidate):
            assert line.isprintable()
