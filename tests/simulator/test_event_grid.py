"""What Key Vault tells Event Grid, and what the network may do to it on the way."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.callers import Caller, a_caller

NEW = "Microsoft.KeyVault.KeyNewVersionCreated"


def _subscribed(schema: str = "eventgrid") -> Caller:
    caller = a_caller()
    caller.cloud.event_grid.subscribe(schema)  # type: ignore[arg-type]
    return caller


def _new_version(caller: Caller, **attributes: object) -> str:
    return caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key, **attributes)  # type: ignore[arg-type]


def _types(caller: Caller) -> list[str]:
    return [delivery.event.type for delivery in caller.cloud.event_grid.take()]


def test_a_new_version_comes_as_an_array_of_one_in_the_event_grid_schema() -> None:
    caller = _subscribed()
    ends_at = caller.cloud.clock.now() + timedelta(days=365)
    identifier = _new_version(caller, expires_at=ends_at)

    body: Any = caller.cloud.event_grid.take()[0].body
    (event,) = body

    assert event["eventType"] == NEW
    assert event["topic"].endswith("/providers/Microsoft.KeyVault/vaults/kv-acme-cmk")
    assert event["data"] == {
        "Id": identifier,
        "VaultName": "kv-acme-cmk",
        "ObjectType": "Key",
        "ObjectName": "atlas-cmk",
        "Version": identifier[-32:],
        "NBF": None,
        "EXP": int(ends_at.timestamp()),
    }


def test_a_new_version_comes_as_a_bare_object_in_cloud_events() -> None:
    caller = _subscribed("cloudevents")
    _new_version(caller)

    event = caller.cloud.event_grid.take()[0].body

    assert isinstance(event, dict)
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", NEW, "atlas-cmk")


def test_versions_that_were_there_before_the_subscription_raise_nothing() -> None:
    caller = a_caller()
    _new_version(caller)
    caller.cloud.event_grid.subscribe()

    assert _types(caller) == []


def test_disabling_deleting_and_recovering_raise_nothing() -> None:
    caller = _subscribed()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    vault.set_enabled(caller.world.key, caller.world.identifier, enabled=False)
    vault.delete_key(caller.world.key)
    vault.recover_key(caller.world.key)

    assert _types(caller) == []


def test_near_expiry_and_expired_come_once_for_the_newest_version_alone() -> None:
    caller = _subscribed()
    _new_version(caller, expires_at=caller.cloud.clock.now() + timedelta(days=40))
    _new_version(caller, expires_at=caller.cloud.clock.now() + timedelta(days=60))
    assert _types(caller) == [NEW, NEW]

    seen = []
    for _ in range(80):
        caller.cloud.clock.advance(86400)
        caller.cloud.catch_up()
        seen.append(_types(caller))

    assert {day + 1: types for day, types in enumerate(seen) if types} == {
        30: ["Microsoft.KeyVault.KeyNearExpiry"],
        60: ["Microsoft.KeyVault.KeyExpired"],
    }


def test_an_end_that_was_moved_raises_nothing_at_its_old_time() -> None:
    caller = _subscribed()
    identifier = _new_version(caller, expires_at=caller.cloud.clock.now() + timedelta(days=40))
    caller.cloud.key_vault.vault(caller.world.vault).set_expiry(caller.world.key, identifier, None)
    _types(caller)
    caller.cloud.clock.advance(50 * 86400)
    caller.cloud.catch_up()

    assert _types(caller) == []


def test_lost_doubled_and_late_deliveries_on_order() -> None:
    caller = _subscribed()
    grid = caller.cloud.event_grid
    grid.lose_next()
    lost = _new_version(caller)
    grid.duplicate_next()
    doubled = _new_version(caller)
    grid.delay_next(1, 60)
    late = _new_version(caller)
    overtaking = _new_version(caller)

    now = [delivery.event.data["Id"] for delivery in grid.take()]
    assert grid.next_due_at() == caller.cloud.clock.now() + timedelta(seconds=60)
    caller.cloud.clock.advance(60)
    later = [delivery.event.data["Id"] for delivery in grid.take()]

    assert (now, later) == ([doubled, doubled, overtaking], [late])
    assert [delivery.event.data["Id"] for delivery in grid.lost] == [lost]
    assert grid.pending == []


@pytest.mark.parametrize("schema", ["eventgrid", "cloudevents"])
def test_events_have_the_members_of_the_vendors_samples(schema: str) -> None:
    folder = os.environ.get("KEYSTEWARD_VENDOR_SPECS")
    sample = Path(folder or "-").parent / "samples" / "events" / f"key-new-version-created.{schema}.json"
    if not sample.is_file():
        pytest.skip("no sample events beside the folder that KEYSTEWARD_VENDOR_SPECS names")
    caller = _subscribed(schema)
    _new_version(caller)

    assert _shape(caller.cloud.event_grid.take()[0].body) == _shape(json.loads(sample.read_text()))


def _shape(node: object) -> object:
    """Return the names of all members, and nothing of their values."""
    if isinstance(node, dict):
        return {name: _shape(value) for name, value in node.items()}
    return [_shape(item) for item in node] if isinstance(node, list) else ...
