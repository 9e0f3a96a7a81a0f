"""How a vault's firewall is kept in step: what a run reads, writes, keeps and tells, and how a crash is healed."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from keysteward.decide.firewall.reverts import FIRST_PAUSE
from keysteward.errors import AnswerLostError, KeystewardError, LeaseLostError, RefusedError, TryLaterError
from keysteward.reconcile.firewall import REFUSAL_LASTS
from keysteward.reconcile.firewall_trail import MAY_COME_LATE
from keysteward.store.records import OutcomeRecord
from keysteward.vocabulary import NodeAddresses
from tests.builders import KEY
from tests.firewall_world import FIRST, PAY, PLANE, SCOPE, SHOP, THEIRS, World

NODE = f"{FIRST}/32"
MORE = "20.1.2.4/32"
GONE_FOR = timedelta(hours=48)


@pytest.fixture
def world() -> World:
    return World()


async def in_step(**policy: Any) -> World:
    """A world that a sync has brought into step."""
    world = World(**policy)
    await world.run()
    assert world.rules == (THEIRS, NODE, PLANE)
    world.patches.clear()
    return world


async def test_a_first_sync_allows_every_wanted_address_and_leaves_the_rules_of_others(world: World) -> None:
    await world.run()
    assert world.rules == (THEIRS, NODE, PLANE)
    assert await world.ledger() == {NODE: "ours", PLANE: "ours"}
    record = await world.record()
    assert (record.network, record.state, record.reason) == ("open", "current", "rulesInStep")
    assert (record.rules, record.own_rules, record.missing, record.write) == (3, 2, 0, None)
    assert record.last_outcome == OutcomeRecord(at=world.time, result="written", reason="rulesInStep")


async def test_a_write_leaves_both_full_lists_in_the_trail_and_is_told_once(world: World) -> None:
    await world.run()
    (row,) = await world.trail()
    assert (row.what, row.result, row.reason) == ("writeIpRules", "done", "addressMissing")
    assert row.before == THEIRS
    assert row.after == f"{THEIRS}, {NODE}, {PLANE}"
    await world.run()
    ((kind, data),) = await world.told()
    assert (kind, data["added"], data["removed"], data["warning"]) == ("FirewallChanged", [NODE, PLANE], [], None)


async def test_a_steady_sync_costs_one_request_a_project_and_two_and_writes_nothing() -> None:
    world = await in_step()
    world.always = lambda point: wrote.append(point) if "before" in point and "Ledger" in point else None
    wrote: list[str] = []
    for _ in range(3):
        await world.run()
        assert Counter(world.calls) == {"addresses": 1, "read": 1, "control plane": 1}
    assert not world.patches
    assert [point for point in wrote if "get" not in point and "query" not in point] == []


async def test_an_announced_address_is_allowed_before_it_is_used() -> None:
    world = await in_step()
    world.node("pay", FIRST, announced=("20.1.2.4",))
    await world.run()
    assert MORE in world.rules
    assert Counter(world.calls)["encryption"] == Counter(world.calls)["clusters"] == 1, "a write rests on a whole read"


async def test_an_address_that_went_is_removed_after_its_hours_and_not_before() -> None:
    world = await in_step()
    world.node("pay", "20.1.2.4")
    await world.run()
    began = world.time
    assert set(world.rules) == {THEIRS, NODE, MORE, PLANE}
    result = await world.run(later=GONE_FOR - timedelta(minutes=1))
    assert NODE in world.rules
    assert result.look_again_seconds == pytest.approx((began + GONE_FOR - world.time).total_seconds())
    await world.run(later=timedelta(minutes=1))
    assert set(world.rules) == {THEIRS, MORE, PLANE}
    assert await world.ledger() == {MORE: "ours", PLANE: "ours"}


@pytest.mark.parametrize("source", ["addresses", "clusters", "encryption", "control plane"])
async def test_a_source_that_fails_removes_nothing(source: str) -> None:
    world = await in_step()
    world.node("pay", "20.1.2.4")
    await world.run()

    def fails(point: str) -> None:
        if point == f"before {source}":
            raise TryLaterError("atlasUnavailable", "503")

    world.always = fails
    for _ in range(5):
        await world.run(later=GONE_FOR)
        assert NODE in world.rules, "nobody may remove a rule without asking everybody"


async def test_an_empty_control_plane_list_removes_nothing() -> None:
    world = await in_step()
    world.plane = ()
    for _ in range(3):
        await world.run(later=GONE_FOR)
    assert PLANE in world.rules


async def test_a_passing_failure_is_told_at_the_third_look_and_once() -> None:
    world = await in_step()

    def fails(point: str) -> None:
        if point == "before addresses":
            raise TryLaterError("atlasUnavailable", "503")

    world.always = fails
    held: list[int] = []
    for _ in range(5):
        result = await world.run()
        assert result.look_again_seconds is not None
        held.append(sum(kind == "FirewallHeld" for kind, _ in await world.told()))
    assert held == [0, 0, 1, 1, 1]
    assert (await world.record()).hold is not None
    world.always = lambda _: None
    await world.run()
    assert (await world.record()).hold is None


@pytest.mark.parametrize("change", ["added", "removed"])
async def test_a_change_of_others_between_two_reads_is_kept(change: str) -> None:
    """Visible at the last read before the write, it is planned upon anew."""
    world = World()

    async def changes() -> None:
        world.another_writes(*((THEIRS, "192.0.2.0/24") if change == "added" else ()))

    world.at["before control plane"] = changes
    await world.run()
    theirs = (THEIRS, "192.0.2.0/24") if change == "added" else ()
    assert world.rules == (*theirs, NODE, PLANE)


async def test_a_write_of_others_right_after_ours_is_told_as_a_possible_lost_update(world: World) -> None:
    async def changes() -> None:
        world.another_writes("192.0.2.0/24", NODE, PLANE)

    world.at["after patch"] = changes
    await world.run()
    ((_, data),) = [each for each in await world.told() if each[0] == "FirewallChanged"]
    assert data["warning"]["code"] == "possibleLostUpdate"
    (row,) = [each for each in await world.trail() if each.what == "writeIpRules"]
    assert "possibleLostUpdate" in (row.evidence or "")


async def crash(point: str) -> None:
    raise KeystewardError("killed", point)


async def points_of_a_sync() -> list[str]:
    """Every point of a writing run at which the process may end."""
    world, seen = World(), list[str]()
    await world.seen()
    world.always = seen.append
    await world.run()
    return [point for point in seen if "Scopes" not in point]


async def test_a_crash_anywhere_is_healed_by_the_next_runs() -> None:
    for number, point in enumerate(await points_of_a_sync()):
        world, seen = World(), [0]
        await world.seen()

        def dies(at: str, *, count: int = number, seen: list[int] = seen) -> None:
            if "Scopes" in at:
                return
            seen[0] += 1
            if seen[0] == count + 1:
                raise KeystewardError("killed", at)

        world.always = dies
        with pytest.raises(KeystewardError):
            await world.run()
        for _ in range(3):
            await world.run(later=MAY_COME_LATE)
        assert set(world.rules) == {THEIRS, NODE, PLANE}, point
        trail = await world.trail()
        assert "intended" not in {row.result for row in trail}, point
        assert set(await world.ledger()) <= {NODE, PLANE}, point
        assert len(world.patches) <= 2, point
        changed = [data for kind, data in await world.told() if kind == "FirewallChanged"]
        # A crash between the request and its trail is told of when the list shows it.
        assert len(changed) == 1, point
        assert (await world.record()).state == "current", point


async def test_after_a_lost_answer_nothing_becomes_ours_and_the_trail_is_closed_by_the_next_look(world: World) -> None:
    async def lost() -> None:
        raise AnswerLostError("answerLost", "no answer within 60 s")

    world.at["after patch"] = lost
    result = await world.run()
    assert result.look_again_seconds is not None
    assert (await world.record()).write is not None
    await world.run(later=60)
    assert world.rules == (THEIRS, NODE, PLANE)
    assert "ours" not in (await world.ledger()).values()
    (row,) = await world.trail()
    assert row.result == "done"
    assert len(world.patches) == 1
    ((kind, data),) = await world.told()
    assert (kind, data["added"], data["removed"]) == ("FirewallChanged", [NODE, PLANE], [])


async def test_a_refusal_is_told_once_and_tried_again_after_its_time_or_by_order(world: World) -> None:
    def refuses(point: str) -> None:
        if point == "before patch":
            raise RefusedError("AuthorizationFailed", "no authorization to perform vaults/write", 403)

    world.always = refuses
    await world.run()
    record = await world.record()
    assert record.hold is not None
    assert (record.hold.code, record.state) == ("firewallWriteRefused", "held")
    assert await world.ledger() == {}
    tries = world.calls.count("patch")
    for _ in range(3):
        await world.run()
        assert "patch" not in world.calls
    operation_id = await world.order()
    await world.run()
    assert world.calls.count("patch") == tries
    assert (await world.operation(operation_id)).state == "held"
    world.always = lambda _: None
    await world.run(later=REFUSAL_LASTS)
    assert world.rules == (THEIRS, NODE, PLANE)
    codes = [data["code"] for kind, data in await world.told() if kind == "FirewallHeld"]
    assert codes == ["firewallWriteRefused"]


async def test_passing_failures_of_the_write_are_told_after_five_in_a_row(world: World) -> None:
    def fails(point: str) -> None:
        if point == "before patch":
            raise TryLaterError("tooManyRequests", "429")

    world.always = fails
    codes: list[str] = []
    while len(codes) < 5:
        result = await world.run(later=1200)
        assert result.look_again_seconds is not None
        codes.append((await world.record()).reason)
    assert codes == [*["waitingToRetry"] * 4, "firewallWriteDelayed"]
    assert [data["code"] for kind, data in await world.told() if kind == "FirewallHeld"] == ["firewallWriteDelayed"]


async def test_rules_that_something_takes_away_are_written_once_more_and_then_after_growing_pauses() -> None:
    world = await in_step()
    for _ in range(2):
        world.another_writes(THEIRS, by="terraform")
        await world.run()
    assert len(world.patches) == 1
    record = await world.record()
    assert record.hold is not None
    assert record.hold.code == "rulesReverted"
    assert "terraform" in record.hold.evidence
    assert Counter(row.what for row in await world.trail())["ipRulesTakenAway"] == 2
    await world.run(later=FIRST_PAUSE - timedelta(minutes=5))
    assert len(world.patches) == 1
    await world.run(later=timedelta(minutes=5))
    assert len(world.patches) == 2
    assert world.rules == (THEIRS, NODE, PLANE)


async def test_an_order_does_not_wait_for_the_pause_and_ends_held_where_its_rules_do_not_last() -> None:
    world = await in_step()
    for _ in range(2):
        world.another_writes(THEIRS)
        await world.run()

    async def undone() -> None:
        world.another_writes(THEIRS)

    world.at["after patch"] = undone
    undone_order = await world.order()
    await world.run()
    ended = await world.operation(undone_order)
    assert (ended.state, (ended.error or {})["code"]) == ("held", "rulesReverted")
    lasting = await world.order()
    await world.run()
    assert (await world.operation(lasting)).state == "succeeded"
    assert world.rules == (THEIRS, NODE, PLANE)


async def test_after_an_order_whose_rules_lasted_nobody_waits_for_the_pause_any_more() -> None:
    world = await in_step()
    for _ in range(3):
        world.another_writes(THEIRS)
        await world.run()
    await world.order()
    await world.run()
    world.node("pay", FIRST, "20.1.2.4")
    await world.run()
    assert MORE in world.rules
    assert (await world.record()).reverts.count == 0


async def test_a_dry_run_plans_and_leaves_no_trace_but_what_it_saw() -> None:
    world = World(dry_run=True)
    await world.run()
    assert not world.patches
    assert await world.ledger() == {}
    assert await world.trail() == []
    record = await world.record()
    assert record.last_outcome is not None
    assert (record.state, record.last_outcome.result, record.missing) == ("due", "dryRun", 2)
    assert [row.record.project_id for row in await world.state.addresses(KEY.vault)] == [PAY]


async def test_a_pressed_stop_button_holds_every_write() -> None:
    world = World()
    await world.stop()
    await world.run()
    assert not world.patches
    record = await world.record()
    assert record.hold is not None
    assert record.hold.code == "heldByOperator"


async def test_a_stop_button_that_is_pressed_during_the_run_is_seen_before_the_request() -> None:
    world = World()

    async def slow() -> None:
        world.time += timedelta(seconds=5)
        await world.stop()

    world.at["before encryption"] = slow
    result = await world.run()
    assert not world.patches
    assert await world.ledger() == {}
    assert result.look_again_seconds is not None


async def test_alert_tells_of_every_new_difference_and_writes_by_order_alone() -> None:
    world = World(mode="alert")
    for _ in range(2):
        await world.run()
    world.node("pay", FIRST, "20.1.2.4")
    await world.run()
    told = [data["code"] for kind, data in await world.told() if kind == "FirewallHeld"]
    assert told == ["alertOnly", "alertOnly"]
    assert not world.patches
    operation_id = await world.order()
    await world.run()
    assert set(world.rules) == {THEIRS, NODE, MORE, PLANE}
    ended = await world.operation(operation_id)
    assert ended.state == "succeeded"
    (row,) = [each for each in await world.trail() if each.what == "writeIpRules"]
    assert (row.who, row.reason, row.operation_id) == ("key:0a1b2c3d", "audit week", operation_id)


async def test_mode_off_writes_nothing_and_says_so() -> None:
    world = World(mode="off")
    await world.run()
    assert not world.patches
    assert (await world.record()).reason == "firewallOff"


async def test_a_vault_that_only_discovery_brought_here_is_not_changed() -> None:
    world = World(discovers=True)
    await world.run()
    assert not world.patches
    assert (await world.record()).reason == "alertOnly"


async def test_a_large_removal_waits_for_an_operator_who_says_so() -> None:
    world = World()
    world.node("pay", *(f"20.1.2.{n}" for n in range(10, 20)))
    await world.run()
    world.node("pay", "20.1.2.10")
    await world.run()
    await world.run(later=GONE_FOR)
    assert len(world.rules) == 12
    plain = await world.order()
    await world.run()
    assert ((await world.operation(plain)).error or {})["code"] == "largeRemoval"
    large = await world.order(allow_large_removal=True)
    await world.run()
    assert (await world.operation(large)).state == "succeeded"
    assert world.rules == (THEIRS, "20.1.2.10/32", PLANE)


async def test_a_project_that_left_the_settings_removes_nothing_until_an_operator_lets_its_rules_go() -> None:
    world = await in_step()
    world.listed = (SHOP,)
    world.node("shop", "20.9.9.9", project=SHOP)
    await world.run()
    for _ in range(3):
        await world.run(later=GONE_FOR)
    assert NODE in world.rules
    assert (await world.ledger())[NODE] == "orphaned"
    await world.order(allow_large_removal=True)
    await world.run()
    assert NODE not in world.rules
    assert [row.record.project_id for row in await world.state.addresses(KEY.vault)] == [SHOP]


async def test_a_project_that_left_the_vault_lets_its_rules_go_after_their_hours() -> None:
    world = await in_step()
    world.off()
    await world.seen(rotation_reason="encryptionOff")
    await world.run()
    assert Counter(world.calls)["encryption"] == 1, "records alone prove nothing"
    assert NODE in world.rules
    await world.run(later=GONE_FOR)
    assert world.rules == (THEIRS,)
    assert await world.ledger() == {}
    assert await world.state.addresses(KEY.vault) == []
    record = await world.record()
    assert (record.own_rules, record.place is not None) == (0, True)


async def test_a_vault_whose_projects_name_no_place_is_looked_for_where_it_was_seen_last() -> None:
    world = await in_step()
    await world.seen(subscription_id=None)
    await world.run()
    assert "read" in world.calls


async def test_a_vault_that_nobody_can_place_is_told_of_and_left_alone(world: World) -> None:
    await world.seen(subscription_id="?")
    await world.run()
    assert world.calls == []
    record = await world.record()
    assert (record.state, record.reason) == ("unknown", "networkUnknown")
    assert [data["code"] for kind, data in await world.told() if kind == "FirewallHeld"] == ["networkUnknown"]


async def test_a_project_whose_record_nobody_can_read_keeps_no_other_from_its_rules() -> None:
    world = await in_step()
    world.listed = (PAY, SHOP)
    world.node("shop", "20.9.9.9", project=SHOP)
    await world.seen(SHOP)
    await world.tables.upsert("keystewardRecords", "project", PAY, {"json0": "{ this is no record"})
    await world.run()
    assert "20.9.9.9/32" in world.rules
    assert NODE in world.rules


async def test_addresses_are_kept_for_good_when_they_change_and_only_then() -> None:
    world = await in_step()
    await world.run()
    assert len(await world.state.history(PAY, "addresses")) == 1
    world.node("pay", FIRST, announced=("20.1.2.4",))
    await world.run()
    assert len(await world.state.history(PAY, "addresses")) == 2


async def test_a_cluster_that_lists_nothing_keeps_its_last_addresses() -> None:
    world = await in_step()
    world.nodes[PAY]["pay"] = NodeAddresses("pay", (), ())
    for _ in range(3):
        await world.run(later=GONE_FOR)
    assert NODE in world.rules


async def test_another_instance_that_took_the_vault_ends_the_run_before_its_write(world: World) -> None:
    async def taken() -> None:
        stored = await world.state.vault(KEY.vault)
        stored.record.firewall.network = "open"
        await world.state.save_vault(stored)

    world.at["before encryption"] = taken
    with pytest.raises(LeaseLostError):
        await world.run()
    assert not world.patches


async def test_an_order_waits_while_a_source_fails_for_a_passing_reason(world: World) -> None:
    def fails(point: str) -> None:
        if point == "before read":
            raise TryLaterError("resourceManagerUnavailable", "503")

    world.always = fails
    operation_id = await world.order()
    await world.run()
    assert (await world.operation(operation_id)).state == "waiting"
    world.always = lambda _: None
    await world.run()
    assert (await world.operation(operation_id)).state == "succeeded"


async def test_orders_have_their_turn_one_after_the_other(world: World) -> None:
    ids = [await world.order() for _ in range(2)]
    assert (await world.run()).look_again_seconds == 1
    await world.run()
    assert [(await world.operation(each)).state for each in ids] == ["succeeded", "succeeded"]


async def test_an_order_under_dry_run_ends_held() -> None:
    world = World(dry_run=True)
    operation_id = await world.order()
    await world.run()
    assert ((await world.operation(operation_id)).error or {})["code"] == "dryRun"


async def test_a_vault_that_does_not_filter_is_told_of_once() -> None:
    world = World()
    assert world.raw is not None
    world.raw = {**world.raw, "defaultAction": "Allow"}
    for _ in range(2):
        await world.run()
    assert not world.patches
    assert [data["code"] for kind, data in await world.told() if kind == "FirewallHeld"] == ["vaultNotFiltering"]
    assert (await world.record()).network == "open"


async def test_rules_are_kept_ready_in_an_open_vault_where_the_policy_says_so() -> None:
    world = World(when_open="prepare")
    assert world.raw is not None
    world.raw = {**world.raw, "defaultAction": "Allow"}
    await world.run()
    assert world.rules == (THEIRS, NODE, PLANE)
    assert world.raw["defaultAction"] == "Allow"


async def test_everything_but_the_rules_goes_back_as_it_was_read(world: World) -> None:
    before = world.raw
    await world.run()
    assert before is not None
    assert world.raw is not None
    assert {**world.raw, "ipRules": []} == {**before, "ipRules": []}
    assert (await world.state.vault(SCOPE.name)).record.firewall.correlation_ids
