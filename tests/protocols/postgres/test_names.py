"""Names while upstream has not answered: what was given, what failed, what must wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock.protocols.postgres.names import NAMES_MAX, Names, Rename


def test_the_last_word_counts_and_a_failure_takes_back_its_own_only() -> None:
    names: Names[str] = Names()
    names.put("s", "old")
    first, second = names.rename("s", "first", 1), names.rename("s", "second", 1)
    assert names.get("s") == "second"
    first.drop()
    assert names.get("s") == "second"
    second.drop()
    assert names.get("s") == "old"


def test_a_name_of_an_earlier_pipeline_is_unsure_until_it_is_answered() -> None:
    names: Names[str] = Names()
    change = names.rename("s", "new", 1)
    assert not names.unsure(1, "s") and names.unsure(2, "s") and names.unsure(2)
    assert not names.unsure(2, "other")
    own = names.rename("s", "newer", 2)
    assert not names.unsure(2, "s"), "if this one fails, what uses it is skipped as well"
    own.drop()
    change.keep()
    assert names.get("s") == "new" and not names.unsure(2)


def test_gone_names_and_those_that_outlive() -> None:
    names: Names[str] = Names()
    for name in ("stays", "goes", "closed"):
        names.put(name, name)
    names.rename("closed", None, 1).keep()
    names.retain(lambda value: value == "stays")
    assert [names.get(name) for name in ("stays", "goes", "closed")] == ["stays", None, None]
    names.clear()
    assert names.get("stays") is None


def test_a_view_changes_nothing() -> None:
    names: Names[str] = Names()
    names.put("s", "old")
    view = Names(names)
    view.put("s", "new")
    view.put("t", "other")
    assert (view.get("s"), names.get("s"), names.get("t")) == ("new", "old", None)
    view.put("s", None)
    assert (view.get("s"), names.get("s")) == (None, "old")
    view.clear()
    assert names.get("s") == "old"


def test_the_number_of_names_is_bounded() -> None:
    names: Names[int] = Names()
    for n in range(NAMES_MAX + 5):
        names.put(str(n), n)
    assert names.full and names.get(str(NAMES_MAX)) is None
    names.put("3", 33)
    assert names.get("3") == 33


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9) | st.none(), st.booleans()), max_size=12))
def test_answers_in_order_give_what_upstream_has(changes: list[tuple[str, int | None, bool]]) -> None:
    names: Names[int] = Names()
    upstream: dict[str, int | None] = {}
    renames: list[tuple[Rename[int], bool]] = [(names.rename(name, value, 1), good) for name, value, good in changes]
    for change, good in renames:
        if good:
            change.keep()
            upstream[change.name] = change.value
        else:
            change.drop()
    assert all(names.get(name) == upstream.get(name) for name in "ab")
    assert not names.unsure(2)
