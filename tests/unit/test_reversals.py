"""Reversals: counted once each, and only where it is certain that an older identifier came back."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from keysteward.decide.reversals import COUNTED_FOR, Reversals, note_reversal
from keysteward.facts import Unknown
from keysteward.vocabulary import Cloud, KeyIdentifier
from tests.builders import KEY, NOW, V1, V2, V3, a_version, versions

ALL = versions(a_version(V1, age_days=100), a_version(V2, age_days=10), a_version(V3, age_days=1))
FIRST, SECOND, THIRD = (KEY.with_version(v) for v in (V1, V2, V3))
UNREAD = Unknown("HTTP_503", "503")


def _run(*seen: KeyIdentifier | None) -> Reversals:
    state = Reversals()
    for minutes, in_use in enumerate(seen):
        state = note_reversal(state, in_use, ALL, NOW + timedelta(minutes=minutes))
    return state


def test_the_first_look_is_no_reversal() -> None:
    assert _run(FIRST) == Reversals(FIRST)


def test_a_newer_identifier_is_no_reversal() -> None:
    assert _run(FIRST, THIRD) == Reversals(THIRD)


def test_an_older_identifier_counts_once_while_it_stays() -> None:
    assert _run(SECOND, FIRST, FIRST, FIRST) == Reversals(SECOND, standing=True, seen_at=(NOW + timedelta(minutes=1),))


def test_it_counts_again_after_the_newer_one_had_come_back() -> None:
    found = _run(SECOND, FIRST, SECOND, FIRST)
    assert len(found.seen_at) == 2
    assert found.standing


def test_our_own_push_makes_the_next_reversal_count() -> None:
    once = _run(SECOND, FIRST).taken(SECOND)
    again = note_reversal(once, FIRST, ALL, NOW + timedelta(minutes=9))
    assert len(again.seen_at) == 2


def test_a_step_back_to_a_version_in_between_counts() -> None:
    assert len(_run(THIRD, SECOND).seen_at) == 1


def test_what_cannot_be_told_is_no_reversal() -> None:
    before = Reversals(SECOND)
    for in_use, read in ((FIRST, UNREAD), (None, ALL), (FIRST, versions(a_version(V1), a_version(V3)))):
        assert note_reversal(before, in_use, read, NOW) == before


def test_an_identifier_without_a_version_in_the_place_of_a_pinned_one_counts_once() -> None:
    assert len(_run(SECOND, KEY, KEY).seen_at) == 1
    assert len(_run(SECOND, KEY, SECOND, KEY).seen_at) == 2
    assert _run(KEY, KEY) == Reversals()


def test_the_newest_that_somebody_else_wrote_is_taken_in_although_only_that_one_was_read() -> None:
    found = note_reversal(Reversals(FIRST), THIRD, versions(a_version(V3, age_days=1), complete=False), NOW)
    assert found == Reversals(THIRD)
    assert len(note_reversal(found, FIRST, ALL, NOW).seen_at) == 1


def test_another_key_starts_anew() -> None:
    other = KeyIdentifier("kv-acme-cmk", Cloud.PUBLIC, "another", V1)
    assert note_reversal(_run(SECOND, FIRST), other, ALL, NOW) == Reversals(other)


def test_a_reversal_is_forgotten_after_24_hours() -> None:
    found = note_reversal(_run(SECOND, FIRST), FIRST, ALL, NOW + timedelta(minutes=1) + COUNTED_FOR)
    assert found.seen_at == ()
    assert found.standing


@given(st.lists(st.sampled_from([FIRST, SECOND, THIRD, KEY, None]), max_size=30))
def test_there_are_never_more_reversals_than_changes_to_an_older_identifier(seen: list[KeyIdentifier | None]) -> None:
    changes = [i for i in seen if i is not None]
    order = {KEY: 0, FIRST: 1, SECOND: 2, THIRD: 3}
    steps_back = sum(order[after] < order[before] for before, after in pairwise(changes))
    assert len(_run(*seen).seen_at) <= steps_back
