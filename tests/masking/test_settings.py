from __future__ import annotations

import pytest

from interlock.errors import ConfigError
from interlock.exchange import Resource
from interlock.masking import Masking, MaskingConfig

KEY = b"0123456789abcdef"
DB = Resource("db", "postgres")


def test_misspelt_names_are_errors() -> None:
    with pytest.raises(ConfigError, match="redcat"):
        MaskingConfig({"email": "redcat"})
    with pytest.raises(ConfigError, match="e-mail"):
        MaskingConfig(detectors=("e-mail",))


def test_enabled_detectors_decide_what_can_be_detected() -> None:
    assert Masking(MaskingConfig(detectors=("us-ssn", "email")), KEY).detected(DB) == {"ssn", "email"}
    assert Masking(MaskingConfig(detectors=()), KEY).detected(DB) == frozenset()
    assert Masking(MaskingConfig(), KEY).detected(DB) == {"email", "card", "ssn", "phone", "iban", "ipv4", "jwt", "api_key"}


def test_a_short_key_is_an_error_and_the_key_never_shows() -> None:
    with pytest.raises(ConfigError) as caught:
        Masking(MaskingConfig(), b"short")
    assert "short" not in str(caught.value).replace("too short", "")
    assert KEY.decode() not in repr(Masking(MaskingConfig(), KEY))
