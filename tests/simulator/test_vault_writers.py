"""Who else writes a vault's rules: a stale whole list, a person's change, and a policy that puts the rules back."""

from __future__ import annotations

import pytest

from simulator.wire import Refused
from tests.simulator.callers import Caller, a_caller

WRITTEN = "Microsoft.Resources.ResourceWriteSuccess"
FOREIGN, OURS, LATER = "20.1.1.1/32", "20.2.2.2/32", "20.3.3.3/32"


def _with_rules(*texts: str) -> Caller:
    caller = a_caller()
    caller.cloud.vault_writers.set_network(caller.world.vault, default_action="Deny", ip_rules=texts)
    return caller


def _writes(caller: Caller) -> int:
    return sum(event.type == WRITTEN for event in caller.cloud.event_grid.published)


def test_a_tool_that_reads_and_writes_at_once_changes_only_its_own() -> None:
    caller = _with_rules(FOREIGN)
    caller.write_rules(FOREIGN, OURS)
    caller.cloud.vault_writers.write(caller.world.vault, by="terraform", add=["20.3.3.3"], remove=[FOREIGN])

    assert caller.rules == [OURS, LATER]
    seen = caller.cloud.record.of("PATCH")[-1]
    assert (seen.sender, seen.changes, seen.service) == ("terraform", True, "resourceManager")
    assert [one.sender for one in caller.cloud.record.sent_to_change()] == ["app"]


def test_a_tool_that_writes_what_it_read_earlier_loses_what_came_in_between() -> None:
    caller = _with_rules(FOREIGN)
    caller.cloud.vault_writers.write(caller.world.vault, by="terraform", add=[LATER], after_seconds=30)
    caller.cloud.clock.advance(10)
    caller.write_rules(FOREIGN, OURS)
    assert caller.rules == [FOREIGN, OURS]
    caller.cloud.clock.advance(20)

    assert caller.rules == [FOREIGN, LATER]
    system = caller.manager().json()["systemData"]
    assert system["lastModifiedAt"] == "2026-09-01T08:00:30.0000000Z"


def test_a_tool_can_write_any_whole_list() -> None:
    caller = _with_rules(FOREIGN, OURS)
    caller.cloud.vault_writers.write(caller.world.vault, by="ansible", ip_rules=[LATER])

    assert caller.rules == [LATER]


def test_a_refused_write_of_a_tool_is_recorded_and_raised_only_where_it_is_made_at_once() -> None:
    caller = _with_rules(FOREIGN)
    writers, vault = caller.cloud.vault_writers, caller.world.vault
    with pytest.raises(Refused, match="BadRequest"):
        writers.write(vault, by="terraform", add=["10.0.0.1"])
    writers.write(vault, by="terraform", add=["10.0.0.1"], after_seconds=5)
    caller.cloud.clock.advance(5)

    assert caller.rules == [FOREIGN]
    assert [one.error_code for one in caller.cloud.record.of("PATCH")] == ["BadRequest"] * 2


def test_a_policy_puts_the_rules_back_some_time_after_each_write() -> None:
    caller = _with_rules(FOREIGN)
    caller.cloud.vault_writers.revert(caller.world.vault, after_seconds=20)
    seen = []
    for _ in range(2):
        assert caller.write_rules(FOREIGN, OURS).json()["properties"]["networkAcls"]["ipRules"][1]["value"] == OURS
        seen.append(caller.rules)
        caller.cloud.clock.advance(20)
        seen.append(caller.rules)

    assert seen == [[FOREIGN, OURS], [FOREIGN]] * 2
    assert _writes(caller) == 1 + 2 + 2
    caller.cloud.clock.advance(3600)
    caller.cloud.catch_up()
    assert _writes(caller) == 5, "it writes only where something differs"


def test_a_policy_can_revert_within_the_same_good_answer() -> None:
    caller = _with_rules(FOREIGN)
    caller.cloud.vault_writers.revert(caller.world.vault, after_seconds=None)
    answer = caller.write_rules(FOREIGN, OURS)

    assert (answer.status, caller.rules) == (200, [FOREIGN])
    assert [rule["value"] for rule in answer.json()["properties"]["networkAcls"]["ipRules"]] == [FOREIGN]
    assert caller.manager().json()["systemData"]["lastModifiedBy"] == caller.cloud.identity.object_id
    caller.cloud.vault_writers.stop_reverting(caller.world.vault)
    caller.write_rules(FOREIGN, OURS)
    assert caller.rules == [FOREIGN, OURS]


def test_a_policy_that_was_taken_away_does_not_finish_what_it_began() -> None:
    caller = _with_rules(FOREIGN)
    caller.cloud.vault_writers.revert(caller.world.vault, after_seconds=20, ip_rules=[])
    caller.write_rules(FOREIGN, OURS)
    caller.cloud.vault_writers.stop_reverting(caller.world.vault)
    caller.cloud.clock.advance(60)

    assert caller.rules == [FOREIGN, OURS]


def test_a_policy_keeps_what_else_was_written() -> None:
    caller = _with_rules(FOREIGN)
    caller.cloud.vault_writers.revert(caller.world.vault, after_seconds=20)
    caller.write_rules(OURS)
    caller.cloud.clock.advance(5)
    caller.write({"publicNetworkAccess": "Disabled"})
    caller.cloud.clock.advance(60)
    properties = caller.manager().json()["properties"]

    assert (caller.rules, properties["publicNetworkAccess"]) == ([FOREIGN], "Disabled")


def test_each_vault_has_its_own_writers() -> None:
    caller = _with_rules(FOREIGN)
    caller.cloud.key_vault.add_vault("kv-two")
    caller.cloud.vault_writers.revert("kv-two", after_seconds=None)
    caller.write_rules(OURS)

    assert caller.rules == [OURS]
    assert caller.cloud.key_vault.vault("kv-two").state.network.acls is None


@pytest.mark.parametrize(
    "members",
    [
        {"ip_rules": ["example.com"]},
        {"ip_rules": [f"20.2.{n // 250}.{n % 250}" for n in range(1001)]},
        {"default_action": "deny"},
        {"bypass": "All"},
    ],
    ids=["a name", "more than a thousand", "an unknown action", "an unknown bypass"],
)
def test_an_owner_cannot_set_what_no_vault_has(members: dict[str, object]) -> None:
    caller = _with_rules(FOREIGN)
    with pytest.raises(ValueError, match=r"example|1000|deny|All"):
        caller.cloud.vault_writers.set_network(caller.world.vault, **members)  # type: ignore[arg-type]

    assert caller.rules == [FOREIGN]
