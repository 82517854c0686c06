"""Upstream's answers, each to the message it belongs to. Whole dialogues are in `test_relay.py`."""

from __future__ import annotations

import pytest

from interlock.errors import ProtocolError
from interlock.exchange import Operation, Outcome
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.answers import Answers
from interlock.protocols.postgres.expect import Expect, Want
from interlock.protocols.postgres.operation import Asked, Portal
from interlock.protocols.postgres.relay import Relay
from tests.playbook import SHOP, Play, ScriptPermit
from tests.protocols.postgres.scenes import CATALOG, EMAIL, PARAMETERS, done, play, row


def answers(scene: Play) -> Answers:
    assert isinstance(scene.relay, Relay)
    return scene.relay.answers


def permitted(scene: Play) -> ScriptPermit:
    return scene.permit(Operation("sql", SHOP, (), {}, wire.query("SELECT 1"), "SELECT ?"))


def test_the_search_path_is_what_upstream_reports() -> None:
    found = answers(play(parameters=PARAMETERS))
    before = found.search_path
    found.reply(0x53, wire.parameter_status("search_path", "hidden"))
    assert (before, found.search_path) == (("interlock", "public"), ("hidden",))
    assert answers(play(parameters={})).search_path is None


@pytest.mark.parametrize("name", ["client_encoding", "standard_conforming_strings"])
def test_pinned_settings_are_checked_at_login_as_well(name: str) -> None:
    with pytest.raises(ProtocolError, match=name):
        play(parameters={**PARAMETERS, name: "other"})


def test_rows_are_counted_over_all_statements_of_a_text() -> None:
    scene = play()
    found, permit = answers(scene), permitted(scene)
    found.expected.append(Expect(Want.QUERY, permit))
    for message in (done("INSERT 0 3"), done("UPDATE 4"), done("SELECT 5"), done("CREATE TABLE")):
        found.reply(message[0], message)
    found.reply(0x5A, wire.ready("I"))
    assert permit.exchange.rows == 12 and permit.exchange.outcome is Outcome.DONE


def test_a_portal_keeps_its_columns() -> None:
    scene = play()
    found, portal = answers(scene), Portal(Asked("", "", (), {}))
    found.expected.append(Expect(Want.DESCRIBE, portal=portal, quiet=True))
    found.reply(0x54, EMAIL)
    assert portal.columns is not None and portal.columns[0].origin == "public.customers.email"
    assert not found.expected and scene.client_sees() == b"", "our own Describe is not the client's business"


def test_words_and_rows_keep_their_order() -> None:
    scene = play()
    found, permit = answers(scene), permitted(scene)
    found.expected.append(Expect(Want.QUERY, permit))
    first, notice, second = row("1"), wire.notice("NOTICE", "00000", "between"), row("2")
    for message in (EMAIL, first, notice, second, done("SELECT 2"), wire.ready("I")):
        found.reply(message[0], message)
    found.say_rest()
    assert b"".join(piece.data for piece in found.take()) == EMAIL + first + notice + second + done("SELECT 2") + wire.ready("I")


def test_a_new_relation_in_a_reply_makes_the_catalog_stale() -> None:
    scene = play()
    found, permit = answers(scene), permitted(scene)
    found.expected.append(Expect(Want.QUERY, permit))
    assert found.catalog is CATALOG and not found.stale
    found.reply(0x54, wire.row_description([wire.Field("x", 77_777, 1)]))
    assert found.stale
