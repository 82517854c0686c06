"""How clients prove who they are: SCRAM with connection secrets, channel binding, and TLS client certificates."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.live.gateway import WAIT_S, Gateway
from tests.tls_front import Certificates, make_certificates, make_client_certificate, tls_between

PSQL_15 = Path("/usr/lib/postgresql/15/bin/psql")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres) -> Iterator[Gateway]:
    """No TLS at all, and no token may come: SCRAM only."""
    door = ", auth: scram, scram_without_tls: true"
    tls = make_certificates(tmp_path_factory.mktemp("http"))
    with Gateway(
        tmp_path_factory.mktemp("plain"),
        postgres,
        door=door,
        plaintext=False,
        http_tls=f", tls: {{certificate: {tls.certificate}, key: {tls.key}}}",
    ) as running:
        yield running


def tls(certificates: Certificates, more: str = "") -> str:
    return f", tls: {{certificate: {certificates.certificate}, key: {certificates.key}{more}}}"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, certificates: Certificates) -> Iterator[Gateway]:
    """TLS; whoever has a connection secret uses it, others a token."""
    folder = tmp_path_factory.mktemp("both")
    with Gateway(folder, postgres, http_tls=tls(certificates), door=tls(certificates) + ", auth: both", plaintext=False) as running:
        yield running


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, certificates: Certificates) -> Iterator[Gateway]:
    """TLS; a client certificate of the test CA is enough."""
    folder = tmp_path_factory.mktemp("certified")
    door = tls(certificates, f", client_ca: {certificates.ca}")
    with Gateway(folder, postgres, http_tls=tls(certificates), door=door, plaintext=False) as running:
        yield running


def verified(certificates: Certificates) -> dict[str, Any]:
    return {"sslmode": "verify-full", "sslrootcert": str(certificates.ca), "host": "localhost"}


# -- SCRAM without TLS -------------------------------------------------------------------------------------------------


def test_libpq_by_scram_without_tls(plain: Gateway) -> None:
    with plain.connect(token=plain.secret("alice"), require_auth="scram-sha-256") as connection:
        assert connection.execute("SELECT count(*) > 0 FROM customers").fetchone() == (True,)
        (proof,) = plain.proofs()
        assert proof.startswith("scram:")


def test_asyncpg_by_scram_without_tls(plain: Gateway) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(plain.dsn(token=plain.secret("alice")), timeout=WAIT_S)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close(timeout=WAIT_S)

    asyncio.run(run())


def test_psql_by_scram_without_tls(plain: Gateway) -> None:
    assert plain.psql("-c", "SELECT 1", token=plain.secret("alice"), more={"PGREQUIREAUTH": "scram-sha-256"}) == "1\n"


def test_who_is_not_known_hears_the_same_as_who_is_wrong(plain: Gateway) -> None:
    """The steps are the same too: libpq insists on SCRAM in each case, and gets it."""
    secret = plain.secret("alice")
    said = set()
    for user, shown in (("alice", secret[:-1] + "?"), ("alice", plain.token("alice")), ("mallory", secret), ("bob", secret)):
        with pytest.raises(psycopg.OperationalError) as caught:
            plain.connect(user, token=shown, require_auth="scram-sha-256")
        said.add(str(caught.value).split("FATAL")[1])
    assert len(said) == 1 and "not accepted" in said.pop()


def test_a_token_is_not_taken_without_tls(plain: Gateway) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"SCRAM|authentication method"):
        plain.connect(require_auth="password")


def test_a_revoked_secret_ends_its_sessions_and_logs_nobody_in(plain: Gateway) -> None:
    secret = plain.secret("bob")
    with plain.connect("bob", token=secret) as connection:
        plain.revoke(secret)
        with pytest.raises(psycopg.OperationalError):
            for _ in range(100):
                connection.execute("SELECT pg_sleep(0.05)")
    with pytest.raises(psycopg.OperationalError, match="not accepted"):
        plain.connect("bob", token=secret)


def test_a_new_secret_replaces_the_old_one(plain: Gateway) -> None:
    old = plain.secret("dana")
    with plain.connect("dana", token=old) as connection:
        new = plain.secret("dana")
        with pytest.raises(psycopg.OperationalError):
            for _ in range(100):
                connection.execute("SELECT 1")
                connection.execute("SELECT pg_sleep(0.05)")
    with plain.connect("dana", token=new) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="not accepted"):
        plain.connect("dana", token=old)


# -- under TLS, with channel binding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_libpq_binds_to_our_certificate(both: Gateway, certificates: Certificates, negotiation: str) -> None:
    more = {**verified(certificates), "sslnegotiation": negotiation, "channel_binding": "require"}
    with both.connect(token=both.secret("alice"), **more) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_libpq_may_leave_binding_out(both: Gateway, certificates: Certificates) -> None:
    with both.connect(token=both.secret("alice"), **verified(certificates), channel_binding="disable") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_asyncpg_by_scram_under_tls(both: Gateway, certificates: Certificates) -> None:
    async def run() -> None:
        context = ssl.create_default_context(cafile=str(certificates.ca))
        dsn = both.dsn(token=both.secret("alice")).replace("127.0.0.1", "localhost")
        connection = await asyncpg.connect(dsn, ssl=context, timeout=WAIT_S)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close(timeout=WAIT_S)

    asyncio.run(run())


@pytest.mark.skipif(not PSQL_15.exists(), reason="Debian's psql is not installed")
def test_an_older_psql_binds_too(both: Gateway, certificates: Certificates) -> None:
    """libpq 15: protocol 3.0, no direct TLS."""
    settings = {"PGHOST": "localhost", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(certificates.ca), "PGCHANNELBINDING": "require"}
    environment = both.environment(token=both.secret("alice")) | settings
    done = subprocess.run([PSQL_15, "-XAtc", "SELECT 1"], env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_whoever_has_no_secret_shows_a_token(both: Gateway, certificates: Certificates) -> None:
    with both.connect("dana", **verified(certificates)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert any(proof.startswith("token:") for proof in both.proofs())


def test_whoever_stands_between_is_found_out(both: Gateway, certificates: Certificates, tmp_path: Path) -> None:
    """Another TLS certificate on the way: the client's binding is to that one, and SCRAM fails."""
    evil = make_certificates(tmp_path)
    with tls_between("localhost", both.port, certificates.ca, evil) as front:
        secret = both.secret("alice")
        shape: dict[str, Any] = {"port": front.port, "sslmode": "require", "host": "localhost"}
        with pytest.raises(psycopg.OperationalError, match="not accepted"):
            both.connect(token=secret, **shape)
        with both.connect(token=secret, **shape, channel_binding="disable") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Alice's certificate."""
    made = make_client_certificate(certificates, tmp_path_factory.mktemp("alice"), "alice")
    return {**verified(certificates), "sslcert": str(made.certificate), "sslkey": str(made.key)}


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_a_certificate_is_enough(certified: Gateway, shown: dict[str, Any], negotiation: str) -> None:
    with certified.connect(token="unused", **shown, sslnegotiation=negotiation, require_auth="none") as connection:
        assert connection.execute("SELECT count(*) > 0 FROM customers").fetchone() == (True,)
        assert any(proof.startswith("cert:") for proof in certified.proofs())


def test_a_certificate_proves_its_own_name_only(certified: Gateway, shown: dict[str, Any]) -> None:
    with pytest.raises(psycopg.OperationalError):
        certified.connect("bob", token="unused", **shown)
    with certified.connect("bob", **shown) as connection:  # with bob's token: that is another proof
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_without_a_certificate_a_token_is_asked_for(certified: Gateway, certificates: Certificates) -> None:
    with certified.connect(**verified(certificates)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_certificate_of_another_ca_is_worth_nothing(certified: Gateway, certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    evil = make_client_certificate(make_certificates(tmp_path / "ca"), tmp_path, "alice")
    with pytest.raises(psycopg.OperationalError):
        certified.connect(**verified(certificates), sslcert=str(evil.certificate), sslkey=str(evil.key))


def test_the_text_of_a_certificate_is_no_password(certified: Gateway, shown: dict[str, Any], certificates: Certificates) -> None:
    """Certificates are public."""
    with certified.connect(token="unused", **shown) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    der = ssl.PEM_cert_to_DER_cert(Path(shown["sslcert"]).read_text())
    with pytest.raises(psycopg.OperationalError, match="not accepted"):
        certified.connect(token=base64.b64encode(der).decode(), **verified(certificates))


def test_revoking_the_principal_ends_what_its_certificate_opened(certified: Gateway, certificates: Certificates, tmp_path: Path) -> None:
    made = make_client_certificate(certificates, tmp_path, "nobody", email="dana")
    mine = {**verified(certificates), "sslcert": str(made.certificate), "sslkey": str(made.key)}
    with pytest.raises(psycopg.OperationalError, match=r"no right|not allowed|permit|denied"):
        certified.connect("nobody", token="unused", **mine)  # identified, but policy gives nobody nothing
    certified.run(certified.app.identity.revoke_principal("nobody"))
    with pytest.raises(psycopg.OperationalError, match="not accepted"):
        certified.connect("nobody", token="unused", **mine)


def test_required_means_required(postgres: EmbeddedPostgres, certificates: Certificates, shown: dict[str, Any], tmp_path: Path) -> None:
    door = tls(certificates, f", client_ca: {certificates.ca}, client_certificate: required") + ", auth: scram, scram_without_tls: true"
    with Gateway(tmp_path, postgres, http_tls=tls(certificates), door=door, plaintext=False) as gateway:
        secret = gateway.secret("alice")
        for settings in (verified(certificates), {"sslmode": "disable"}):
            with pytest.raises(psycopg.OperationalError):
                gateway.connect(token=secret, **settings)
        with gateway.connect(token="unused", **shown) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with gateway.connect("bob", token=gateway.secret("bob"), **shown) as connection:  # two factors: any certificate, bob's secret
            assert connection.execute("SELECT 1").fetchone() == (1,)
