"""What goes on while a revocation stands: decision tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keysteward.access_facts import VersionInUse
from keysteward.decide.revocation.confirming import Turn
from keysteward.decide.revocation.plan import decide_revocation
from keysteward.vocabulary import ClusterState
from tests.builders import KEY, V2, encryption
from tests.revocation.project import (
    GRANT_REMOVED,
    KEY_DISABLED,
    LOST,
    OPEN,
    a_cluster,
    a_pause,
    access,
    given,
    later,
    standing,
    to_pause,
    way,
)

DISABLED, REMOVED = access(**KEY_DISABLED), access(**GRANT_REMOVED)
SEES = way(acl=OPEN)

UNREAD = access(encryption=LOST, version=LOST, key=LOST, vault=LOST, model=LOST)


@pytest.mark.parametrize(
    ("facts", "network", "paused", "reason"),
    [
        pytest.param(DISABLED, way(), True, "accessRevoked", id="it still stands: Atlas resumed after 30 days"),
        pytest.param(UNREAD, way(acl=LOST), True, "accessRevoked", id="nothing can be read any more"),
        pytest.param(DISABLED, way(acl=LOST), True, "accessRevoked", id="the way cannot be read any more"),
        pytest.param(DISABLED, SEES, False, "atlasSeesIt", id="Atlas sees it now"),
        pytest.param(UNREAD, SEES, False, "atlasSeesIt", id="Atlas sees it now, whatever it is"),
        pytest.param(access(), way(), False, "revocationStands", id="access is back, and that is not confirmed yet"),
    ],
)
def test_a_cluster_that_runs_again_while_a_revocation_stands(
    facts: Any, network: Any, paused: bool, reason: str
) -> None:
    start = replace(standing(), access=facts, way=network)
    decision = decide_revocation(start)
    assert (bool(to_pause(decision)), decision.reason, decision.state) == (paused, reason, "revoked")


def test_what_was_confirmed_but_never_enforced_waits_for_the_next_yes() -> None:
    start = standing(way=SEES)
    unread = decide_revocation(replace(start, access=UNREAD, way=way()))
    assert (to_pause(unread), unread.reason) == ([], "revocationStands")
    assert to_pause(decide_revocation(later(start, unread, 60, way=way()))) == ["payments"]


def test_what_atlas_was_seen_to_see_is_not_enforced_on_an_unknown() -> None:
    seen = replace(standing(), way=SEES)
    after = later(seen, decide_revocation(seen), 60, way=way(acl=LOST))
    assert decide_revocation(after).reason == "controlPlaneUnknown"


def test_a_version_that_was_never_confirmed_pauses_nothing_on_the_strength_of_another() -> None:
    other = VersionInUse(KEY.with_version(V2), enabled=False, source=DISABLED_VERSION.source, newer_usable=False)
    start = standing(way=SEES)
    facts = access(version=other, encryption=encryption(str(KEY.with_version(V2))))
    decision = decide_revocation(replace(start, access=facts, way=way()))
    assert (to_pause(decision), decision.reason) == ([], "revocationSuspected")


DISABLED_VERSION: VersionInUse = KEY_DISABLED["version"]


def test_a_cluster_on_its_way_into_the_pause_is_not_asked_again() -> None:
    start = standing()
    busy = replace(start, clusters=(a_cluster(state=ClusterState.UPDATING),), pauses=(a_pause(at=start.now),))
    assert decide_revocation(busy).reason == "everythingPaused"
    assert decide_revocation(busy).pauses == busy.pauses
    stuck = replace(busy, pauses=(a_pause(at=start.now - timedelta(minutes=10)),))
    assert to_pause(decide_revocation(stuck)) == ["payments"]


@pytest.mark.parametrize(
    ("clusters", "ours"),
    [
        pytest.param((a_cluster(paused=True),), True, id="it is paused"),
        pytest.param((a_cluster(),), False, id="it runs again"),
        pytest.param((), False, id="it is gone"),
        pytest.param(LOST, True, id="the clusters could not be read"),
    ],
)
def test_when_a_pause_stops_being_ours(clusters: Any, ours: bool) -> None:
    start = given(clusters=clusters, pauses=(a_pause(),))
    assert bool(decide_revocation(start).pauses) is ours


def test_each_turn_is_told_once() -> None:
    start, turns = given(DISABLED), []
    for facts in (DISABLED, DISABLED, DISABLED, access(), access(), access()):
        decision = decide_revocation(replace(start, access=facts))
        turns.append([change.turn for change in decision.changes])
        start = later(start, decision, 600)
    assert turns == [[Turn.SUSPECTED], [Turn.CONFIRMED], [], [], [Turn.ENDED], []]
