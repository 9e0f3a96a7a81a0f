"""Approvals: which identifiers can be approved, what is written down, and that the newest word counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keysteward.errors import LeaseLostError, RequestError
from keysteward.facts import ProjectFacts, Unknown
from keysteward.policy import Policy, ProjectPolicy, RotationPolicy
from keysteward.store.records import ApprovalRecord
from keysteward.store.state import Stored
from tests.api.world import PROJECT, STRANGER, World
from tests.builders import KEY, NOW, V1, V2, V3, a_version, encryption, facts, versions

V2_URL = str(KEY.with_version(V2))
APPROVE_ONLY = Policy(defaults=ProjectPolicy(rotation=RotationPolicy(mode="approve")))


def a_world(seen: ProjectFacts | None = None) -> World:
    world = World(policy=APPROVE_ONLY)
    if seen is not None:
        world.observer.facts = seen
    return world


async def approve(world: World, identifier: str = V2_URL, project: str = PROJECT) -> None:
    await world.api.approvals.approve(project, identifier, "the change board agreed", "key:01234567")


async def test_an_approval_is_kept_audited_shown_and_asks_for_a_look() -> None:
    world = a_world()
    shown = await world.api.approvals.approve(PROJECT, V2_URL, "the change board agreed", "key:01234567")
    assert [s.record for s in await world.state.approvals(PROJECT)] == [
        ApprovalRecord(
            project_id=PROJECT,
            identifier=V2_URL,
            who="key:01234567",
            reason="the change board agreed",
            approved_at=NOW,
        )
    ]
    assert (shown.key_identifier, shown.approved_at, shown.used_at) == (V2_URL, NOW, None)
    assert world.asked() == [(f"project:{PROJECT}", "operator:approval")]
    (row,) = await world.trail()
    assert (row.what, row.who, row.reason) == ("approvalGiven", "key:01234567", "the change board agreed")
    assert (row.result, row.after) == ("done", V2_URL)


async def test_what_is_approved_is_planned_and_listed() -> None:
    world = a_world()
    before = await world.api.project(PROJECT)
    assert ([h.code for h in before.plan.held], before.approvals) == (["approvalMissing"], [])
    await approve(world)
    after = await world.api.project(PROJECT)
    assert [a.detail["to"] for a in after.plan.actions] == [V2_URL]
    assert [a.key_identifier for a in after.approvals] == [V2_URL]


REFUSED = {
    "the version in use": (facts(), str(KEY.with_version(V1)), "requestedVersionNotNewer"),
    "an older version": (
        facts(
            key_versions=versions(a_version(V3, age_days=200), a_version(V1, age_days=100), a_version(V2, age_days=1))
        ),
        str(KEY.with_version(V3)),
        "requestedVersionNotNewer",
    ),
    "a version that is not there": (facts(), str(KEY.with_version(V3)), "requestedVersionNotNewer"),
    "a disabled version": (
        facts(key_versions=versions(a_version(V1), a_version(V2, age_days=1, enabled=False))),
        V2_URL,
        "requestedVersionUnusable",
    ),
    "a version that is about to expire": (
        facts(key_versions=versions(a_version(V1), a_version(V2, age_days=1, expires_at=NOW + timedelta(hours=71)))),
        V2_URL,
        "requestedVersionUnusable",
    ),
    "a version of another key": (
        facts(),
        str(replace(KEY, name="another").with_version(V2)),
        "requestedVersionNotNewer",
    ),
    "a version of another vault, while the versions cannot be read": (
        facts(key_versions=Unknown("Timeout", "no answer")),
        str(replace(KEY, vault="kv-another").with_version(V2)),
        "requestedVersionNotNewer",
    ),
    "a version while Atlas does not answer": (
        facts(encryption=Unknown("Timeout", "no answer")),
        V2_URL,
        "versionNotVerified",
    ),
    "a version while the versions cannot be read": (
        facts(key_versions=Unknown("Forbidden", "no right")),
        V2_URL,
        "versionNotVerified",
    ),
    "a version while encryption is off": (facts(encryption=encryption(enabled=False)), V2_URL, "versionNotVerified"),
    "an identifier without a version": (facts(), str(KEY), "keyIdentifierMalformed"),
    "no identifier": (facts(), "atlas-cmk", "keyIdentifierMalformed"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_is_refused_and_writes_nothing(what: str) -> None:
    seen, identifier, code = REFUSED[what]
    world = a_world(seen)
    with pytest.raises(RequestError) as caught:
        await approve(world, identifier)
    assert caught.value.code == code, caught.value
    assert await world.state.approvals(PROJECT) == []
    assert await world.trail() == []
    assert world.asked() == []


async def test_only_our_projects_have_approvals() -> None:
    world = a_world()
    with pytest.raises(RequestError, match="projectNotFound"):
        await approve(world, project=STRANGER)
    assert world.observer.looks == 0, "a stranger's project is not even looked at"


async def test_a_new_word_renews_an_approval_that_was_used() -> None:
    world = a_world()
    used = ApprovalRecord(
        project_id=PROJECT,
        identifier=V2_URL,
        who="key:0",
        reason="long ago",
        approved_at=NOW - timedelta(days=3),
        used_at=NOW - timedelta(days=2),
    )
    await world.state.save_approval(Stored(used))
    await approve(world)
    (stored,) = await world.state.approvals(PROJECT)
    assert (stored.record.used_at, stored.record.who) == (None, "key:01234567")


async def test_an_approval_that_changes_meanwhile_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    save, tries = world.state.save_approval, []

    async def another_comes_first(stored: Stored[ApprovalRecord]) -> None:
        tries.append(stored.etag)
        if len(tries) == 1:
            raise LeaseLostError("recordChanged", "another instance wrote it")
        await save(stored)

    monkeypatch.setattr(world.state, "save_approval", another_comes_first)
    await approve(world)
    assert len(tries) == 2
    assert len(await world.state.approvals(PROJECT)) == 1


async def test_an_approval_works_under_a_dry_run_and_under_a_hold() -> None:
    world = World(policy=APPROVE_ONLY, dry_run=True)
    await world.api.holds.set_for_project(PROJECT, ["rotation"], None, "stop", "key:0")
    shown = await world.api.approvals.approve(PROJECT, V2_URL, "agreed", "key:0")
    assert shown.hold is not None
    assert shown.hold.code == "heldByOperator"
    assert len(await world.state.approvals(PROJECT)) == 1
