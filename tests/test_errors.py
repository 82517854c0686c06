"""The tree of failures is what its docstring draws, and each says a sentence."""

from __future__ import annotations

import inspect
import re

import pytest

from interlock import errors
from interlock.errors import ConfigError, InterlockError, ProtocolError

CLASSES = {name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__}


def test_the_drawing_names_every_error_and_no_other() -> None:
    drawn = set(re.findall(r"^(?:[├└]── )?(\w+Error)\b", errors.__doc__ or "", re.MULTILINE))
    assert drawn == set(CLASSES)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"InterlockError"}))
def test_every_error_is_an_interlock_error_with_a_docstring(name: str) -> None:
    assert issubclass(CLASSES[name], InterlockError)
    assert CLASSES[name].__doc__ not in (None, InterlockError.__doc__)


def test_the_message_is_the_sentence_and_the_hint_stands_apart() -> None:
    error = InterlockError("the disk is full", hint="free some space")
    assert (str(error), error.message, error.hint) == ("the disk is full", "the disk is full", "free some space")


def test_a_config_error_begins_with_its_place() -> None:
    assert str(ConfigError("unknown key", place="interlock.yaml:7")) == "interlock.yaml:7: unknown key"
    assert str(ConfigError("unknown key")) == "unknown key"


def test_a_protocol_error_says_whose_fault_it_was() -> None:
    assert ProtocolError("message too long", fault="upstream").fault == "upstream"
