"""The relay's behaviour as plays: who says what, what the gate is asked, what goes up, what comes down."""

from __future__ import annotations

import pytest

from interlock.errors import ProtocolError
from interlock.exchange import Outcome, Refusal
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.relay import POISON_QUERY
from interlock.protocols.postgres.reply import RowShape, speak
from tests.playbook import Play
from tests.protocols.postgres.scenes import (
    ANSWERED,
    CATALOG,
    EMAIL,
    FAILED,
    IDLE,
    IN_TRANSACTION,
    MESSAGE_MAX,
    NO_PORTAL,
    ONE,
    POISONED,
    REFUSED,
    ask,
    done,
    failed,
    play,
    row,
    stars,
)

DELETE = "DELETE FROM orders"
HELD_NO = wire.error_fields(speak(Refusal("approval-refused", "request ap-1 was refused by bob", ("hold-it",), "#dba")))


def begin(scene: Play) -> None:
    """Open a transaction."""
    scene.client(wire.query("BEGIN"))
    scene.allow()
    scene.upstream(done("BEGIN"), IN_TRANSACTION)
    scene.relay.to_upstream()
    scene.client_sees()
    scene.port.settled.clear()


def run(scene: Play, *messages: bytes, answer: bytes = b"") -> bytes:
    """Say it, allow it, let upstream answer; gives what went up."""
    scene.client(*messages)
    scene.allow_all()
    up = scene.upstream_sees()
    scene.upstream(answer)
    scene.allow_all()
    return up


def learning(scene: Play) -> bool:
    """Whether nothing goes on before a new catalog is handed in."""
    return scene.relay.wants_catalog


# -- simple queries --------------------------------------------------------------------------------------------------


def test_a_simple_query() -> None:
    scene = play(stars)
    scene.client(wire.query("SELECT email FROM customers"))
    scene.asks("SELECT email FROM customers")
    scene.upstream_gets()
    scene.allow()
    scene.upstream_gets(wire.query("SELECT email FROM customers"))
    scene.upstream(EMAIL, row("ann@example.com"), row("bo@example.com"), done("SELECT 2"), IDLE)
    scene.client_gets(EMAIL, row("*"), row("*"), done("SELECT 2"), IDLE)
    assert scene.port.settled == [("SELECT email FROM customers", Outcome.DONE)]
    scene.over()


def test_each_statement_of_a_text_has_its_own_lineage() -> None:
    scene = play(stars)
    upper = wire.row_description([wire.Field("upper")])
    run(
        scene,
        wire.query("SELECT 1; SELECT upper(email) FROM customers; SELECT upper(name) FROM customers"),
        answer=ONE + row("1") + done() + upper + row("ANN@EXAMPLE.COM") + done() + upper + row("ANN") + done() + IDLE,
    )
    scene.client_gets(ONE, row("1"), done(), upper, row("*"), done(), upper, row("ANN"), done(), IDLE)


def test_an_error_of_upstream_comes_down_scrubbed() -> None:
    scene = play()
    error = wire.error("ERROR", "23505", "duplicate key", "Key (email)=(ann@example.com) already exists.")
    run(scene, wire.query("INSERT INTO customers VALUES (1)"), answer=error + IDLE)
    scene.client_gets(wire.error("ERROR", "23505", "duplicate key", "Key (email)=([email]) already exists."), IDLE)
    assert scene.port.settled == [("INSERT INTO customers VALUES (?)", Outcome.FAILED)]


def test_a_refused_query_outside_of_a_transaction_is_answered_here() -> None:
    scene = play()
    scene.client(wire.query(DELETE))
    scene.answer("deny")
    scene.upstream_gets()
    scene.client_gets(REFUSED, IDLE)
    run(scene, wire.query("SELECT 1"), answer=ONE + row("1") + done() + IDLE)
    scene.client_gets(ONE, row("1"), done(), IDLE)


def test_a_refused_query_in_a_transaction_fails_it_upstream() -> None:
    scene = play()
    begin(scene)
    scene.client(wire.query(DELETE))
    scene.answer("deny")
    scene.upstream_gets(POISON_QUERY)
    scene.upstream(failed("42601", 'syntax error at or near "interlock"'), FAILED)
    scene.client_gets(REFUSED, FAILED)


def test_what_cannot_be_parsed_and_is_not_allowed_is_a_syntax_error_at_its_place() -> None:
    scene = play()
    scene.client(wire.query("SELECT 1 FORM x"))
    assert [effect.action for effect in scene.relay.questions[0].effects] == ["sql.unparsed"]
    scene.answer("deny")
    fields = wire.read_error(scene.client_sees()[: -len(IDLE)])
    assert (fields["C"], fields["P"]) == ("42601", "15")
    assert "syntax error" in fields["M"]


def test_a_nul_inside_a_text_ends_the_session() -> None:
    scene = play()
    with pytest.raises(ProtocolError):
        scene.client(wire.message(b"Q", b"SELECT 1\0; DROP TABLE orders\0"))
    scene.upstream_gets()


def test_a_text_over_the_limit_is_an_effect_that_policy_must_allow() -> None:
    scene = play()
    scene.client(wire.query("SELECT '" + "x" * 70_000 + "'"))
    assert [effect.action for effect in scene.relay.questions[0].effects] == ["sql.unparsed"]


def test_pinned_settings_are_refused_whatever_policy_says() -> None:
    scene = play()
    scene.client(wire.query("SET standard_conforming_strings = off"))
    assert "pins" in scene.relay.questions[0].refuse


# -- the extended protocol -------------------------------------------------------------------------------------------


def test_extended_with_the_clients_own_describe() -> None:
    scene = play(stars)
    scene.client(ask("SELECT email FROM customers"), wire.sync())
    scene.asks("SELECT email FROM customers", "SELECT email FROM customers")
    assert [operation.rehearsal for operation in scene.relay.questions] == [True, False]
    scene.allow()
    scene.upstream_gets(ask("SELECT email FROM customers"), wire.sync())
    scene.upstream(ANSWERED, EMAIL, row("ann@example.com"), done(), IDLE)
    scene.client_gets(ANSWERED, EMAIL, row("*"), done(), IDLE)
    assert [outcome for _, outcome in scene.port.settled] == [Outcome.DONE, Outcome.DONE]
    scene.over()


def test_without_describe_ours_is_sent_and_its_answer_swallowed() -> None:
    scene = play(stars)
    parse, bind = wire.parse("", "SELECT email FROM customers"), wire.bind("", "")
    up = run(scene, parse, bind, wire.execute(""), wire.sync(), answer=ANSWERED + EMAIL + row("ann@example.com") + done() + IDLE)
    assert up == parse + bind + wire.describe("P", "") + wire.execute("") + wire.sync()
    scene.client_gets(ANSWERED, row("*"), done(), IDLE)


def test_a_portal_is_described_anew_in_every_pipeline() -> None:
    scene = play(stars)
    run(scene, wire.parse("s", "SELECT email FROM customers"), wire.describe("S", "s"), wire.sync(),
        answer=wire.parse_complete() + wire.parameter_description([]) + EMAIL + IDLE)  # fmt: skip
    scene.client_sees()
    for _ in range(2):
        up = run(scene, wire.bind("", "s"), wire.execute(""), wire.sync())
        assert up == wire.bind("", "s") + wire.describe("P", "") + wire.execute("") + wire.sync()
        scene.upstream(wire.bind_complete(), EMAIL, row("ann@example.com"), done(), IDLE)
        scene.client_gets(wire.bind_complete(), row("*"), done(), IDLE)


def test_rows_that_nobody_described_end_the_session() -> None:
    scene = play()
    run(scene, wire.parse("", "UPDATE orders SET id = 1"), wire.bind("", ""), wire.execute(""), wire.sync(), answer=ANSWERED)
    with pytest.raises(ProtocolError, match="not described"):
        scene.upstream(row("1"))


def test_a_pipeline_of_several_statements() -> None:
    scene = play()
    insert = wire.parse("", "INSERT INTO orders VALUES ($1, 2)")
    values = [wire.bind("", "", [str(n).encode()]) + wire.execute("") for n in range(3)]
    scene.client(insert, *values, wire.sync())
    assert len(scene.relay.questions) == 4
    digests = {operation.identity for operation in scene.relay.questions}
    assert len(digests) == 4, "an approval binds to the values, too"
    scene.allow()
    scene.upstream_gets(insert, *values, wire.sync())
    answer = wire.parse_complete() + (wire.bind_complete() + done("INSERT 0 1")) * 3 + IDLE
    scene.upstream(answer)
    scene.client_gets(answer)
    scene.over()


def test_a_suspended_portal_goes_on() -> None:
    scene = play()
    begin(scene)
    run(scene, wire.parse("", "SELECT id FROM orders"), wire.bind("p", ""), wire.describe("P", "p"), wire.execute("p", 1), wire.sync(),
        answer=ANSWERED + ONE + row("1") + wire.portal_suspended() + IN_TRANSACTION)  # fmt: skip
    scene.client_gets(ANSWERED, ONE, row("1"), wire.portal_suspended(), IN_TRANSACTION)
    assert scene.port.settled[-1] == ("SELECT id FROM orders", Outcome.SUSPENDED)
    up = run(scene, wire.execute("p", 1), wire.sync(), answer=row("2") + done() + IN_TRANSACTION)
    assert up == wire.execute("p", 1) + wire.sync()
    scene.client_gets(row("2"), done(), IN_TRANSACTION)


@pytest.mark.parametrize("refused", ["parse", "execute"])
def test_a_refusal_in_a_pipeline_lets_nothing_commit(refused: str) -> None:
    scene = play()
    scene.client(ask("INSERT INTO orders VALUES (1, 2)"), ask(DELETE), ask("INSERT INTO orders VALUES (3, 4)"), wire.sync())
    scene.answer("allow", "allow", *(("deny", "deny") if refused == "parse" else ("allow", "deny")), "allow", "allow")
    first = ask("INSERT INTO orders VALUES (1, 2)")
    before = b"" if refused == "parse" else wire.parse("", DELETE) + wire.bind("", "") + wire.describe("P", "")
    scene.upstream_gets(first, before, POISONED, wire.sync())
    answer = ANSWERED + wire.no_data() + done("INSERT 0 1")
    answer += b"" if refused == "parse" else ANSWERED + wire.no_data()
    scene.upstream(answer, NO_PORTAL, IDLE)
    scene.client_gets(answer, REFUSED, IDLE)
    assert [outcome for _, outcome in scene.port.settled].count(Outcome.SKIPPED) == 2
    scene.over()


def test_what_comes_behind_a_refusal_is_not_even_asked() -> None:
    scene = play()
    scene.client(wire.parse("", DELETE))
    scene.answer("deny")
    scene.client(wire.bind("", ""), wire.execute(""), ask("SELECT 1"))
    scene.asks()
    scene.client(wire.sync())
    scene.upstream_gets(POISONED, wire.sync())
    scene.upstream(NO_PORTAL, IDLE)
    scene.client_gets(REFUSED, IDLE)


def test_an_error_of_upstream_skips_the_rest_of_the_pipeline_only() -> None:
    scene = play()
    run(scene, ask("SELECT 1 / 0"), ask(DELETE), wire.sync(), ask("SELECT 2"), wire.sync(),
        answer=ANSWERED + ONE + failed() + IDLE)  # fmt: skip
    scene.client_gets(ANSWERED, ONE, failed(), IDLE)
    assert ("DELETE FROM orders", Outcome.SKIPPED) in scene.port.settled
    scene.upstream(ANSWERED, ONE, row("2"), done(), IDLE)
    scene.client_gets(ANSWERED, ONE, row("2"), done(), IDLE)
    scene.over()


def test_after_an_error_messages_are_dropped_until_sync() -> None:
    scene = play()
    run(scene, wire.parse("", "SELECT nothing"), wire.flush(), answer=failed("42703", "no such column"))
    scene.client(wire.bind("", ""), wire.execute(""))
    scene.asks()
    scene.upstream_gets()
    scene.client(wire.sync())
    scene.upstream_gets(wire.sync())
    scene.upstream(IDLE)
    scene.client_gets(failed("42703", "no such column"), IDLE)


def test_goodbye_is_heard_after_an_error_as_well() -> None:
    scene = play()
    run(scene, wire.parse("", "SELECT nothing"), wire.flush(), answer=failed())
    scene.client(wire.bind("", ""), wire.terminate())
    scene.upstream_gets(wire.terminate())
    assert scene.relay.terminated


# -- names -----------------------------------------------------------------------------------------------------------


def asked_of(scene: Play) -> list[str]:
    """The titles of what would run (not only be prepared)."""
    return [operation.title for operation in scene.relay.questions if not operation.rehearsal]


def prepared(scene: Play, name: str, sql: str) -> None:
    run(scene, wire.parse(name, sql), wire.sync(), answer=wire.parse_complete() + IDLE)
    scene.client_sees()


@pytest.mark.parametrize("name", ["", "s"])
def test_a_parse_that_fails_does_not_change_what_its_name_runs(name: str) -> None:
    scene = play()
    prepared(scene, name, DELETE)
    scene.client(
        wire.parse(name, "SELECT nothing"), wire.parse(name, "SELECT 1"), wire.sync(), wire.bind("", name), wire.execute(""), wire.sync()
    )
    scene.allow_all()
    assert scene.upstream_sees().endswith(wire.sync()), "what uses the name waits"
    scene.asks()
    scene.upstream(failed("42703", "no such column"), IDLE)
    assert asked_of(scene) == [DELETE]


def test_a_parse_that_is_skipped_or_refused_does_not_either() -> None:
    scene = play()
    prepared(scene, "", DELETE)
    scene.client(wire.bind("", "missing"), wire.parse("", "SELECT 1"), wire.parse("", "SELECT 2"), wire.sync())
    scene.allow()
    scene.client(wire.bind("", ""), wire.execute(""), wire.sync())
    scene.asks()
    scene.upstream(failed("26000", "no such statement"), IDLE)
    assert asked_of(scene) == [DELETE]

    scene = play()
    prepared(scene, "", DELETE)
    scene.client(wire.parse("", "SELECT 1"), wire.parse("", "SELECT 2"), wire.sync())
    scene.answer("deny", "allow")
    scene.upstream(NO_PORTAL, IDLE)
    scene.client(wire.bind("", ""), wire.execute(""), wire.sync())
    assert asked_of(scene) == [DELETE]


def test_a_name_that_fails_while_the_gate_is_being_asked() -> None:
    scene = play()
    prepared(scene, "", DELETE)
    run(scene, wire.parse("", "SELECT nothing"), wire.flush())
    scene.client(wire.parse("", "SELECT 1"), wire.sync(), wire.bind("", ""), wire.execute(""), wire.sync())
    scene.asks("SELECT ?")
    scene.upstream(failed())
    scene.allow()
    scene.upstream(IDLE)
    assert asked_of(scene) == [DELETE]


def test_inside_one_pipeline_the_new_name_counts_at_once() -> None:
    scene = play()
    prepared(scene, "", DELETE)
    scene.client(ask("SELECT 1"), ask("SELECT name FROM customers"), wire.sync())
    assert asked_of(scene) == ["SELECT ?", "SELECT name FROM customers"]


def test_a_portal_that_is_not_known_never_runs() -> None:
    scene = play()
    scene.client(wire.execute("elsewhere"), wire.sync())
    assert 'portal "elsewhere" does not exist' in scene.relay.questions[0].refuse


def test_portals_end_with_their_transaction() -> None:
    scene = play()
    begin(scene)
    run(scene, wire.parse("", "SELECT 1"), wire.bind("p", ""), wire.sync(), answer=ANSWERED + IN_TRANSACTION)
    run(scene, wire.query("COMMIT"), answer=done("COMMIT") + IDLE)
    scene.client(wire.execute("p"), wire.sync())
    assert scene.relay.questions[0].refuse


def test_sql_prepare_and_execute() -> None:
    scene = play(stars)
    run(scene, wire.query("PREPARE s AS SELECT upper(email) FROM customers"), answer=done("PREPARE") + IDLE)
    upper = wire.row_description([wire.Field("upper")])
    scene.client_sees()
    scene.client(wire.query("EXECUTE s"))
    assert {effect.object for effect in scene.relay.questions[0].effects} >= {"public.customers"}
    scene.allow()
    scene.upstream(upper, row("ANN@EXAMPLE.COM"), done(), IDLE)
    scene.client_gets(upper, row("*"), done(), IDLE)


def test_execute_has_the_facts_and_the_text_of_what_it_runs() -> None:
    scene = play()
    run(scene, wire.query("PREPARE s AS DELETE FROM orders"), answer=done("PREPARE") + IDLE)
    scene.client(wire.query("EXECUTE s"))
    operation = scene.relay.questions[0]
    assert operation.facts["has_where"] is False
    assert "DELETE FROM orders" in operation.text, "approvers see what runs"
    assert b"DELETE FROM orders" in operation.identity, "and their approval binds to it"


def test_names_of_sql_are_settled_before_they_are_used() -> None:
    scene = play()
    run(scene, wire.query("PREPARE s AS SELECT 1"), answer=done("PREPARE") + IDLE)
    scene.client(wire.query("DEALLOCATE s"), wire.query("PREPARE s AS DELETE FROM orders"), wire.query("EXECUTE s"))
    scene.asks("DEALLOCATE s")
    scene.allow()
    scene.upstream(done("DEALLOCATE"), IDLE)
    scene.allow()
    scene.upstream(done("PREPARE"), IDLE)
    assert effects_of(scene) == {("sql.delete", "public.orders")}


def effects_of(scene: Play) -> set[tuple[str, str]]:
    return {(effect.action, effect.object) for operation in scene.relay.questions for effect in operation.effects}


def test_names_inside_one_text() -> None:
    scene = play()
    run(scene, wire.query("PREPARE s AS SELECT 1"), answer=done("PREPARE") + IDLE)
    scene.client(wire.query("DEALLOCATE s; PREPARE s AS DELETE FROM orders; EXECUTE s"))
    assert ("sql.delete", "public.orders") in effects_of(scene)
    assert scene.relay.questions[0].facts["has_where"] is False


def test_names_of_a_text_that_never_ran_were_never_given() -> None:
    scene = play()
    run(scene, wire.query("PREPARE s AS DELETE FROM orders"), answer=done("PREPARE") + IDLE)
    scene.client(wire.query("DEALLOCATE s; PREPARE s AS SELECT 1; EXECUTE s"))
    scene.answer("deny")
    scene.client(wire.query("EXECUTE s"))
    assert ("sql.delete", "public.orders") in effects_of(scene)


def test_a_prepared_execute_runs_what_the_name_means_when_it_runs() -> None:
    scene = play()
    run(scene, wire.query("PREPARE s AS SELECT 1"), answer=done("PREPARE") + IDLE)
    prepared(scene, "p", "EXECUTE s")
    run(scene, wire.query("DEALLOCATE s"), answer=done("DEALLOCATE") + IDLE)
    run(scene, wire.query("PREPARE s AS DELETE FROM orders"), answer=done("PREPARE") + IDLE)
    scene.client(wire.bind("", "p"), wire.execute(""), wire.sync())
    assert ("sql.delete", "public.orders") in effects_of(scene)


def test_an_execute_of_an_unconfirmed_name_waits() -> None:
    scene = play()
    prepared(scene, "s", DELETE)
    scene.client(wire.parse("s", "SELECT 1"), wire.sync(), wire.query("EXECUTE s"))
    scene.allow()
    scene.asks()
    scene.upstream(failed("42P05", "prepared statement exists"), IDLE)
    assert ("sql.delete", "public.orders") in effects_of(scene)


def test_an_unknown_name_is_opaque() -> None:
    scene = play()
    scene.client(wire.query("EXECUTE nobody"))
    assert effects_of(scene) == {("sql.opaque", "execute nobody")}


def test_cursors_inherit_and_share_their_namespace_with_portals() -> None:
    scene = play(stars)
    begin(scene)
    run(scene, wire.query("DECLARE c CURSOR FOR SELECT upper(email) FROM customers"), answer=done("DECLARE CURSOR") + IN_TRANSACTION)
    scene.client_sees()
    upper = wire.row_description([wire.Field("upper")])
    run(scene, wire.query("FETCH 1 FROM c"), answer=upper + row("ANN") + done("FETCH 1") + IN_TRANSACTION)
    scene.client_gets(upper, row("*"), done("FETCH 1"), IN_TRANSACTION)
    run(scene, wire.query("CLOSE c"), answer=done("CLOSE CURSOR") + IN_TRANSACTION)
    run(scene, wire.parse("", DELETE), wire.bind("c", ""), wire.sync(), answer=ANSWERED + IN_TRANSACTION)
    scene.client(wire.query("FETCH 1 FROM c"))
    assert effects_of(scene) == {("sql.delete", "public.orders")}


def test_cursors_with_hold_outlive_their_transaction() -> None:
    scene = play()
    begin(scene)
    run(scene, wire.query("DECLARE keeps CURSOR WITH HOLD FOR SELECT id FROM orders"), answer=done("DECLARE CURSOR") + IN_TRANSACTION)
    run(scene, wire.query("DECLARE goes CURSOR FOR SELECT id FROM orders"), answer=done("DECLARE CURSOR") + IN_TRANSACTION)
    run(scene, wire.query("COMMIT"), answer=done("COMMIT") + IDLE)
    scene.client(wire.query("FETCH 1 FROM keeps"))
    assert ("sql.select", "public.orders") in effects_of(scene)
    run(scene, answer=ONE + done("FETCH 0") + IDLE)
    scene.client(wire.query("FETCH 1 FROM goes"))
    assert effects_of(scene) == {("sql.opaque", "fetch goes")}


# -- what changes meaning --------------------------------------------------------------------------------------------


def test_nothing_is_translated_behind_a_change_of_search_path_until_it_is_answered() -> None:
    scene = play()
    scene.client(wire.query("SET search_path = hidden"), wire.query("SELECT email FROM customers"))
    assert effects_of(scene) == {("sql.set", "search_path")}
    scene.allow()
    scene.asks()
    scene.upstream_gets(wire.query("SET search_path = hidden"))
    scene.upstream(done("SET"), wire.parameter_status("search_path", "hidden"), IDLE)
    assert ("sql.select", "hidden.customers") in effects_of(scene)


def test_behind_a_change_of_search_path_in_a_pipeline_only_sync_may_come() -> None:
    scene = play()
    scene.client(ask("SET search_path = hidden"), ask("SELECT email FROM customers"), wire.sync())
    scene.allow()
    scene.upstream_gets(ask("SET search_path = hidden"), wire.flush())
    scene.upstream(ANSWERED, wire.no_data(), done("SET"))
    assert "send Sync" in scene.relay.questions[0].refuse and all(operation.refuse for operation in scene.relay.questions)
    scene.answer(*("deny" for _ in scene.relay.questions))
    scene.upstream_gets(POISONED, wire.sync())
    scene.upstream(NO_PORTAL, IDLE)
    scene.client(wire.query("SELECT email FROM customers"))
    assert scene.relay.questions[0].refuse == ""


def test_the_end_of_the_transaction_takes_back_what_was_set() -> None:
    scene = play()
    begin(scene)
    run(scene, wire.query("SET search_path = hidden"),
        answer=done("SET") + wire.parameter_status("search_path", "hidden") + IN_TRANSACTION)  # fmt: skip
    scene.client(wire.query("ROLLBACK; DELETE FROM customers"))
    assert "end the transaction by itself" in scene.relay.questions[0].refuse
    scene.answer("deny")
    scene.upstream(failed("42601", "syntax error"), FAILED)
    scene.client(wire.query("ROLLBACK"), wire.query("DELETE FROM customers"))
    scene.asks("ROLLBACK")
    scene.allow()
    scene.upstream(done("ROLLBACK"), wire.parameter_status("search_path", '"$user", public'), IDLE)
    assert ("sql.delete", "public.customers") in effects_of(scene)


def test_a_text_that_goes_on_behind_a_change_of_search_path_is_refused() -> None:
    for text in ("SET search_path = hidden; SELECT 1", "SELECT set_config('search_path', 'hidden', false); SELECT 1"):
        scene = play()
        scene.client(wire.query(text))
        assert "by itself" in scene.relay.questions[0].refuse


def test_new_definitions_are_learned_before_anything_goes_on() -> None:
    scene = play()
    scene.client(wire.query("ALTER TABLE orders ADD note text"), wire.query("SELECT 1"))
    scene.allow()
    assert not learning(scene)
    scene.upstream(done("ALTER TABLE"), IDLE)
    assert learning(scene)
    scene.asks()
    scene.relay.learn(CATALOG)
    scene.asks("SELECT ?")


def test_in_a_transaction_new_definitions_are_unknown_until_it_ends() -> None:
    scene = play(stars)
    begin(scene)
    run(scene, wire.query("CREATE TABLE fresh AS SELECT email FROM customers"), answer=done("SELECT 3") + IN_TRANSACTION)
    assert not learning(scene)
    scene.client_sees()
    fresh = wire.row_description([wire.Field("email", 20_000, 1)])
    run(scene, wire.query("SELECT email FROM fresh"), answer=fresh + row("ann@example.com") + done() + IN_TRANSACTION)
    scene.client_gets(fresh, row("*"), done(), IN_TRANSACTION)
    run(scene, wire.query("COMMIT"), answer=done("COMMIT") + IDLE)
    assert learning(scene)


def test_behind_new_definitions_in_one_text_nothing_is_traced() -> None:
    scene = play(stars)
    run(scene, wire.query("CREATE OR REPLACE VIEW people AS SELECT 1 AS id, email FROM customers; SELECT id FROM people"))
    people = wire.row_description([wire.Field("id")])
    scene.upstream(done("CREATE VIEW"), people, row("7"), done(), IDLE)
    scene.client_gets(done("CREATE VIEW"), people, row("*"), done(), IDLE)


def test_a_statement_is_judged_by_the_catalog_of_the_moment() -> None:
    scene = play()
    prepared(scene, "s", "SELECT email FROM customers")
    run(scene, wire.query("SET search_path = hidden"), answer=done("SET") + wire.parameter_status("search_path", "hidden") + IDLE)
    scene.client(wire.bind("", "s"), wire.execute(""), wire.sync())
    assert ("sql.select", "hidden.customers") in effects_of(scene)


# -- holds -----------------------------------------------------------------------------------------------------------


def test_nothing_of_a_batch_goes_up_before_people_have_agreed() -> None:
    scene = play()
    scene.client(wire.query("SELECT 1"), wire.query(DELETE), wire.query("SELECT 2"))
    scene.answer("allow", "hold", "allow")
    scene.upstream_gets()
    assert scene.relay.held is not None
    scene.client(wire.query("SELECT 3"))
    scene.upstream_gets()
    scene.approve()
    scene.upstream_gets(wire.query("SELECT 1"), wire.query(DELETE), wire.query("SELECT 2"))
    scene.asks("SELECT ?")


def test_refused_by_people() -> None:
    scene = play()
    scene.client(wire.query(DELETE))
    scene.answer("hold")
    scene.reject()
    scene.upstream_gets()
    scene.client_gets(HELD_NO, IDLE)
    scene.over()


def test_refused_by_people_in_a_transaction() -> None:
    scene = play()
    begin(scene)
    scene.client(ask(DELETE), wire.sync())
    scene.answer("allow", "hold")
    scene.reject()
    scene.upstream_gets(wire.parse("", DELETE), wire.bind("", ""), wire.describe("P", ""), POISONED, wire.sync())
    scene.upstream(ANSWERED, wire.no_data(), NO_PORTAL, FAILED)
    scene.client_gets(ANSWERED, wire.no_data(), HELD_NO, FAILED)


def test_people_are_not_asked_for_what_would_be_skipped() -> None:
    scene = play()
    scene.client(ask("SELECT 1"), ask(DELETE), wire.sync())
    scene.answer("deny", "allow", "allow", "hold")
    assert scene.relay.held is None
    scene.upstream_gets(POISONED, wire.sync())


def test_notices_reach_a_client_that_waits() -> None:
    scene = play()
    scene.client(wire.query(DELETE))
    scene.answer("hold")
    scene.relay.notice("held: waiting", "be patient")
    scene.client_gets(wire.notice("NOTICE", "00000", "held: waiting", hint="be patient"))


# -- COPY ------------------------------------------------------------------------------------------------------------

COPY_IN = wire.copy_in_response(0, [0, 0])
LINES = wire.copy_data(b"1\t2\n") + wire.copy_data(b"3\t4\n")


def test_copy_in_of_the_simple_protocol() -> None:
    scene = play()
    run(scene, wire.query("COPY orders FROM STDIN"), answer=COPY_IN)
    scene.client_gets(COPY_IN)
    scene.client(LINES, wire.copy_done())
    scene.asks()
    scene.upstream_gets(LINES, wire.copy_done())
    scene.upstream(done("COPY 2"), IDLE)
    scene.client_gets(done("COPY 2"), IDLE)
    assert scene.port.settled == [("COPY orders FROM STDIN", Outcome.DONE)]


def test_copy_data_that_comes_too_early_waits() -> None:
    scene = play()
    scene.client(wire.query("COPY orders FROM STDIN"), LINES, wire.copy_done())
    scene.allow()
    scene.upstream_gets(wire.query("COPY orders FROM STDIN"))
    scene.upstream(COPY_IN)
    scene.upstream_gets(LINES, wire.copy_done())


def test_copy_in_behind_new_definitions_in_one_text() -> None:
    scene = play()
    scene.client(wire.query("CREATE TABLE fresh (a int, b int); COPY fresh FROM STDIN"))
    scene.allow()
    scene.upstream(done("CREATE TABLE"), COPY_IN)
    scene.relay.to_upstream()
    scene.client(LINES, wire.copy_done())
    scene.upstream_gets(LINES, wire.copy_done())
    scene.upstream(done("COPY 2"), IDLE)
    assert learning(scene)


def test_copy_in_of_the_extended_protocol_with_the_early_sync() -> None:
    scene = play()
    run(scene, ask("COPY orders FROM STDIN"), wire.sync(), answer=ANSWERED + wire.no_data() + COPY_IN)
    scene.client_gets(ANSWERED, wire.no_data(), COPY_IN)
    scene.client(LINES, wire.copy_done(), wire.sync())
    scene.upstream_gets(LINES, wire.copy_done(), wire.sync())
    scene.upstream(done("COPY 2"), IDLE)
    scene.client_gets(done("COPY 2"), IDLE)
    scene.over()


def test_copy_that_fails_before_it_starts_uses_the_early_sync() -> None:
    scene = play()
    run(scene, ask("COPY orders FROM STDIN"), wire.sync(), answer=ANSWERED + wire.no_data() + failed("42501", "no") + IDLE)
    scene.client_gets(ANSWERED, wire.no_data(), failed("42501", "no"), IDLE)
    scene.over()


@pytest.mark.parametrize("extended", [False, True])
def test_the_client_gives_up_a_copy(extended: bool) -> None:
    scene = play()
    if extended:
        run(scene, ask("COPY orders FROM STDIN"), wire.sync(), answer=ANSWERED + wire.no_data() + COPY_IN)
    else:
        run(scene, wire.query("COPY orders FROM STDIN"), answer=COPY_IN)
    end = wire.copy_fail("enough") + (wire.sync() if extended else b"")
    scene.client(LINES, end)
    scene.upstream_gets(LINES, end)
    scene.client_sees()
    scene.upstream(failed("57014", "COPY from stdin failed: enough"), IDLE)
    scene.client_gets(failed("57014", "COPY from stdin failed: enough"), IDLE)
    assert scene.port.settled[-1][1] is Outcome.FAILED
    scene.over()


@pytest.mark.parametrize("extended", [False, True])
def test_upstream_fails_in_the_middle_of_a_copy(extended: bool) -> None:
    scene = play()
    if extended:
        run(scene, ask("COPY orders FROM STDIN"), wire.sync(), answer=ANSWERED + wire.no_data() + COPY_IN)
    else:
        run(scene, wire.query("COPY orders FROM STDIN"), answer=COPY_IN)
    scene.client(LINES)
    scene.upstream_gets(LINES)
    scene.upstream(failed("22P02", "invalid input"), *(() if extended else (IDLE,)))
    scene.client(LINES, wire.copy_done(), *((wire.sync(),) if extended else ()))
    scene.upstream_gets(*((wire.sync(),) if extended else ()))
    if extended:
        scene.upstream(IDLE)
    assert scene.client_sees().endswith(failed("22P02", "invalid input") + IDLE)
    run(scene, wire.query("SELECT 1"), answer=ONE + row("1") + done() + IDLE)
    scene.client_gets(ONE, row("1"), done(), IDLE)


def test_copy_out_is_masked_row_by_row() -> None:
    scene = play(stars)
    out = wire.copy_out_response(0, [0, 0, 0])
    data = wire.copy_data(b"1\tAnn\tann@example.com\n") + wire.copy_data(b"2\tBo\t\\N\n")
    run(scene, wire.query("COPY customers TO STDOUT"), answer=out + data + wire.copy_done() + done("COPY 2") + IDLE)
    masked = wire.copy_data(b"1\tAnn\t*\n") + wire.copy_data(b"2\tBo\t*\n")
    scene.client_gets(out, masked, wire.copy_done(), done("COPY 2"), IDLE)


def test_copy_out_as_csv_with_a_line_break_in_a_value() -> None:
    scene = play(stars)
    out = wire.copy_out_response(0, [0, 0])
    text = "COPY (SELECT name, email FROM customers) TO STDOUT WITH (FORMAT csv, HEADER)"
    data = wire.copy_data(b"name,email\n") + wire.copy_data(b'"Ann\n') + wire.copy_data(b'Lee",ann@example.com\n')
    run(scene, wire.query(text), answer=out + data + wire.copy_done() + done("COPY 1") + IDLE)
    seen = scene.client_sees()
    assert b"ann@example.com" not in seen and b"name,email" in seen and b'"Ann\nLee",*' in seen


def test_copy_out_in_binary_has_no_types_so_what_is_hidden_becomes_null() -> None:
    def nulls(shape: object, piece: bytes) -> bytes:
        rows = shape.split(piece)  # type: ignore[attr-defined]
        return shape.join([[None] * len(cells) for cells in rows])  # type: ignore[attr-defined,no-any-return]

    scene = play(nulls)
    head = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    out = wire.copy_out_response(1, [1])
    data = wire.copy_data(head + b"\0\1" + b"\0\0\0\3abc") + wire.copy_data(b"\xff\xff")
    run(scene, wire.query("COPY (SELECT email FROM customers) TO STDOUT (FORMAT binary)"),
        answer=out + data + wire.copy_done() + done("COPY 1") + IDLE)  # fmt: skip
    seen = scene.client_sees()
    assert b"abc" not in seen and b"\0\1\xff\xff\xff\xff" in seen and seen.endswith(wire.copy_done() + done("COPY 1") + IDLE)


def test_copy_that_nobody_asked_for_ends_the_session() -> None:
    for message in (COPY_IN, wire.copy_out_response(0, [0])):
        scene = play()
        run(scene, wire.query("SELECT 1"))
        with pytest.raises(ProtocolError):
            scene.upstream(message)


# -- what ends the session -------------------------------------------------------------------------------------------


def test_function_calls_are_refused_and_the_session_goes_on() -> None:
    scene = play()
    scene.client(wire.message(b"F", bytes(12)))
    assert "never forwarded" in scene.relay.questions[0].refuse
    scene.answer("deny")
    scene.upstream_gets()
    assert scene.client_sees().endswith(IDLE)


@pytest.mark.parametrize("message", [wire.message(b"y", b""), wire.password("x"), wire.message(b"d", bytes(MESSAGE_MAX + 1))])
def test_messages_that_may_not_come_end_the_session(message: bytes) -> None:
    scene = play()
    with pytest.raises(ProtocolError):
        scene.client(message)
    scene.upstream_gets()


def test_a_message_over_the_limit_is_refused_by_its_length_alone() -> None:
    scene = play()
    with pytest.raises(ProtocolError):
        scene.client(b"Q" + (MESSAGE_MAX + 1).to_bytes(4))


@pytest.mark.parametrize(("name", "value"), [("client_encoding", "SJIS"), ("standard_conforming_strings", "off")])
def test_a_pinned_setting_that_changes_ends_the_session(name: str, value: str) -> None:
    scene = play()
    with pytest.raises(ProtocolError, match=name):
        scene.upstream(wire.parameter_status(name, value))


@pytest.mark.parametrize(
    "message", [row("1"), EMAIL, done(), IDLE, wire.parse_complete(), wire.copy_data(b"x"), wire.message(b"W", b"\0\0\0")]
)
def test_messages_that_nobody_waits_for_end_the_session(message: bytes) -> None:
    scene = play()
    with pytest.raises(ProtocolError):
        scene.upstream(message)
    assert scene.client_sees() == b""


def test_an_answer_to_another_message_ends_the_session() -> None:
    scene = play()
    run(scene, wire.parse("", "SELECT 1"), wire.sync())
    with pytest.raises(ProtocolError, match="BindComplete while Parse"):
        scene.upstream(wire.bind_complete())


def test_rows_for_a_refused_statement_never_go_down() -> None:
    scene = play()
    begin(scene)
    scene.client(wire.query(DELETE))
    scene.answer("deny")
    with pytest.raises(ProtocolError, match="refused"):
        scene.upstream(EMAIL)
    assert b"email" not in scene.client_sees()


def test_notices_and_notifications_are_scrubbed() -> None:
    scene = play()
    scene.upstream(wire.notice("NOTICE", "00000", "hello ann@example.com"), wire.notification(7, "news", "ann@example.com"))
    scene.client_gets(wire.notice("NOTICE", "00000", "hello [email]"), wire.notification(7, "news", "[email]"))


def test_settings_that_can_hold_any_value_are_not_reported() -> None:
    scene = play()
    scene.upstream(wire.parameter_status("application_name", "ann@example.com"), wire.parameter_status("TimeZone", "UTC"))
    scene.client_gets(wire.parameter_status("TimeZone", "UTC"))


def test_a_final_refusal_ends_the_session() -> None:
    scene = play()
    scene.client(wire.query("SELECT 1"))
    scene.relay.answer([Refusal("revoked", "the token was revoked", fatal=True)])
    assert scene.relay.ended == "the token was revoked"
    assert b"FATAL" in scene.client_sees()
    scene.upstream_gets()


def test_the_backlog_counts_whole_messages_that_wait() -> None:
    scene = play()
    scene.client(wire.query("SELECT 1"))
    scene.client(wire.query("SELECT 2"), wire.query("SELECT 3")[:-2])
    assert scene.relay.backlog_bytes == len(wire.query("SELECT 2"))


# -- one byte at a time ----------------------------------------------------------------------------------------------

SCRIPTS = {
    "simple": [
        ("client", wire.query("SELECT email FROM customers")),
        ("upstream", EMAIL + row("ann@example.com") + row("bo") + done() + IDLE),
    ],
    "extended": [
        ("client", wire.parse("s", "SELECT email FROM customers") + wire.bind("p", "s") + wire.execute("p") + wire.sync()),
        ("upstream", ANSWERED + EMAIL + row("ann@example.com") + done() + IDLE),
        ("client", wire.bind("", "s") + wire.describe("P", "") + wire.execute("", 1) + wire.close("P", "") + wire.sync()),
        ("upstream", wire.bind_complete() + EMAIL + row("bo") + wire.portal_suspended() + wire.close_complete() + IDLE),
    ],
    "error": [
        ("client", ask("SELECT 1") + ask("SELECT nothing") + ask("SELECT 2") + wire.sync()),
        ("upstream", ANSWERED + ONE + row("1") + done() + failed("42703", "no such column") + IDLE),
    ],
    "copy in": [
        ("client", wire.query("COPY orders FROM STDIN") + LINES + wire.copy_done() + wire.query("SELECT 1")),
        ("upstream", COPY_IN),
        ("upstream", done("COPY 2") + IDLE + ONE + row("1") + done() + IDLE),
    ],
    "copy out": [
        ("client", wire.query("COPY (SELECT email FROM customers) TO STDOUT")),
        ("upstream", wire.copy_out_response(0, [0]) + wire.copy_data(b"ann@example.com\n") * 3 + wire.copy_done() + done("COPY 3") + IDLE),
    ],
    "meaning": [
        ("client", wire.query("SET search_path = hidden") + wire.query("SELECT email FROM customers")),
        ("upstream", done("SET") + wire.parameter_status("search_path", "hidden") + IDLE),
        ("upstream", EMAIL + row("ann@example.com") + done() + IDLE),
    ],
}  # fmt: skip


def replay(script: list[tuple[str, bytes]], piece: int) -> tuple[bytes, bytes, list[tuple[str, Outcome]]]:
    """Feed a script in pieces of so many bytes, allowing everything: what went up, what came down, what was settled."""
    scene = play(stars)
    up = down = b""
    for side, data in script:
        for at in range(0, len(data), piece):
            (scene.client if side == "client" else scene.upstream)(data[at : at + piece])
            scene.allow_all()
            up, down = up + scene.upstream_sees(), down + scene.client_sees()
    scene.over()
    return up, down, scene.port.settled


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_byte_at_a_time_is_the_same_dialogue(name: str) -> None:
    whole = replay(SCRIPTS[name], 1 << 20)
    assert whole[2], "the script must do something"
    for piece in (1, 7):
        assert replay(SCRIPTS[name], piece) == whole


def test_the_shape_of_a_release_has_origin_and_lineage() -> None:
    scene = play()
    run(scene, wire.query("SELECT email, upper(email), count(*) FROM customers GROUP BY 1"))
    scene.upstream(wire.row_description([wire.Field("email", 16_400, 3), wire.Field("upper"), wire.Field("count", type_oid=20)]))
    shape = scene.port.shapes[-1]
    assert isinstance(shape, RowShape)
    assert [(column.origin, column.sources) for column in shape.columns] == [
        ("public.customers.email", frozenset({"public.customers.email"})),
        (None, frozenset({"public.customers.email"})),
        (None, frozenset()),
    ]
