"""Every detector carries its own examples and counter-examples; both engines must agree on all of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.masking.detectors import DETECTORS, SEPARATOR, Detector
from interlock.masking.scanner import Scanner, compile_pattern

EXAMPLES = [(detector, text) for detector in DETECTORS for text in detector.examples]
COUNTER_EXAMPLES = [(detector, text) for detector in DETECTORS for text in detector.counter_examples]
ALL = {engine: Scanner(DETECTORS, engine) for engine in ("re2", "re")}
FIXTURES = [text for _, text in EXAMPLES + COUNTER_EXAMPLES]


def name(value: object) -> str:
    return value.id if isinstance(value, Detector) else repr(value)[:30]


@pytest.mark.parametrize(("detector", "text"), EXAMPLES, ids=name)
def test_an_example_is_found(detector: Detector, text: str) -> None:
    found = Scanner([detector]).scan([text], [""])
    assert [finding.data_class for finding in found[0]] == [detector.data_class]


@pytest.mark.parametrize(("detector", "text"), COUNTER_EXAMPLES, ids=name)
def test_a_counter_example_is_not_found(detector: Detector, text: str) -> None:
    assert Scanner([detector]).scan([text], [""]) == {}


def test_each_detector_has_both_and_ids_are_unique() -> None:
    assert all(detector.examples and detector.counter_examples for detector in DETECTORS)
    assert len({detector.id for detector in DETECTORS}) == len(DETECTORS)


@pytest.mark.parametrize("detector", DETECTORS, ids=name)
def test_no_pattern_reaches_across_cells_or_captures(detector: Detector) -> None:
    assert re.compile(detector.pattern).groups == 0
    for text in detector.examples:
        data = text.encode()
        for cut in range(len(data) + 1):
            buffer = data[:cut] + SEPARATOR + data[cut:]
            match = compile_pattern(detector.pattern, "re2").search(buffer)
            assert match is None or SEPARATOR not in buffer[slice(*match.span())]


def test_engines_agree_on_all_fixtures_alone_and_in_one_batch() -> None:
    for text in FIXTURES:
        assert ALL["re2"].scan([text], [""]) == ALL["re"].scan([text], [""])
        assert ALL["re2"].scan_binary([text.encode()]) == ALL["re"].scan_binary([text.encode()])
        assert ALL["re2"].suspect(text) == ALL["re"].suspect(text)
    assert ALL["re2"].scan(FIXTURES, [""]) == ALL["re"].scan(FIXTURES, [""])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([*FIXTURES, " ", "-", ".", "4111", "é", "0", "x", "@", "+1", "\\", "\x1e"]), max_size=4).map("".join),
        min_size=1,
        max_size=6,
    )
)
def test_engines_agree_on_mixtures_and_a_batch_finds_what_single_cells_give(texts: list[str]) -> None:
    batch = ALL["re2"].scan(texts, [""])
    assert batch == ALL["re"].scan(texts, [""])
    for index, text in enumerate(texts):
        if "\x1e" not in text:
            assert batch.get(index) == ALL["re2"].scan([text], [""]).get(0)


def test_a_column_name_is_context() -> None:
    scanner = Scanner(DETECTORS)
    assert scanner.scan(["536904399"], ["ssn"])[0][0].data_class == "ssn"
    assert scanner.scan(["4155552671"], ["customer_phone"])[0][0].data_class == "phone"
    assert scanner.scan(["536904399", "4155552671"], ["id"]) == {}
    assert scanner.scan(["4155552671"], ["phone_id"]) == {}


def test_context_does_not_reach_into_the_next_cell() -> None:
    assert Scanner(DETECTORS).scan(["ssn", "536904399"], ["note"]) == {}
    assert 0 in Scanner(DETECTORS).scan(["ssn 536904399"], ["note"])
