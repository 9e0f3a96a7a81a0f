"""What comes back after a revocation: decision tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keysteward.decide.revocation.given import RevocationInput
from keysteward.decide.revocation.plan import decide_revocation
from keysteward.facts import Job
from keysteward.pause_facts import FirewallReadiness
from tests.builders import a_hold
from tests.revocation.project import (
    KEY_DISABLED,
    LOST,
    a_cluster,
    a_pause,
    access,
    codes,
    later,
    standing,
    to_pause,
    to_resume,
)

AUTO = {"resume": "auto"}
IN_STEP = FirewallReadiness(written_by_us=False, filters=True, synced_at=None, missing=0)
PAUSED = (a_cluster(paused=True),)


def returned(noes: int = 2, *, facts: Any = None, policy: Any = None, **changes: Any) -> RevocationInput:
    """The last of *noes* looks that find access again, after a revocation that paused one cluster."""
    start = standing(policy=AUTO if policy is None else policy)
    fields: dict[str, Any] = {"clusters": PAUSED, "pauses": (a_pause(at=start.now),), "firewall": IN_STEP} | changes
    start = replace(start, access=access(), **fields)
    for _ in range(noes - 1):
        start = later(start, decide_revocation(start), 600)
    return replace(start, access=facts or access())


@pytest.mark.parametrize(
    ("start", "resumed", "held"),
    [
        pytest.param(returned(), ["payments"], [], id="auto, and every signal said no often enough"),
        pytest.param(returned(1), [], ["revocationStands"], id="auto, after one no"),
        pytest.param(returned(policy={}), [], ["resumeWaitsForOperator"], id="manual: one call is offered"),
        pytest.param(
            returned(policy={**AUTO, "mode": "alert"}, pauses=(a_pause(),)),
            [],
            ["resumeWaitsForOperator"],
            id="auto, but the policy only alerts",
        ),
        pytest.param(
            returned(facts=access(vault=LOST)), [], ["resumeWaitsForProof"], id="auto, and one signal cannot be told"
        ),
        pytest.param(
            returned(policy={}, facts=access(vault=LOST)),
            [],
            ["resumeWaitsForOperator"],
            id="manual does not wait for the other signals",
        ),
        pytest.param(returned(hold=a_hold(Job.REVOCATION)), [], ["heldByOperator"], id="an operator's hold"),
        pytest.param(returned(pauses=(a_pause(cause="operator"),)), [], [], id="what an operator paused is left alone"),
        pytest.param(returned(pauses=()), [], [], id="what others paused is left alone"),
        pytest.param(returned(pauses=(a_pause(unproven=True),)), [], [], id="what is unproven is resumed by name only"),
        pytest.param(returned(clusters=(a_cluster(),)), [], [], id="what runs is not resumed"),
        pytest.param(returned(clusters=()), [], [], id="what is gone is not resumed"),
        pytest.param(returned(clusters=LOST), [], [], id="what cannot be read is not resumed"),
        pytest.param(returned(facts=access(**KEY_DISABLED)), [], [], id="revoked again before the end"),
    ],
)
def test_the_return(start: RevocationInput, resumed: list[str], held: list[str]) -> None:
    decision = decide_revocation(start)
    assert (to_resume(decision), to_pause(decision), codes(decision)) == (resumed, [], held)


def test_only_what_is_ours_comes_back() -> None:
    clusters = tuple(a_cluster(name, paused=True) for name in ("a", "b", "c", "d"))
    pauses = (a_pause("c"), a_pause("a"), a_pause("b", cause="operator"), a_pause("d", unproven=True))
    decision = decide_revocation(returned(clusters=clusters, pauses=pauses))
    assert to_resume(decision) == ["a", "c"]
    assert [notice.code for notice in decision.notices] == ["pauseUnproven"]


def test_a_new_suspicion_keeps_everything_paused() -> None:
    start = returned()
    start = later(start, decide_revocation(start), 600, access=access(**KEY_DISABLED))
    decision = decide_revocation(start)
    assert (to_resume(decision), decision.state) == ([], "suspected")


def _ready(**changes: Any) -> FirewallReadiness:
    start = returned()
    healthy = FirewallReadiness(written_by_us=True, filters=True, synced_at=start.now + timedelta(seconds=1), missing=0)
    return replace(healthy, **changes)


@pytest.mark.parametrize(
    ("firewall", "resumes"),
    [
        pytest.param(_ready(), True, id="synced after the end, and nothing is missing"),
        pytest.param(_ready(missing=1), False, id="an address of the project is missing"),
        pytest.param(_ready(synced_at=None), False, id="never synced"),
        pytest.param(_ready(synced_at=returned().now), False, id="synced before the end"),
        pytest.param(_ready(synced_at=None, filters=False), True, id="the vault does not filter"),
        pytest.param(_ready(synced_at=None, written_by_us=False), True, id="its rules are not ours to write"),
        pytest.param(LOST, False, id="not known"),
    ],
)
def test_the_return_waits_for_the_vaults_firewall(firewall: Any, resumes: bool) -> None:
    start = returned()
    after = later(start, decide_revocation(start), 600, firewall=firewall)
    decision = decide_revocation(after)
    assert to_resume(decision) == (["payments"] if resumes else [])
    assert codes(decision) == ([] if resumes else ["resumeWaitsForFirewall"])


def test_where_the_end_was_forgotten_the_sync_has_to_follow_the_pause() -> None:
    start = returned()
    ended = later(start, decide_revocation(start), 600)
    record = replace(ended.record, real=replace(ended.record.real, ended_at=None))
    pause = a_pause(at=ended.now)
    before = replace(ended, record=record, pauses=(pause,), firewall=_ready(synced_at=pause.at))
    assert codes(decide_revocation(before)) == ["resumeWaitsForFirewall"]
    after = replace(before, firewall=_ready(synced_at=pause.at + timedelta(seconds=1)))
    assert to_resume(decide_revocation(after)) == ["payments"]


def test_the_return_looks_again_when_the_next_no_may_count() -> None:
    """One signal could not be told all the while; its own noes are still to be counted."""
    start = replace(standing(access(**KEY_DISABLED, vault=LOST), policy=AUTO), clusters=PAUSED, firewall=IN_STEP)
    start = replace(start, pauses=(a_pause(at=start.now),))
    for facts in (access(vault=LOST), access(vault=LOST), access()):
        start = replace(start, access=facts)
        decision, start = decide_revocation(start), later(start, decide_revocation(start), 600)
        assert to_resume(decision) == []
    assert codes(decision) == ["resumeWaitsForProof"]
    assert decision.look_again_at == start.now - timedelta(seconds=600 - 60)
    assert to_resume(decide_revocation(start)) == ["payments"]
