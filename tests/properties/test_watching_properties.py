"""Laws of the watch, however a key stands and stood."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import assume
from hypothesis import given as for_all
from hypothesis import strategies as st

from keysteward.decide.watching import KeySeen, differs, needs_current, seen_of
from keysteward.facts import Fact, Unknown
from keysteward.vocabulary import KeyVersion
from tests.builders import NOW, V1, V2, V3, a_version

times = st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(days=1)])


def version(name: str) -> st.SearchStrategy[KeyVersion]:
    return st.builds(a_version, st.just(name), enabled=st.booleans(), not_before=times, expires_at=times)


versions = st.sampled_from([V1, V2, V3]).flatmap(version)
codes = st.sampled_from(["ForbiddenByRbac", "KeyNotFound"])
passing = st.builds(Unknown, st.sampled_from(["HTTP_503", "vaultUnreachable", "pauseAskedFor"]), st.just("later"))
lasting = st.builds(Unknown, codes, st.just("no"), passing=st.just(False))
facts: st.SearchStrategy[Fact[KeyVersion]] = st.one_of(versions, passing, lasting)
seens = st.builds(
    KeySeen,
    st.sampled_from([None, V1, V2]),
    st.none() | versions.map(seen_of),
    st.none() | versions.map(seen_of),
    st.none() | codes,
)


def after_a_reconcile(before: KeySeen, newest: Fact[KeyVersion], current: Fact[KeyVersion] | None) -> KeySeen:
    """What a record says once a reconcile has met the same: an independent account of ``reconcile.remember``."""
    if isinstance(newest, Unknown):
        return replace(before, unread=newest.code)
    in_use = newest if before.in_use == newest.version else current
    seen = None if in_use is None or isinstance(in_use, Unknown) else seen_of(in_use)
    return replace(before, newest=seen_of(newest), current=seen, unread=None)


def read(seen: KeySeen, newest: Fact[KeyVersion], older: Fact[KeyVersion]) -> Fact[KeyVersion] | None:
    """Read the version in use as the watch does: only where it is needed, and no other."""
    if not needs_current(seen, newest):
        return None
    assume(isinstance(older, Unknown) or older.version == seen.in_use)
    return older


@for_all(seens, facts, facts)
def test_once_a_reconcile_has_seen_the_same_nothing_differs(
    seen: KeySeen, newest: Fact[KeyVersion], older: Fact[KeyVersion]
) -> None:
    current = read(seen, newest, older)
    # A reconcile that fails to read the version in use for a passing reason has not seen the same.
    assume(not (isinstance(current, Unknown) and current.passing))
    assert differs(after_a_reconcile(seen, newest, current), newest, current) is None


@for_all(seens, passing)
def test_a_newest_version_that_could_not_be_read_for_a_while_is_never_news(seen: KeySeen, newest: Unknown) -> None:
    assert differs(seen, newest, None) is None


@for_all(seens, versions, facts, passing)
def test_a_version_in_use_that_could_not_be_read_for_a_while_adds_no_news(
    seen: KeySeen, newest: KeyVersion, older: Fact[KeyVersion], failed: Unknown
) -> None:
    current = read(seen, newest, older)
    assume(current is not None)
    said = differs(seen, newest, failed)
    assert said is None or said == differs(seen, newest, None)


@for_all(versions, versions, st.sampled_from([None, V1, V2]))
def test_the_newest_version_is_news_if_and_only_if_something_of_it_changed(
    before: KeyVersion, now: KeyVersion, in_use: str | None
) -> None:
    seen = KeySeen(in_use, seen_of(before), None, None)
    same = (before.version, before.enabled, before.not_before, before.expires_at) == (
        now.version,
        now.enabled,
        now.not_before,
        now.expires_at,
    )
    assert (differs(seen, now, None) is None) is same


@for_all(seens, versions, facts)
def test_a_key_that_was_unread_and_can_be_read_is_always_news(
    seen: KeySeen, newest: KeyVersion, older: Fact[KeyVersion]
) -> None:
    assume(seen.unread is not None)
    assert differs(seen, newest, read(seen, newest, older)) is not None
