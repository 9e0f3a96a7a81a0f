"""What must not happen to a vault's rules, whatever else does: between two reads, around an answer, by one bad row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keysteward.errors import AnswerLostError, RefusedError, TryLaterError
from keysteward.fleet import Fleet
from keysteward.store.lease import TABLE, take_lease
from keysteward.store.ports import StorageError
from tests.builders import KEY
from tests.firewall_world import FIRST, PAY, PLANE, SCOPE, SHOP, THEIRS, World
from tests.project_world import Killed

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_NETWORK = '{"network": "x", "state": "ours", "reasons": [], "since": "2026-01-01T00:00:00Z"}'
NODE, MORE = f"{FIRST}/32", "20.1.2.4/32"
GONE_FOR = timedelta(hours=48, minutes=5)


async def in_step(**policy: Any) -> World:
    """A world that a sync has brought into step."""
    world = World(**policy)
    await world.run()
    world.patches.clear()
    return world


def at_read(world: World, number: int, happens: Callable[[], None]) -> None:
    """Let something happen just before a read of the rules, counted from 1."""
    reads = 0

    def count(point: str) -> None:
        nonlocal reads
        if point == "before read":
            reads += 1
            if reads == number:
                happens()

    world.always = count


def failing(world: World, what: str) -> None:
    """Let every call of a kind fail for a passing reason."""

    def fails(point: str) -> None:
        if point == f"before {what}":
            raise TryLaterError("atlasUnavailable", "503")

    world.always = fails


async def told(world: World) -> list[str]:
    return [data["code"] for kind, data in await world.told() if kind == "FirewallHeld"]


async def test_a_rule_that_was_seen_absent_and_that_another_puts_back_is_his() -> None:
    world = await in_step()
    world.another_writes(THEIRS, PLANE)
    at_read(world, 2, lambda: world.another_writes(THEIRS, PLANE, NODE))
    await world.run()
    assert (await world.ledger()).get(NODE) != "ours"
    world.always = lambda _: None
    world.node("pay", "20.9.9.9")
    await world.run()
    await world.run(later=GONE_FOR)
    assert NODE in world.rules, "removed a rule that another made"
    assert [row.what for row in await world.trail()].count("ipRulesTakenAway") == 1


async def test_rules_of_a_vault_that_was_made_anew_under_the_name_are_not_ours() -> None:
    world = await in_step()
    world.made_at = world.time
    world.another_writes(THEIRS, NODE)
    world.node("pay", "20.9.9.9")
    await world.run()
    assert "vaultMadeAnew" in [row.what for row in await world.trail()]
    await world.run(later=GONE_FOR)
    await world.run(later=GONE_FOR)
    assert NODE in world.rules, "removed a rule that another made"
    assert [row.what for row in await world.trail()].count("vaultMadeAnew") == 1


async def test_a_vault_that_is_made_anew_between_two_reads_of_one_run_is_left_alone() -> None:
    world = await in_step()
    world.node("pay", FIRST, "20.1.2.4")

    def anew() -> None:
        world.made_at = world.time
        world.another_writes(THEIRS, NODE)

    at_read(world, 2, anew)
    await world.run()
    assert not world.patches
    world.always = lambda _: None
    await world.run()
    assert NODE not in await world.ledger()
    assert set(world.rules) == {THEIRS, NODE, MORE, PLANE}


async def test_a_rule_that_a_lost_write_has_removed_is_his_who_puts_it_back() -> None:
    world = await in_step()
    world.node("pay", "20.9.9.9")
    await world.run()

    async def lost() -> None:
        raise AnswerLostError("answerLost", "connection reset")

    world.at["after patch"] = lost
    await world.run(later=GONE_FOR)
    assert NODE not in world.rules
    world.another_writes(*world.rules, NODE)
    for seconds in (60, 300, 300):
        await world.run(later=seconds)
    assert NODE in world.rules


async def test_a_rule_whose_removal_nobody_recorded_is_his_who_puts_it_back() -> None:
    world = await in_step()
    world.node("pay", "20.9.9.9")
    await world.run()
    written: list[str] = []

    def fails(point: str) -> None:
        written.extend([point] if point == "after patch" else [])
        if written and "Ledger" in point and point.startswith("before"):
            raise StorageError("storageUnavailable", "503")

    world.always = fails
    with pytest.raises(StorageError):
        await world.run(later=GONE_FOR)
    world.always = lambda _: None
    assert NODE not in world.rules
    world.another_writes(*world.rules, NODE)
    for seconds in (600, 300, 300):
        await world.run(later=seconds)
    assert NODE in world.rules


async def test_a_removal_that_was_cut_short_before_its_request_is_done_by_the_next_run() -> None:
    world = await in_step()
    world.node("pay", "20.9.9.9")
    await world.run()
    changed_at = world.time
    world.changed_at = lambda: changed_at

    async def dies() -> None:
        raise Killed

    world.at["before patch"] = dies
    with pytest.raises(Killed):
        await world.run(later=GONE_FOR)
    await world.run(later=600)
    assert NODE not in world.rules


async def test_a_loss_is_in_the_trail_once_also_where_the_write_is_stopped() -> None:
    world = await in_step()
    world.another_writes(THEIRS, PLANE)

    async def pressed() -> None:
        world.time += timedelta(seconds=3)
        await world.stop()

    world.at["before clusters"] = pressed
    await world.run()
    outcome = (await world.record()).last_outcome
    assert outcome is not None
    assert outcome.result == "heldByOperator"
    assert [row.what for row in await world.trail()].count("ipRulesTakenAway") == 1


async def test_one_lost_answer_of_an_encryption_block_is_no_news_and_is_asked_for_again_soon() -> None:
    world = await in_step()
    world.node("pay", FIRST, "20.1.2.4")
    failing(world, "encryption")
    order = await world.order()
    result = await world.run()
    assert await told(world) == []
    assert result.look_again_seconds is not None
    assert result.look_again_seconds <= 15
    assert (await world.operation(order)).state == "waiting"


async def test_a_blip_beside_another_hold_is_no_news() -> None:
    world = World(mode="alert")
    await world.run()
    for _ in range(3):
        failing(world, "control plane")
        await world.run()
        world.always = lambda _: None
        await world.run()
    assert await told(world) == ["alertOnly"]


@pytest.mark.parametrize(
    ("table", "key", "content"),
    [
        pytest.param("keystewardLedger", "20.1.2.9_32", '{"network": 5}', id="of the ledger"),
        pytest.param("keystewardLedger", "20.1.2.4_32", '{"network": 5}', id="of the ledger, for a rule to be added"),
        pytest.param("keystewardLedger", "x", _NO_NETWORK, id="of the ledger, naming no network"),
        pytest.param("keystewardAddresses", SHOP, "{}", id="of addresses"),
        pytest.param("keystewardAddresses", PAY, "{}", id="of addresses, of a project on the vault"),
    ],
)
async def test_one_row_that_nobody_can_read_does_not_stop_the_vault(table: str, key: str, content: str) -> None:
    world = await in_step()
    await world.tables.upsert(table, KEY.vault, key, {"json0": content})
    world.node("pay", FIRST, "20.1.2.4")
    await world.run()
    assert MORE in world.rules


async def test_a_read_that_is_refused_just_before_the_write_is_no_refused_write() -> None:
    world = World()

    def refuses() -> None:
        raise RefusedError("AuthorizationFailed", "the role is being assigned anew", 403)

    at_read(world, 2, refuses)
    await world.run()
    world.always = lambda _: None
    await world.run()
    assert NODE in world.rules


async def test_orders_end_also_where_the_first_has_removed_the_last_rule() -> None:
    world = await in_step()
    world.listed = ()
    await world.run()
    await world.run(later=GONE_FOR)
    one, two = [await world.order(allow_large_removal=True) for _ in range(2)]
    assert (await world.run()).look_again_seconds == 1
    assert (await world.operation(one)).state == "succeeded"
    stranger: Any = None
    fleet = Fleet((SHOP,), stranger, world.state, stranger, world)
    assert await fleet.looks_after(SCOPE), "the run of the second order would be dropped"
    await world.run()
    assert (await world.operation(two)).ended
    assert not await fleet.looks_after(SCOPE)


async def test_a_crash_between_the_answer_and_the_read_after_it_gives_no_rule_away() -> None:
    world = World()

    def dies() -> None:
        raise Killed

    at_read(world, 3, dies)
    with pytest.raises(Killed):
        await world.run()
    assert len(world.patches) == 1
    world.always = lambda _: None
    await world.run(later=600)
    assert await world.ledger() == {NODE: "ours", PLANE: "ours"}


async def test_a_passing_trouble_of_the_storage_right_after_the_answer_gives_no_rule_away() -> None:
    world = World()

    async def trouble() -> None:
        left = 3

        def fails(point: str) -> None:
            nonlocal left
            if left and point.startswith("before") and "keysteward" in point:
                left -= 1
                raise StorageError("storageUnavailable", "503")

        world.always = fails

    world.at["after patch"] = trouble
    await world.run()
    assert await world.ledger() == {NODE: "ours", PLANE: "ours"}


async def test_a_write_that_was_undone_is_not_repeated_at_every_event() -> None:
    world = await in_step()
    for _ in range(8):
        world.another_writes(THEIRS)
        await world.run(later=5)
    assert len(world.patches) <= 2


async def test_a_removal_that_is_undone_in_its_own_answer_is_not_fought_for() -> None:
    world = await in_step(remove_after_hours=0)
    world.node("pay", "20.1.2.4")
    world.modifies = lambda rules: tuple(dict.fromkeys((*rules, NODE)))
    for _ in range(10):
        await world.run(later=60)
    assert len(world.patches) <= 3
    assert (await world.record()).reason == "rulesReverted"


async def test_mode_off_says_nothing_however_many_rules_there_are() -> None:
    world = World(mode="off")
    world.another_writes(*(f"198.51.{n // 256}.{n % 256}/32" for n in range(900)))
    await world.run()
    assert await world.told() == []


async def test_runs_that_do_not_come_to_their_end_add_nothing_to_the_history() -> None:
    world = await in_step()
    for _ in range(5):
        world.time += timedelta(minutes=5)
        page = await world.tables.query(TABLE, str(SCOPE))
        row = next((r for r in page.rows if r.key == "lease"), None)
        lease = await take_lease(world.tables, world, SCOPE, world.random(16), row, page)
        assert lease is not None
        await world.reconciler(SCOPE, lease)
        await lease.release(covered=False)
    assert len(await world.state.history(PAY, "addresses")) == 1


async def test_of_two_places_that_are_named_as_often_the_one_that_was_read_is_taken() -> None:
    world = await in_step()
    world.listed = (PAY, SHOP)
    world.blocks[SHOP] = replace(world.blocks[SHOP], subscription_id="00000000-0000-0000-0000-000000000000")
    await world.seen(SHOP)
    await world.run()
    place = (await world.record()).place
    assert place is not None
    assert place.subscription_id == world.blocks[PAY].subscription_id
