"""
Decide whether a pushed key identifier has been taken by every cluster. Pure.

Nothing in Atlas's API tells which version a cluster uses, so this is concluded from what clusters did since Atlas's
answer: UPDATING and then IDLE, or IDLE in two looks far enough apart (a roll-out may begin late).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from keysteward.facts import EncryptionAtRest, Fact, Unknown
from keysteward.vocabulary import Cluster, ClusterState, InvalidNameError, KeyIdentifier

BETWEEN_IDLE_LOOKS = timedelta(seconds=15)
FIRST_LOOK_SECONDS = 15
LONGEST_LOOK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ClusterProgress:
    """What one cluster was seen doing since Atlas's answer."""

    seen_updating: bool = False
    idle_since: datetime | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """
    How far a rotation has come.

    ``look_again_seconds`` is None when it is complete. ``news`` are sentences about what changed since the last look.
    """

    progress: Mapping[str, ClusterProgress]
    waiting_for: Sequence[str]
    paused: Sequence[str]
    complete: bool
    why_not: str
    news: Sequence[str]
    looks_without_news: int
    look_again_seconds: int | None


def decide_settlement(
    target: str,
    before: Mapping[str, ClusterProgress],
    looks_without_news: int,
    encryption: Fact[EncryptionAtRest],
    clusters: Fact[Sequence[Cluster]],
    now: datetime,
    *,
    answered_at: datetime | None,
) -> Settlement:
    """
    Say which clusters have settled under *target* since Atlas answered, and when to look again.

    Paused clusters take the identifier when they are resumed; they are named and not waited for. With clusters
    unknown nothing counts, in either direction; with encryption unknown clusters still settle, but nothing is complete.
    """
    if isinstance(clusters, Unknown):
        return _wait(before, (), looks_without_news + 1, f"clusters are unknown: {clusters.code}")
    encrypted = [c for c in clusters if c.encrypted and c.state is not ClusterState.DELETING]
    running = sorted((c for c in encrypted if not c.paused), key=lambda c: c.name)
    paused = sorted(c.name for c in encrypted if c.paused)
    busy = any(c.state is ClusterState.UPDATING for c in running)
    after = {
        c.name: _next(before.get(c.name, ClusterProgress()), c.state, now, may_wait=busy or _is_early(answered_at, now))
        for c in running
    }
    news = _news(before, after)
    looks = 0 if news else looks_without_news + 1
    waiting_for = [name for name, p in after.items() if not p.settled]
    if isinstance(encryption, Unknown):
        why = f"encryption is unknown: {encryption.code}"
        return replace(_wait(after, waiting_for, looks, why), paused=paused, news=news)
    if not _is(encryption.key_identifier, target):
        return replace(_wait(after, waiting_for, looks, "Atlas holds another identifier"), paused=paused, news=news)
    if encryption.valid is not True:
        return replace(_wait(after, waiting_for, looks, "Atlas does not call it valid yet"), paused=paused, news=news)
    if waiting_for:
        why = f"waiting for {', '.join(waiting_for)}"
        return replace(_wait(after, waiting_for, looks, why), paused=paused, news=news)
    return Settlement(
        after, (), paused, complete=True, why_not="", news=news, looks_without_news=0, look_again_seconds=None
    )


def _is_early(answered_at: datetime | None, now: datetime) -> bool:
    return answered_at is not None and now - answered_at < BETWEEN_IDLE_LOOKS


def _is(text: str | None, target: str) -> bool:
    try:
        return KeyIdentifier.parse(text) == KeyIdentifier.parse(target)
    except InvalidNameError:
        return False


def _wait(progress: Mapping[str, ClusterProgress], waiting_for: Sequence[str], looks: int, why: str) -> Settlement:
    delay = min(FIRST_LOOK_SECONDS * 2 ** min(looks, 10), LONGEST_LOOK_SECONDS)
    if any(p.idle_since is not None and not p.settled for p in progress.values()):
        delay = FIRST_LOOK_SECONDS
    return Settlement(
        progress,
        waiting_for,
        (),
        complete=False,
        why_not=why,
        news=(),
        looks_without_news=looks,
        look_again_seconds=delay,
    )


def _next(before: ClusterProgress, state: ClusterState, now: datetime, *, may_wait: bool) -> ClusterProgress:
    if state is ClusterState.UPDATING:
        # Also of one that had settled: what it was busy with before may have been an earlier change.
        return ClusterProgress(seen_updating=True)
    if state is ClusterState.IDLE and before.seen_updating:
        return replace(before, settled=True)
    if state is not ClusterState.IDLE or may_wait:
        # Clusters take an identifier one after the other: one that stands still beside a busy one may wait its turn,
        # and so may all of them just after Atlas's answer, before the roll-out begins.
        return replace(before, idle_since=None, settled=False)
    if before.idle_since is None:
        return replace(before, idle_since=now)
    return replace(before, settled=now - before.idle_since >= BETWEEN_IDLE_LOOKS)


def _news(before: Mapping[str, ClusterProgress], after: Mapping[str, ClusterProgress]) -> list[str]:
    news = []
    for name, progress in after.items():
        old = before.get(name, ClusterProgress())
        if progress.settled and not old.settled:
            news.append(f"{name} has settled")
        elif progress.seen_updating and not old.seen_updating:
            news.append(f"{name} is taking the new key identifier")
    return news
