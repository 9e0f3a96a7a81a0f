"""An Idempotency-Key makes a repeat return the first operation, whatever happened in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from keysteward.api.answers import DryRun
from keysteward.api.orders import Once
from keysteward.errors import RequestError
from keysteward.store.ports import StorageError
from keysteward.store.records import OperationRecord
from keysteward.vocabulary import Scope
from tests.api.world import PROJECT, World
from tests.builders import V2, a_version, facts, versions

ANOTHER_KEY = f"https://kv-other.vault.azure.net/keys/k/{'a' * 32}"
ONCE = Once("rotate_project/x", "key:0", "7f3a", "digest")


async def rotate(world: World, once: Once | None = ONCE, *, dry_run: bool = False) -> OperationRecord | DryRun:
    return await world.api.rotate(PROJECT, None, "because", "key:0", dry_run=dry_run, once=once)


async def ordered(world: World, once: Once | None = ONCE) -> OperationRecord:
    found = await rotate(world, once)
    assert isinstance(found, OperationRecord)
    return found


async def operations(world: World) -> list[str]:
    return [stored.record.operation_id for stored in await world.state.open_operations(Scope.project(PROJECT))]


async def test_a_repeat_is_the_first_operation() -> None:
    world = World()
    first = await ordered(world)
    world.clock.at += timedelta(minutes=5)
    assert (await ordered(world)).operation_id == first.operation_id
    assert await operations(world) == [first.operation_id]


async def test_without_a_key_each_call_is_an_order_of_its_own() -> None:
    world = World()
    await ordered(world, None)
    await ordered(world, None)
    assert len(await operations(world)) == 2


async def test_a_repeat_shows_how_the_first_one_stands_though_it_could_not_be_ordered_any_more() -> None:
    world = World()
    first = await ordered(world)
    (stored,) = await world.state.open_operations(Scope.project(PROJECT))
    stored.record.state = "succeeded"
    await world.state.save_operation(stored)
    world.asked()
    world.observer.facts = facts(key_versions=versions(a_version(V2, age_days=1, enabled=False)))
    again = await ordered(world)
    assert (again.operation_id, again.state) == (first.operation_id, "succeeded")
    assert world.asked() == [], "what has ended is not asked for again"


async def test_another_body_under_the_same_key_is_refused() -> None:
    world = World()
    first = await ordered(world)
    with pytest.raises(RequestError, match="idempotencyKeyReused"):
        await rotate(world, replace(ONCE, body_digest="another"))
    assert await operations(world) == [first.operation_id]


async def test_two_at_once_are_one_order() -> None:
    world = World()
    one, other = await asyncio.gather(ordered(world), ordered(world))
    assert one.operation_id == other.operation_id
    assert await operations(world) == [one.operation_id]


async def test_a_dry_run_claims_nothing_and_ignores_the_key() -> None:
    world = World()
    assert isinstance(await rotate(world, dry_run=True), DryRun)
    first = await ordered(world, replace(ONCE, body_digest="another"))
    assert isinstance(await rotate(world, dry_run=True), DryRun), "though the key stands for an order"
    assert await operations(world) == [first.operation_id]


async def test_a_refused_order_claims_nothing() -> None:
    world = World()
    with pytest.raises(RequestError, match="requestedVersionNotNewer"):
        await world.api.rotate(PROJECT, ANOTHER_KEY, "x", "key:0", dry_run=False, once=ONCE)
    await ordered(world, replace(ONCE, body_digest="the corrected body"))


async def test_an_order_that_crashed_before_it_was_written_is_written_by_its_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()

    async def dies(_: object) -> None:
        raise StorageError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.state, "save_operation", dies)
        with pytest.raises(StorageError):
            await rotate(world)
    claimed = await world.idempotency.find(ONCE.route, ONCE.caller, ONCE.key, ONCE.body_digest)
    assert (await ordered(world)).operation_id == claimed


async def test_an_order_that_crashed_before_it_was_asked_for_is_asked_for_by_its_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()

    async def dies(*_: object, **__: object) -> None:
        raise StorageError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.queue, "send", dies)
        with pytest.raises(StorageError):
            await rotate(world)
    assert world.asked() == []
    await ordered(world)
    assert world.asked() == [(f"project:{PROJECT}", "operator:rotate")]


async def test_a_reconcile_is_repeated_likewise() -> None:
    world = World()
    once = replace(ONCE, route="reconcile_project/x")
    first = await world.api.reconcile(PROJECT, "key:0", dry_run=False, once=once)
    again = await world.api.reconcile(PROJECT, "key:0", dry_run=False, once=once)
    assert isinstance(first, OperationRecord)
    assert isinstance(again, OperationRecord)
    assert first.operation_id == again.operation_id
