"""psql through the gateway: what people type, what they see, and what stays hidden."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.protocols.postgres import wire
from tests.live.gateway import WAIT_S, Gateway
from tests.tls_front import Certificates, TlsFront

CLOSED = """@id("closed") @reason("closed today")
forbid (principal, action == Action::"sql.select", resource == Table::"orders-db/public.orders");"""


@pytest.fixture(scope="module", autouse=True)
def tables(postgres: EmbeddedPostgres, gateway: Gateway) -> Iterator[None]:
    """Tables that may be changed, next to the shop."""
    postgres.run(
        """CREATE TABLE people (id int PRIMARY KEY, name text, email text UNIQUE);
        INSERT INTO people SELECT n, 'person ' || n, 'person' || n || '@hidden.example' FROM generate_series(1, 20) n;
        CREATE VIEW contacts AS SELECT id, upper(email) AS contact, name FROM people;
        CREATE TABLE notes (id int, note text);"""
    )
    gateway.learn()
    yield
    postgres.run("DROP TABLE people, notes CASCADE")


def clear(text: str) -> bool:
    """Whether a made-up address, or any of its parts, can be read in it."""
    return "hidden.example" in text.lower()


# -- everyday ----------------------------------------------------------------------------------------------------------


def test_lists_and_descriptions(gateway: Gateway) -> None:
    assert "public|customers|table|interlock" in gateway.psql("-c", r"\d")
    described = gateway.psql("-P", "tuples_only=off", "-c", r"\d customers")
    assert "email|text||not null|" in described and "customers_pkey" in described
    assert "contacts" in gateway.psql("-c", r"\dv")
    assert "ERROR" not in gateway.psql("-c", r"\dt+", "-c", r"\du", "-c", r"\l", "-c", r"\df", "-c", r"\dn")


def test_copy_both_ways(gateway: Gateway) -> None:
    assert gateway.psql("-c", r"\copy notes from stdin", stdin="1\tone\n2\ttwo\n\\.\n") == "COPY 2\n"
    assert gateway.sql("SELECT string_agg(note, ',' ORDER BY id) FROM notes") == "one,two"
    assert gateway.psql("-c", r"\copy (select id, note from notes order by id) to stdout") == "1\tone\n2\ttwo\n"
    assert "invalid input syntax" in gateway.psql("-c", r"\copy notes from stdin", "-c", "select 'goes on'", stdin="x\tone\n\\.\n")


def test_a_transaction_with_a_cursor(gateway: Gateway) -> None:
    out = gateway.psql(
        "-c", "BEGIN", "-c", "DECLARE c CURSOR FOR SELECT id, email FROM people ORDER BY id", "-c", "FETCH 2 FROM c", "-c", "COMMIT"
    )
    assert [line.split("|")[0] for line in out.splitlines()] == ["BEGIN", "DECLARE CURSOR", "1", "2", "COMMIT"]
    assert not clear(out)


def test_fetch_count_uses_a_cursor_of_psql(gateway: Gateway) -> None:
    out = gateway.psql("-v", "FETCH_COUNT=3", "-c", "SELECT id, email FROM people ORDER BY id LIMIT 10")
    assert len(out.splitlines()) == 10 and not clear(out)


def test_errors_look_as_from_the_server(gateway: Gateway) -> None:
    assert 'relation "nothing" does not exist' in gateway.psql("-c", "SELECT * FROM nothing")
    out = gateway.psql("-c", "SELECT 1 FORM x")
    assert 'syntax error at or near "x"' in out and "^" in out
    assert gateway.psql("-c", "SELECT 1/0", "-c", "SELECT 'goes on'").endswith("goes on\n")


# -- what stays hidden -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "SELECT email FROM people",
        "SELECT email AS name FROM people",
        "SELECT p.email FROM people p",
        "SELECT * FROM people",
        "SELECT upper(email) FROM people",
        "SELECT email || '!' FROM people",
        "SELECT substr(email, 1, 200) FROM people",
        "SELECT e FROM (SELECT email AS e FROM people) x",
        "WITH x AS (SELECT email AS e FROM people) SELECT e FROM x",
        "SELECT email FROM people UNION SELECT name FROM people",
        "SELECT (SELECT email FROM people LIMIT 1)",
        "SELECT max(email), string_agg(email, ',') FROM people",
        "SELECT array_agg(email) FROM people",
        "SELECT people FROM people",
        "SELECT row_to_json(p) FROM people p",
        "SELECT to_jsonb(p) -> 'email' FROM people p",
        "SELECT CASE WHEN id > 0 THEN email END FROM people",
        "SELECT coalesce(email, name) FROM people",
        "SELECT contact FROM contacts",
        "SELECT encode(convert_to(email, 'UTF8'), 'escape') FROM people",
        "INSERT INTO people SELECT 1000, 'x', 'x@hidden.example' RETURNING email",
        "UPDATE people SET name = name WHERE id = 1 RETURNING email, *",
        "DELETE FROM people WHERE id = 1000 RETURNING upper(email)",
        "COPY people TO STDOUT",
        "COPY people (email) TO STDOUT (FORMAT csv)",
        "COPY (SELECT upper(email) FROM people) TO STDOUT (FORMAT binary)",
        "EXPLAIN ANALYZE SELECT email FROM people",
        "EXPLAIN (FORMAT json) SELECT * FROM people WHERE email = 'a'",
        "PREPARE s AS SELECT email FROM people; EXECUTE s",
        "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'people'",
        "TABLE people",
        "SELECT set_config('application_name', email, false) FROM people",
    ],
)
def test_an_email_never_shows(gateway: Gateway, query: str) -> None:
    gateway.sql("ANALYZE people")
    assert not clear(gateway.psql("-c", query))
    assert "ERROR:  the gateway failed" not in gateway.psql("-c", query)


def test_it_shows_to_whom_policy_reveals_it(gateway: Gateway) -> None:
    assert clear(gateway.psql("-c", "SELECT email FROM people", principal="dana"))
    assert clear(gateway.psql("-c", "COPY people TO STDOUT", principal="dana"))


def test_what_is_not_sensitive_is_left_as_it_is(gateway: Gateway) -> None:
    assert gateway.psql("-c", "SELECT id, name FROM people WHERE id = 3") == "3|person 3\n"
    assert gateway.psql("-c", "SELECT count(*), max(id) FROM people WHERE id <= 20") == "20|20\n"


def test_comparing_is_a_right_of_its_own(gateway: Gateway) -> None:
    assert gateway.psql("-c", "SELECT id FROM people WHERE email = 'person3@hidden.example'") == "3\n"
    assert "ERROR" in gateway.psql("-c", "SELECT id FROM people WHERE email LIKE 'person3%'")


def test_errors_do_not_tell_values(gateway: Gateway) -> None:
    out = gateway.psql("-c", "INSERT INTO people SELECT 99, 'x', (SELECT email FROM people WHERE id = 7)")
    assert "people_email_key" in out and "(email)=([masked])" in out and not clear(out)
    assert not clear(gateway.psql("-c", "SELECT email::int FROM people"))


def test_a_table_made_of_hidden_data_needs_a_right(gateway: Gateway) -> None:
    for text in (
        "CREATE TABLE stolen AS SELECT email FROM people",
        "SELECT email INTO stolen FROM people",
        "CREATE TEMP TABLE t AS TABLE people",
    ):
        assert "ERROR" in gateway.psql("-c", text)
    assert gateway.sql("SELECT to_regclass('stolen') IS NULL") == "t"


def test_new_definitions_are_learned_at_once(gateway: Gateway) -> None:
    try:
        out = gateway.psql(
            "-c",
            "CREATE VIEW shouted AS SELECT upper(email) || '!' AS x FROM people",
            "-c",
            "SELECT x FROM shouted LIMIT 1",
            principal="bob",
        )
        assert out.startswith("CREATE VIEW\n") and not clear(out)
        assert not clear(gateway.psql("-c", "SELECT x FROM shouted LIMIT 1"))
    finally:
        gateway.sql("DROP VIEW IF EXISTS shouted")


def test_a_refusal_names_the_rule(gateway: Gateway) -> None:
    out = gateway.psql("-c", "DROP TABLE people", "-c", "SELECT 'goes on'", "-v", "VERBOSITY=verbose", principal="claude")
    assert "ERROR:  42501: agents do not change the schema" in out
    assert "DETAIL:  rule: no-ddl" in out and "HINT:  Ask bob (dba)." in out and out.endswith("goes on\n")
    assert gateway.sql("SELECT count(*) > 0 FROM people") == "t"


def test_a_refusal_in_a_transaction_aborts_it(gateway: Gateway) -> None:
    script = "BEGIN;\nINSERT INTO notes VALUES (50, 'never');\nDROP TABLE people;\nSELECT 1;\nCOMMIT;\nSELECT 'goes on';\n"
    out = gateway.psql(stdin=script)
    assert "no rule permits sql.ddl" in out and "current transaction is aborted" in out and "ROLLBACK" in out and out.endswith("goes on\n")
    assert gateway.sql("SELECT count(*) FROM notes WHERE id = 50") == "0"


def background(gateway: Gateway, *arguments: str, **more: str) -> tuple[threading.Thread, list[str]]:
    """psql on a thread, and where its words will be."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(gateway.psql(*arguments, **more)))  # type: ignore[arg-type]
    thread.start()
    return thread, said


def test_a_delete_without_where_waits_for_people(gateway: Gateway) -> None:
    gateway.sql("INSERT INTO notes VALUES (60, 'goes')")
    thread, said = background(gateway, "-c", "DELETE FROM notes", "-c", "SELECT 'goes on'")
    request = gateway.held("DELETE FROM notes")
    assert gateway.sql("SELECT count(*) > 0 FROM notes") == "t"
    gateway.decide(request, True)
    thread.join(WAIT_S)
    assert f"NOTICE:  held: waiting for approval {request.id} by dba" in said[0]
    assert "DELETE" in said[0] and said[0].endswith("goes on\n")
    assert gateway.sql("SELECT count(*) FROM notes") == "0"


def test_people_say_no(gateway: Gateway) -> None:
    gateway.sql("INSERT INTO notes VALUES (61, 'stays')")
    thread, said = background(gateway, "-c", "UPDATE notes SET note = 'x'", "-c", "SELECT 'goes on'", "-v", "VERBOSITY=verbose")
    gateway.decide(gateway.held("UPDATE notes"), False)
    thread.join(WAIT_S)
    assert "42501" in said[0] and "was refused by bob" in said[0] and said[0].endswith("goes on\n")
    assert gateway.sql("SELECT note FROM notes WHERE id = 61") == "stays"


def test_held_inside_a_transaction(gateway: Gateway) -> None:
    gateway.sql("DELETE FROM notes; INSERT INTO notes VALUES (62, 'stays')")
    script = "BEGIN;\nINSERT INTO notes VALUES (63, 'new');\nDELETE FROM notes;\nROLLBACK;\nSELECT count(*) FROM notes;\n"
    thread, said = background(gateway, stdin=script)
    gateway.decide(gateway.held("DELETE FROM notes"), True)
    thread.join(WAIT_S)
    assert "DELETE 2" in said[0] and said[0].endswith("ROLLBACK\n1\n")


def test_execute_is_held_for_what_it_runs(gateway: Gateway) -> None:
    gateway.sql("INSERT INTO notes VALUES (64, 'stays')")
    thread, said = background(gateway, "-c", "PREPARE s AS DELETE FROM notes; EXECUTE s", "-c", "SELECT 'goes on'")
    gateway.decide(gateway.held("DELETE FROM notes"), False)
    thread.join(WAIT_S)
    assert "was refused by bob" in said[0]
    assert gateway.sql("SELECT count(*) FROM notes WHERE id = 64") == "1"


# -- who gets in -------------------------------------------------------------------------------------------------------


def test_logins_that_are_refused(gateway: Gateway) -> None:
    ask = ("-c", "SELECT 'in'")
    wrong = gateway.psql(*ask, token="il_wrong")
    assert "FATAL" in wrong and "in\n" not in wrong.splitlines()
    assert "FATAL" in gateway.psql(*ask, token=gateway.fresh_token("alice", "mcp"))
    assert "FATAL" in gateway.psql(*ask, principal="bob", token=gateway.token("alice"))
    assert "no such resource" in gateway.psql(*ask, database="nowhere")


def test_without_a_right_to_connect(gateway: Gateway) -> None:
    assert "FATAL:  no rule permits connect" in gateway.psql("-c", "SELECT 1", principal="nobody")
    assert "FATAL:  no rule permits connect" in gateway.psql("-c", "SELECT 1", database="elsewhere")


def test_another_database_of_the_resource(gateway: Gateway) -> None:
    gateway.server.run("CREATE DATABASE annex OWNER interlock", superuser=True)
    assert gateway.psql("-c", "SELECT current_database()", database="orders-db/annex") == "annex\n"
    assert "does not exist" in gateway.psql("-c", "SELECT 1", database="orders-db/nowhere")


def test_settings_at_login_are_an_allow_list(gateway: Gateway) -> None:
    assert gateway.psql("-c", "SHOW statement_timeout", more={"PGOPTIONS": "-c statement_timeout=7s"}) == "7s\n"
    assert "is not allowed" in gateway.psql("-c", "SELECT 1", more={"PGOPTIONS": "-c role=postgres"})


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


def test_control_c_cancels_what_runs(gateway: Gateway) -> None:
    command: list[str | Path] = [gateway.server.psql, "-X", "-c", "SELECT pg_sleep(60)", "-c", "SELECT 'goes on'"]
    psql = subprocess.Popen(command, env=gateway.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    gateway.until(lambda: sleeping(gateway))
    psql.send_signal(signal.SIGINT)
    out, _ = psql.communicate(timeout=WAIT_S)
    assert "canceling statement due to user request" in out
    assert not sleeping(gateway)


def sleeping(gateway: Gateway) -> bool:
    found = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    return gateway.sql(found) != "0"


def test_a_cancel_request_with_a_wrong_key_does_nothing(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        pid = connection.info.backend_pid
        done = threading.Event()

        def sleep() -> None:
            connection.execute("SELECT pg_sleep(1.5)")
            done.set()

        thread = threading.Thread(target=sleep)
        thread.start()
        for key in (b"\0\0\0\0", b"\1" * 32):
            with socket.create_connection(("127.0.0.1", gateway.port)) as stranger:
                stranger.sendall(wire.cancel_request(pid, key))
                assert stranger.recv(1) == b""
        thread.join(WAIT_S)
        assert done.is_set(), "it was not cancelled"


def test_control_c_withdraws_what_is_held(gateway: Gateway) -> None:
    gateway.sql("INSERT INTO notes VALUES (70, 'stays')")
    with gateway.connect() as connection:
        caught: list[BaseException] = []

        def delete() -> None:
            try:
                connection.execute("DELETE FROM notes")
            except psycopg.Error as error:
                caught.append(error)

        thread = threading.Thread(target=delete)
        thread.start()
        request = gateway.held("DELETE FROM notes")
        connection.cancel_safe()
        thread.join(WAIT_S)
        assert isinstance(caught[0], psycopg.errors.QueryCanceled)
        assert gateway.run(gateway.app.approvals.get(request.id)).state == "withdrawn"
        assert connection.execute("SELECT count(*) FROM notes WHERE id = 70").fetchone() == (1,)


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_tls_to_clients_and_to_upstream(
    postgres: EmbeddedPostgres, postgres_tls: TlsFront, certificates: Certificates, tmp_path: Path
) -> None:
    tls = f", tls: {{certificate: {certificates.certificate}, key: {certificates.key}}}"
    ends = {"upstream_tls": f"verify\n    ca: {certificates.ca}", "client_tls": tls}
    with Gateway(tmp_path, postgres, host="localhost", port=postgres_tls.port, plaintext=False, **ends) as gateway:  # type: ignore[arg-type]
        with gateway.connect(host="localhost", sslmode="verify-full", sslrootcert=str(certificates.ca)) as connection:
            assert connection.pgconn.ssl_in_use
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (400,)
            threading.Timer(0.3, connection.cancel_safe).start()
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(60)")
        with pytest.raises(psycopg.OperationalError, match="under TLS only"):
            gateway.connect(sslmode="disable")
        with socket.create_connection(("127.0.0.1", gateway.port)) as injector:
            injector.sendall(wire.ssl_request() + wire.startup({"user": "alice", "database": "orders-db"}))
            assert injector.recv(100) == b"", "bytes before the handshake end the connection"


# -- trust -------------------------------------------------------------------------------------------------------------


def test_revocation_ends_an_open_session_and_what_it_runs(gateway: Gateway) -> None:
    token = gateway.fresh_token("alice")
    command: list[str | Path] = [gateway.server.psql, "-X", "-c", "SELECT pg_sleep(60)"]
    psql = subprocess.Popen(command, env=gateway.environment(token=token), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    gateway.until(lambda: sleeping(gateway))
    gateway.revoke(token)
    out, _ = psql.communicate(timeout=WAIT_S)
    assert "FATAL:  the token of alice is revoked" in out
    gateway.until(lambda: not sleeping(gateway))
    assert "FATAL" in gateway.psql("-c", "SELECT 1", token=token)


def test_a_new_policy_holds_for_the_next_statement(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Gateway(tmp_path_factory.mktemp("policy"), postgres) as gateway:
        with gateway.connect() as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone()
            before = gateway.app.policy.current.version
            gateway.policy.write_text(gateway.policy.read_text() + CLOSED)
            gateway.until(lambda: gateway.app.policy.current.version != before)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="closed today"):
                connection.execute("SELECT count(*) FROM orders")
            gateway.policy.write_text("permit (nonsense")
            gateway.until(lambda: gateway.app.policy.error)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="closed today"):
                connection.execute("SELECT count(*) FROM orders")
            assert connection.execute("SELECT count(*) FROM customers").fetchone()


# -- size --------------------------------------------------------------------------------------------------------------


def test_a_large_result_in_constant_memory(gateway: Gateway) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    query = "SELECT n, repeat('x', 300) FROM generate_series(1, 200000) n"
    command: list[str | Path] = [gateway.server.psql, "-X", "-At", "-v", "FETCH_COUNT=10000", "-c", query]
    before = resident()
    psql = subprocess.Popen(command, env=gateway.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert psql.stdout is not None
    time.sleep(1)  # a slow reader: the gateway must not gather what it does not take
    most, lines = resident(), 0
    for lines, _ in enumerate(psql.stdout, 1):
        if lines % 20_000 == 0:
            most = max(most, resident())
    assert psql.wait(WAIT_S) == 0 and lines == 200_000
    assert most - before < 60 * 1024 * 1024, "the result has 66 MB"


def test_a_message_over_the_limit_is_never_forwarded(gateway: Gateway) -> None:
    connection = gateway.connect()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("INSERT INTO notes VALUES (%s, %s)", (90, "x" * 1_100_000))
    connection.close()
    assert gateway.sql("SELECT count(*) FROM notes WHERE id = 90") == "0"


def test_a_message_of_almost_the_limit_passes(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        connection.execute("INSERT INTO notes VALUES (%s, %s)", (91, "x" * 1_000_000))
    assert gateway.sql("SELECT length(note) FROM notes WHERE id = 91") == "1000000"
