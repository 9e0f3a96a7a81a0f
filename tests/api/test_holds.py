"""The stop button: who may be stopped, what is written down, and where it is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from keysteward.errors import RequestError
from keysteward.reasons import hold as reason_hold
from keysteward.store.ports import StorageError
from keysteward.store.records import AuditRecord, HoldOrderRecord, HoldRecord, ProjectRecord
from keysteward.store.state import Stored
from keysteward.vocabulary import Scope
from tests.api.world import PROJECT, STRANGER, World
from tests.builders import NOW

SCOPE, VAULT = Scope.project(PROJECT), Scope.vault("kv-acme-cmk")
BOTH = ("rotation", "revocation")
IN_AN_HOUR = NOW + timedelta(hours=1)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_hold_is_kept_audited_shown_and_asks_for_a_look(world: World) -> None:
    shown = await world.api.holds.set_for_project(PROJECT, BOTH, IN_AN_HOUR, "the auditors are here", "key:01234567")
    assert await world.state.hold(SCOPE) == HoldOrderRecord(
        scope=str(SCOPE),
        jobs=["revocation", "rotation"],
        who="key:01234567",
        reason="the auditors are here",
        since=NOW,
        until=IN_AN_HOUR,
    )
    assert (shown.code, shown.jobs, shown.until, shown.since) == (
        "heldByOperator",
        ["revocation", "rotation"],
        IN_AN_HOUR,
        NOW,
    )
    assert (shown.who, shown.reason) == ("key:01234567", "the auditors are here")
    assert world.asked() == [(str(SCOPE), "operator:hold")]
    (row,) = await world.trail()
    assert (row.what, row.who, row.reason, row.result) == ("holdSet", "key:01234567", "the auditors are here", "done")
    assert row.before is None
    assert row.after == "revocation and rotation, until 2026-11-24T07:00:00Z, by key:01234567: the auditors are here"


async def test_a_hold_takes_the_place_of_the_one_before_and_the_trail_has_both(world: World) -> None:
    await world.api.holds.set_for_project(PROJECT, BOTH, None, "first", "key:01234567")
    await world.api.holds.set_for_project(PROJECT, ["rotation"], None, "second", "key:89abcdef")
    order = await world.state.hold(SCOPE)
    assert order is not None
    assert (order.jobs, order.who, order.reason) == (["rotation"], "key:89abcdef", "second")
    befores = [row.before for row in await world.trail()]
    assert sorted(b is None for b in befores) == [False, True]
    assert "revocation and rotation, until it is lifted, by key:01234567: first" in befores


async def test_a_lifted_hold_is_gone_audited_and_shown_as_it_was(world: World) -> None:
    await world.api.holds.set_for_project(PROJECT, BOTH, None, "first", "key:01234567")
    world.asked()
    shown = await world.api.holds.lift_for_project(PROJECT, "they left", "key:89abcdef")
    assert (shown.reason, shown.who) == ("first", "key:01234567")
    assert await world.state.hold(SCOPE) is None
    assert world.asked() == [(str(SCOPE), "operator:hold")]
    row = next(r for r in await world.trail() if r.what == "holdLifted")
    assert (row.who, row.reason, row.result) == ("key:89abcdef", "they left", "done")
    assert row.before == "revocation and rotation, until it is lifted, by key:01234567: first"


@pytest.mark.parametrize("until", [None, NOW - timedelta(seconds=1), NOW], ids=["never set", "run out", "ends now"])
async def test_what_is_not_in_force_cannot_be_lifted(world: World, until: datetime | None) -> None:
    if until is not None:
        order = HoldOrderRecord(scope=str(SCOPE), jobs=["rotation"], who="key:0", reason="x", since=NOW, until=until)
        await world.state.save_hold(SCOPE, order)
    with pytest.raises(RequestError, match="holdNotSet"):
        await world.api.holds.lift_for_project(PROJECT, "done", "key:01234567")
    assert await world.trail() == []


@pytest.mark.parametrize(
    "until",
    [
        NOW,
        NOW - timedelta(days=1),
        NOW.astimezone(timezone(timedelta(hours=5))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
    ids=["this moment", "yesterday", "this moment elsewhere", "before the first year"],
)
async def test_a_hold_cannot_end_before_it_begins(world: World, until: datetime) -> None:
    with pytest.raises(RequestError, match="holdEndsInThePast"):
        await world.api.holds.set_for_project(PROJECT, BOTH, until, "x", "key:01234567")
    assert await world.state.hold(SCOPE) is None
    assert world.asked() == []


async def test_the_end_is_kept_in_utc_however_late(world: World) -> None:
    late = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12)))
    await world.api.holds.set_for_project(PROJECT, BOTH, late, "for good", "key:01234567")
    order = await world.state.hold(SCOPE)
    assert order is not None
    assert order.until == datetime.max.replace(tzinfo=UTC)
    berlin = IN_AN_HOUR.astimezone(timezone(timedelta(hours=1)))
    await world.api.holds.set_for_project(PROJECT, BOTH, berlin, "an hour", "key:01234567")
    order = await world.state.hold(SCOPE)
    assert order is not None
    assert order.until is not None
    assert (order.until, order.until.tzinfo) == (IN_AN_HOUR, UTC)


@pytest.mark.parametrize(
    ("project", "code"), [(STRANGER, "projectNotFound"), ("x", "projectIdMalformed"), ("A" * 24, "projectIdMalformed")]
)
async def test_only_our_projects_are_held(world: World, project: str, code: str) -> None:
    with pytest.raises(RequestError, match=code):
        await world.api.holds.set_for_project(project, BOTH, None, "x", "key:01234567")
    with pytest.raises(RequestError, match=code):
        await world.api.holds.lift_for_project(project, "x", "key:01234567")
    assert await world.trail() == []


async def test_a_vault_that_a_project_of_ours_uses_is_held_and_released(world: World) -> None:
    await world.state.index_vault(PROJECT, "kv-acme-cmk", "atlas-cmk")
    shown = await world.api.holds.set_for_vault("KV-Acme-CMK", ["firewall"], None, "the network is rebuilt", "key:0")
    assert shown.jobs == ["firewall"]
    assert await world.state.hold(VAULT) is not None
    assert world.asked() == [(str(VAULT), "operator:hold")]
    await world.api.holds.lift_for_vault("kv-acme-cmk", "it is rebuilt", "key:0")
    assert await world.state.hold(VAULT) is None
    assert [row.what for row in await world.trail(str(VAULT))].count("holdLifted") == 1


@pytest.mark.parametrize(
    ("vault", "user", "code"),
    [
        ("kv-nobody", PROJECT, "vaultNotFound"),
        ("kv-acme-cmk", STRANGER, "vaultNotFound"),
        ("a--b", PROJECT, "vaultNameMalformed"),
        ("kv-acme-cmk\n", PROJECT, "vaultNameMalformed"),
    ],
    ids=["nobody uses it", "only a stranger uses it", "no vault name", "a line behind the name"],
)
async def test_only_vaults_of_our_projects_are_held(world: World, vault: str, user: str, code: str) -> None:
    await world.state.index_vault(user, "kv-acme-cmk", "atlas-cmk")
    with pytest.raises(RequestError, match=code):
        await world.api.holds.set_for_vault(vault, ["firewall"], None, "x", "key:0")
    with pytest.raises(RequestError, match=code):
        await world.api.holds.lift_for_vault(vault, "x", "key:0")


async def test_a_vault_that_nobody_uses_any_more_can_still_be_released(world: World) -> None:
    order = HoldOrderRecord(scope=str(VAULT), jobs=["firewall"], who="key:0", reason="x", since=NOW)
    await world.state.save_hold(VAULT, order)
    await world.api.holds.lift_for_vault("kv-acme-cmk", "tidied up", "key:0")
    assert await world.state.hold(VAULT) is None


async def test_a_hold_that_could_not_be_kept_leaves_its_intent_in_the_trail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise StorageError("no answer")

    monkeypatch.setattr(world.state, "save_hold", fails)
    with pytest.raises(StorageError):
        await world.api.holds.set_for_project(PROJECT, BOTH, None, "x", "key:0")
    assert [row.result for row in await world.trail()] == ["intended"]


async def test_a_hold_works_under_a_dry_run_of_the_app() -> None:
    world = World(dry_run=True)
    await world.api.holds.set_for_project(PROJECT, BOTH, None, "x", "key:0")
    assert await world.state.hold(SCOPE) is not None


async def test_a_hold_in_force_stands_in_every_answer_about_its_project(world: World) -> None:
    operation = await world.api.reconcile(PROJECT, "key:0", dry_run=False)
    await world.api.holds.set_for_project(PROJECT, BOTH, IN_AN_HOUR, "stop", "key:0")
    listed = (await world.api.projects()).projects[0].hold
    looked = await world.api.project(PROJECT)
    ordered = (await world.api.show(await world.api.operation(operation.operation_id))).hold  # type: ignore[union-attr]
    planned = await world.api.rotate(PROJECT, None, "x", "key:0", dry_run=True)
    for shown in (listed, looked.hold, ordered, planned.hold):  # type: ignore[union-attr]
        assert shown is not None
        assert (shown.code, shown.reason, shown.until) == ("heldByOperator", "stop", IN_AN_HOUR)
    assert [h.code for h in looked.plan.held] == ["heldByOperator"]
    assert looked.plan.actions == []


async def test_a_hold_that_has_run_out_is_shown_nowhere(world: World) -> None:
    operation = await world.api.reconcile(PROJECT, "key:0", dry_run=False)
    await world.api.holds.set_for_project(PROJECT, BOTH, IN_AN_HOUR, "stop", "key:0")
    met = HoldRecord(**reason_hold("heldByOperator", "set by key:0").data, since=NOW)
    await world.state.save_project(Stored(ProjectRecord(project_id=PROJECT, hold=met)))
    world.clock.at = IN_AN_HOUR
    looked = await world.api.project(PROJECT)
    assert (await world.api.projects()).projects[0].hold is None
    assert looked.hold is None
    assert [a.kind for a in looked.plan.actions] == ["pushKeyIdentifier"]
    assert (await world.api.show(await world.api.operation(operation.operation_id))).hold is None  # type: ignore[union-attr]


async def test_lifting_one_hold_never_lifts_another_that_came_in_the_same_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.api.holds.set_for_project(PROJECT, BOTH, None, "freeze", "key:01234567")
    added = world.audit.add

    async def meanwhile(record: AuditRecord) -> str:
        monkeypatch.setattr(type(world.audit), "add", original)
        await world.api.holds.set_for_project(PROJECT, BOTH, None, "incident", "key:89abcdef")
        return await added(record)

    original = type(world.audit).add
    monkeypatch.setattr(type(world.audit), "add", lambda _audit, record: meanwhile(record))
    with pytest.raises(RequestError) as caught:
        await world.api.holds.lift_for_project(PROJECT, "freeze is over", "key:01234567")
    assert (caught.value.code, caught.value.problem.status) == ("holdChanged", 409)
    order = await world.state.hold(SCOPE)
    assert order is not None
    assert order.reason == "incident"
    assert sorted((row.what, row.result) for row in await world.trail()) == [
        ("holdLifted", "notDone"),
        ("holdSet", "done"),
        ("holdSet", "done"),
    ]


async def test_a_hold_on_the_vault_is_shown_with_the_projects_that_use_it(world: World) -> None:
    await world.state.save_project(Stored(ProjectRecord(project_id=PROJECT, vault="kv-acme-cmk")))
    await world.state.index_vault(PROJECT, "kv-acme-cmk", "atlas-cmk")
    await world.api.holds.set_for_vault("kv-acme-cmk", ["firewall"], None, "network change", "key:01234567")
    (listed,) = (await world.api.projects()).projects
    viewed = await world.api.project(PROJECT)
    for shown in (listed.hold, viewed.hold):
        assert shown is not None
        assert (shown.code, shown.jobs, shown.reason) == ("heldByOperator", ["firewall"], "network change")
