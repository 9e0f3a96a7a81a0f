"""Other tools that put their own identifier back, and how the record tells them from the app."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from simulator.atlas.rollout import Rollout
from tests.simulator.callers import Caller, a_caller

TERRAFORM, OPERATOR = "terraform", "kubernetesOperator"


def _rotated(caller: Caller) -> str:
    made = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)
    assert caller.push(made).status == 200
    return made


def _current(caller: Caller) -> str | None:
    return caller.cloud.atlas.project(caller.world.project_id).key_identifier


def _sent(caller: Caller) -> list[Any]:
    return [one for one in caller.cloud.record if one.sender != "app"]


def test_terraform_puts_its_identifier_back_when_it_is_applied() -> None:
    caller = a_caller()
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id)
    made = _rotated(caller)

    sent = caller.cloud.tools.run(caller.world.project_id, TERRAFORM)

    assert sent
    assert _current(caller) == caller.world.identifier != made
    (tool,) = _sent(caller)
    assert (tool.sender, tool.caller, tool.method, tool.service) == (TERRAFORM, TERRAFORM, "PATCH", "atlas")
    assert tool.body["azureKeyVault"]["keyIdentifier"] == caller.world.identifier
    assert tool.changes


def test_terraform_sends_nothing_while_nothing_differs() -> None:
    caller = a_caller()
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id)

    assert not caller.cloud.tools.run(caller.world.project_id, TERRAFORM)
    assert _sent(caller) == []


@pytest.mark.parametrize("steps", [1, 120], ids=["in one skip", "minute by minute"])
def test_a_period_is_kept_however_time_passes(steps: int) -> None:
    caller = a_caller()
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id, every_seconds=3600, starts_in_seconds=1800)
    _rotated(caller)
    start = caller.cloud.clock.now()
    for _ in range(steps):
        caller.cloud.clock.advance(7200 / steps)
        caller.cloud.catch_up()

    assert [one.at - start for one in _sent(caller)] == [timedelta(seconds=1800)]
    assert _current(caller) == caller.world.identifier


def test_a_duel_goes_on_for_as_long_as_both_sides_push() -> None:
    caller = a_caller()
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id, every_seconds=600)
    made = _rotated(caller)
    for _ in range(3):
        caller.cloud.clock.advance(600)
        caller.cloud.catch_up()
        assert _current(caller) == caller.world.identifier
        assert caller.push(made).status == 200

    assert [one.sender for one in caller.cloud.record if one.method == "PATCH"] == ["app", *[TERRAFORM, "app"] * 3]


def test_what_a_tool_sent_stands_before_the_request_that_found_it() -> None:
    caller = a_caller()
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id, every_seconds=60)
    _rotated(caller)
    caller.cloud.clock.advance(60)

    seen = caller.encryption()

    assert seen["keyIdentifier"] == caller.world.identifier
    assert [one.sender for one in list(caller.cloud.record)[-2:]] == [TERRAFORM, "app"]


def test_the_operator_does_not_see_another_identifier() -> None:
    caller = a_caller()
    caller.cloud.tools.add(OPERATOR, caller.world.project_id, every_seconds=60)
    made = _rotated(caller)
    caller.cloud.clock.advance(86400)
    caller.cloud.catch_up()

    assert (_current(caller), _sent(caller)) == (made, [])


def test_the_operator_sends_its_identifier_with_any_other_change() -> None:
    caller = a_caller()
    caller.cloud.tools.add(OPERATOR, caller.world.project_id)
    _rotated(caller)

    assert not caller.cloud.tools.run(caller.world.project_id, OPERATOR)
    assert caller.cloud.tools.run(caller.world.project_id, OPERATOR, changed=True)
    assert _current(caller) == caller.world.identifier
    assert set(_sent(caller)[0].body) == {"awsKms", "azureKeyVault", "googleCloudKms"}


def test_the_operator_sees_another_sign_in_by_itself_and_overwrites_the_identifier_too() -> None:
    caller = a_caller(preset="application")
    caller.cloud.tools.add(OPERATOR, caller.world.project_id, every_seconds=60)
    made = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)
    other = "7d3c9c1e-52a4-4c4e-9f0a-00000000ffff"
    caller.push(made, clientID=other, secret=caller.world.application_secret)
    caller.cloud.clock.advance(60)

    assert caller.encryption()["keyIdentifier"] == caller.world.identifier
    assert str(caller.world.application_secret) not in repr(_sent(caller))


def test_a_tool_that_atlas_refuses_is_recorded_and_tries_again() -> None:
    caller = a_caller()
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id, every_seconds=60)
    made = _rotated(caller)
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    vault.set_enabled(caller.world.key, caller.world.identifier, enabled=False)
    caller.cloud.clock.advance(120)
    caller.cloud.catch_up()
    vault.set_enabled(caller.world.key, caller.world.identifier, enabled=True)
    refused = [(one.status, one.error_code, one.changes) for one in _sent(caller)]
    caller.cloud.clock.advance(60)
    caller.cloud.catch_up()

    assert refused == [(400, "AZURE_KEY_VAULT_KEY_NOT_ENABLED", False)] * 2
    assert _current(caller) == caller.world.identifier != made


def test_a_tool_with_an_identifier_of_its_own_starts_a_rollout_like_anybody_else() -> None:
    caller = a_caller()
    caller.cloud.atlas.rollout = Rollout((1, 1), (1, 1), (1, 1))
    made = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id, key_identifier=made)
    caller.cloud.tools.run(caller.world.project_id, TERRAFORM)

    assert not caller.cloud.atlas.settled(caller.world.project_id)
    caller.cloud.clock.advance(60)
    assert caller.cloud.atlas.settled(caller.world.project_id)


def test_a_tool_that_was_taken_away_or_replaced_does_nothing_more() -> None:
    caller = a_caller()
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id, every_seconds=60)
    caller.cloud.tools.add(TERRAFORM, caller.world.project_id, every_seconds=6000)
    _rotated(caller)
    caller.cloud.clock.advance(300)
    caller.cloud.catch_up()
    replaced = list(_sent(caller))
    caller.cloud.tools.stop(caller.world.project_id, TERRAFORM)
    caller.cloud.clock.advance(6000)
    caller.cloud.catch_up()

    assert (replaced, _sent(caller)) == ([], [])
    with pytest.raises(KeyError, match="terraform"):
        caller.cloud.tools.run(caller.world.project_id, TERRAFORM)


def test_a_tool_needs_something_to_own() -> None:
    caller = a_caller()
    caller.cloud.atlas.add_project("a" * 24, "plain")

    with pytest.raises(ValueError, match="is off"):
        caller.cloud.tools.add(TERRAFORM, "a" * 24)
    with pytest.raises(ValueError, match="period"):
        caller.cloud.tools.add(TERRAFORM, caller.world.project_id, every_seconds=0)


def test_the_tools_of_a_world_cost_no_other_choice_of_it_a_draw() -> None:
    plain, owned = a_caller(5), a_caller(5)
    owned.cloud.tools.add(TERRAFORM, owned.world.project_id, every_seconds=60)
    made = [_rotated(caller) for caller in (plain, owned)]

    assert made[0] == made[1]
