"""Real servers for the live tests. With xdist every worker has its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.demo import shop
from interlock.demo.database import EmbeddedPostgres
from tests.live.gateway import Gateway
from tests.tls_front import Certificates, TlsFront, make_certificates, tls_front

CUSTOMERS = 400
ORDERS = 1_600


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL with a small shop of 2,000 rows. Tests that change it put it back, or make tables of their own."""
    with EmbeddedPostgres() as server:
        shop.load(server, CUSTOMERS, ORDERS)
        yield server


@pytest.fixture(scope="session")
def psql(postgres: EmbeddedPostgres) -> Path:
    """The wheel's psql (18, without TLS)."""
    return postgres.psql


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def postgres_tls(postgres: EmbeddedPostgres, certificates: Certificates) -> Iterator[TlsFront]:
    """The same server, behind TLS; trust `postgres_tls.ca`."""
    with tls_front(postgres.host, postgres.port, certificates) as front:
        yield front


@pytest.fixture(scope="session")
def gateway(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of the shop. Tests that change its policy, or fill it up, start one of their own."""
    with Gateway(tmp_path_factory.mktemp("gateway"), postgres) as running:
        yield running
