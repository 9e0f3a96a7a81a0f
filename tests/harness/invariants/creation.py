"""What the app may do to a key: one new version in a day, and never where one is as young."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.harness.evidence import record_of, rows_of, writes_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played
    from tests.harness.wire import Sent

A_DAY = timedelta(hours=24)
LIST_IS_FRESH_SECONDS = 2.0
SECOND = timedelta(seconds=1)
"""Versions carry whole seconds."""


def makes_one_version_a_day(played: Played) -> Iterator[str]:
    """Never two versions made by the app within 24 h for a key, nor one within 24 h of a version that it could see."""
    made = [played.began + timedelta(seconds=s.done_at or 0.0) for s in _creations(played)]
    for before, after in pairwise(made):
        if after - before < A_DAY:
            yield f"versions were made at {before} and {after}"
    for sent in _creations(played):
        seen_at = played.began + timedelta(seconds=sent.asked_at - LIST_IS_FRESH_SECONDS)
        births = [version.created_at for version in played.world.key.versions.values()]
        if young := [born for born in births if seen_at - A_DAY + SECOND < born < seen_at - SECOND]:
            yield f"{sent.run}: made a version though one of {max(young)} was there"


def makes_versions_only_by_policy(played: Played) -> Iterator[str]:
    """None where the policy asks for none, or in mode off."""
    history = played.history
    if history.creates is None or history.mode == "off":
        yield from (
            f"{s.run}: asked for a version that no policy asks for" for s in played.wire.sent if s.asks_for_version
        )


def versions_are_intended_first(played: Played) -> Iterator[str]:
    """An audit record says that a version is about to be made, and at the end none stands open whose fate is known."""
    intents = [w for w in writes_to(played, "keystewardAudit") if record_of(w.values)["what"] == "createKeyVersion"]
    for sent in _creations(played):
        if not any(w.run is sent.run and w.loop_at <= sent.asked_at for w in intents):
            yield f"{sent.run}: a version was made without an intent in the audit trail"
    readable = played.world.vault.posture == "open"
    for row in rows_of(played, "keystewardAudit"):
        if row["what"] != "createKeyVersion" or row["result"] != "intended" or not readable:
            continue
        if any(w.key == row["rowKey"] and w.run is s.run for w in intents for s in _creations(played)):
            yield f"the audit of the version of {row['at']} is still open, though the vault lists it"


def _creations(played: Played) -> list[Sent]:
    return [s for s in played.wire.sent if s.asks_for_version and s.changed]
