"""What may be reached, and with which credential."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import ResourceError
from interlock.exchange import Resource
from interlock.resources import Registry

ORDERS = Resource("orders-db", "postgres", settings={"username": "interlock", "password": "env:ORDERS_PASSWORD"})


def test_a_resource_is_found_by_its_exact_name() -> None:
    registry = Registry([ORDERS])
    assert registry.find("orders-db") is ORDERS
    assert (registry.names(), registry.all()) == (("orders-db",), (ORDERS,))


@pytest.mark.parametrize("name", ["orders", "ORDERS-DB", "orders-db ", "", "interlock", "orders-db/shop"])
def test_an_unknown_name_teaches_nothing(name: str) -> None:
    errors = []
    for registry in (Registry([ORDERS]), Registry([])):
        with pytest.raises(ResourceError) as caught:
            registry.find(name)
        errors.append((caught.value.message, caught.value.hint))
    assert errors[0] == errors[1]
    assert "orders" not in str(errors)


def test_a_credential_is_read_when_it_is_needed_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry([ORDERS])
    for value in ("first-secret", "second-secret"):
        monkeypatch.setenv("ORDERS_PASSWORD", value)
        credential = registry.credential(ORDERS)
        assert (credential.username, credential.password) == ("interlock", value)
        assert value not in repr(credential) + str(credential) + f"{[credential]}"


def test_a_credential_that_cannot_be_read_names_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORDERS_PASSWORD", raising=False)
    with pytest.raises(ResourceError, match="env:ORDERS_PASSWORD"):
        Registry([ORDERS]).credential(ORDERS)


def test_a_resource_without_password_has_an_empty_one() -> None:
    resource = Resource("r", "postgres", settings={"username": "u", "password": ""})
    assert Registry([resource]).credential(resource).password == ""


def test_a_bearer_token_is_the_password(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    resource = Resource("r", "mcp", settings={"url": "http://x", "token": f"file:{tmp_path / 'token'}"})
    assert Registry([resource]).credential(resource).password == "abc"


def test_the_environment_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "value")
    resource = Resource("r", "mcp", settings={"command": ("x",), "environment": {"A": "env:KEY", "B": "plain:b"}})
    assert Registry([resource]).environment(resource) == {"A": "value", "B": "b"}
    assert Registry([]).environment(ORDERS) == {}
