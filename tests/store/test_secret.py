"""The gateway's secret: made once, kept private, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import ConfigError
from interlock.store.secret import GatewaySecret


def test_it_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first = GatewaySecret.load_or_create(tmp_path / "data")
    path = tmp_path / "data" / "keys" / "gateway.key"

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["gateway.key"]
    assert GatewaySecret.load_or_create(tmp_path / "data").key("identity") == first.key("identity")


def test_each_purpose_has_its_key(tmp_path: Path) -> None:
    secret = GatewaySecret.load_or_create(tmp_path)

    assert len({secret.key("identity"), secret.key("approval")}) == 2
    assert len(secret.key("identity")) == 32
    assert secret.key("identity").hex() not in repr(secret)


def test_a_damaged_one_is_not_replaced(tmp_path: Path) -> None:
    GatewaySecret.load_or_create(tmp_path)
    (tmp_path / "keys" / "gateway.key").write_bytes(b"short")

    with pytest.raises(ConfigError, match="damaged"):
        GatewaySecret.load_or_create(tmp_path)


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(ConfigError, match=r"gateway.key: the gateway's key cannot be read or made"):
        GatewaySecret.load_or_create(tmp_path / "data")
