"""
Say whether a key stands otherwise than a project's last reconcile saw it, so that another one is called for. Pure.

A watch that fails to read says nothing; a refusal that somebody has to mend is news until a reconcile has met it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keysteward.facts import Fact, Unknown
from keysteward.vocabulary import KeyVersion


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """A key version as far as a change of it matters. Times are aware UTC."""

    version: str
    enabled: bool
    not_before: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeySeen:
    """
    The key of a project as its last reconcile saw it.

    ``in_use`` is the version that Atlas uses (None: the identifier names none). ``current`` is what was seen of it,
    None where the key had no such version. ``unread`` is why the key could not be read, None where it was.
    """

    in_use: str | None
    newest: VersionSeen | None
    current: VersionSeen | None
    unread: str | None


def needs_current(seen: KeySeen, newest: Fact[KeyVersion]) -> bool:
    """Whether the version in use has to be read as well: it is another one than the newest, which could be read."""
    return not isinstance(newest, Unknown) and seen.in_use is not None and seen.in_use != newest.version


def differs(seen: KeySeen, newest: Fact[KeyVersion], current: Fact[KeyVersion] | None) -> str | None:
    """
    Say what is otherwise, in a word, or None where nothing that is known is.

    Args:
        seen: what the record of the project says.
        newest: the newest version of the key, as it is now.
        current: the version in use, where ``needs_current`` asks for it; else None.
    """
    if isinstance(newest, Unknown):
        return None if newest.passing or newest.code == seen.unread else "keyRefused"
    if seen.newest is None or seen.newest.version != newest.version:
        return "newestIsAnother"
    if seen.newest != seen_of(newest):
        return "newestChanged"
    if current is not None and (word := _current_differs(seen, current)) is not None:
        return word
    return "keyIsReadable" if seen.unread is not None else None


def seen_of(version: KeyVersion) -> VersionSeen:
    """Keep of a version what a change of it can be told by."""
    return VersionSeen(version.version, version.enabled, version.not_before, version.expires_at)


def _current_differs(seen: KeySeen, current: Fact[KeyVersion]) -> str | None:
    if isinstance(current, Unknown):
        return None if current.passing or seen.current is None else "currentRefused"
    return None if seen.current == seen_of(current) else "currentChanged"
