"""Questions without a driver: text → messages, and messages → a neutral reply."""

from __future__ import annotations

import pytest

from interlock.errors import LimitError, ProtocolError
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.ask import Asker

HEAD = wire.parse_complete() + wire.bind_complete()
TWO = wire.row_description([wire.Field("id", type_oid=23), wire.Field("name")])


def test_a_question_is_one_pipeline() -> None:
    messages = wire.Framer("client", 1_000).feed(Asker(1_000).ask("SELECT 1", 5))
    assert bytes(kind for kind, _ in messages) == b"PBDES"
    assert wire.read_execute(messages[3][1]) == ("", 5)


def test_rows_come_back_as_text() -> None:
    asker = Asker(1_000)
    asker.ask("SELECT …")
    answer = HEAD + TWO + wire.data_row([b"1", b"Ann"]) + wire.data_row([b"2", None]) + wire.command_complete("SELECT 2")
    assert asker.feed(answer) is None
    reply = asker.feed(wire.ready("I"))
    assert reply is not None and reply.rows == (("1", "Ann"), ("2", None)) and reply.tag == "SELECT 2"
    assert [column.name for column in reply.columns] == ["id", "name"] and not reply.truncated and not reply.failed


def test_more_rows_than_asked_for() -> None:
    asker = Asker(1_000)
    asker.ask("SELECT …", 1)
    reply = asker.feed(HEAD + TWO + wire.data_row([b"1", b"Ann"]) + wire.portal_suspended() + wire.ready("I"))
    assert reply is not None and reply.truncated


def test_errors_and_notices() -> None:
    asker = Asker(1_000)
    asker.ask("SELECT …")
    reply = asker.feed(
        wire.notice("NOTICE", "00000", "held") + wire.error("ERROR", "42501", "no", "rule: r1", "Ask bob.") + wire.ready("I")
    )
    assert reply is not None
    assert (reply.failed, reply.code, reply.detail, reply.hint, reply.notices) == ("no", "42501", "rule: r1", "Ask bob.", ("held",))
    asker.ask("SELECT …")
    clean = asker.feed(HEAD + wire.no_data() + wire.command_complete("BEGIN") + wire.ready("T"))
    assert clean is not None and not clean.failed and not clean.notices


def test_what_is_no_answer() -> None:
    asker = Asker(1_000)
    asker.ask("COPY …")
    with pytest.raises(ProtocolError):
        asker.feed(wire.copy_out_response(0, [0]))
    asker.ask("SELECT …")
    with pytest.raises(ProtocolError):
        asker.feed(wire.ready("I") + wire.ready("I"))


def test_an_answer_is_bounded() -> None:
    asker = Asker(500)
    asker.ask("SELECT …")
    with pytest.raises(LimitError):
        for _ in range(100):
            asker.feed(wire.notice("NOTICE", "00000", "x" * 20))
