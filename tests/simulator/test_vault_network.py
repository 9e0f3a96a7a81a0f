"""A write of a vault's network rules through Resource Manager: what stays, what comes back, and who is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulator.faults import Fault, FaultKind
from simulator.resource_manager.service import WRITES_PER_SECOND
from simulator.wire import ConnectionDropped
from tests.simulator.callers import NO_RULES, Caller, a_caller, code_of
from tests.simulator.test_event_grid import _shape as shape_of
from tests.simulator.test_resource_manager import _writes_too_often as write_too_often

if TYPE_CHECKING:
    from simulator.event_grid import Event

SUBNET = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Network/virtualNetworks/v/subnets/one"
WRITTEN = "Microsoft.Resources.ResourceWriteSuccess"
CORRELATION = "x-ms-correlation-request-id"


def _properties(caller: Caller) -> dict[str, Any]:
    properties: dict[str, Any] = caller.manager().json()["properties"]
    return properties


def _events(caller: Caller) -> list[Event]:
    return [event for event in caller.cloud.event_grid.published if event.type == WRITTEN]


def test_a_new_vault_has_no_network_rules_and_filters_nothing() -> None:
    caller = a_caller()

    assert "networkAcls" not in _properties(caller)
    assert caller.vault("/keys/atlas-cmk").status == 200


def test_a_write_is_read_back_at_once_and_by_the_answer_itself() -> None:
    caller = a_caller()
    answer = caller.write_rules("20.1.2.3/32", "20.9.0.0/16")

    assert (answer.status, answer.json()) == (200, caller.manager().json())
    assert _properties(caller)["networkAcls"] == {
        **NO_RULES,
        "ipRules": [{"value": "20.1.2.3/32"}, {"value": "20.9.0.0/16"}],
    }


def test_members_of_properties_that_are_not_sent_stay() -> None:
    caller = a_caller()
    caller.manager(method="PATCH", body={"tags": {"team": "data"}, "properties": {"publicNetworkAccess": "disabled"}})
    caller.write_rules("20.1.2.3")
    document = caller.manager().json()

    assert (document["tags"], document["properties"]["publicNetworkAccess"]) == ({"team": "data"}, "disabled")
    caller.manager(method="PATCH", body={"tags": {}})
    assert (caller.manager().json()["tags"], caller.rules) == ({}, ["20.1.2.3/32"])


def test_network_acls_are_taken_as_sent_so_that_what_is_left_out_is_lost() -> None:
    caller = a_caller()
    caller.cloud.vault_writers.set_network(
        caller.world.vault, default_action="Deny", ip_rules=["20.1.2.3"], bypass="None", subnets=[SUBNET]
    )
    caller.write({"networkAcls": {"defaultAction": "Deny"}})

    assert _properties(caller)["networkAcls"] == NO_RULES


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (["20.1.2.3"], ["20.1.2.3/32"]),
        (["20.1.2.3/32", "20.1.2.3"], ["20.1.2.3/32"]),
        (["20.9.0.0/16", "20.1.0.0/31"], ["20.9.0.0/16", "20.1.0.0/31"]),
        (["20.1.2.0/24", "20.1.2.3"], ["20.1.2.0/24", "20.1.2.3/32"]),
        ([], []),
    ],
    ids=[
        "a plain address comes back with /32",
        "an address in two forms is one rule",
        "ranges come back as sent, in the order sent",
        "overlapping rules stay apart",
        "an empty list empties the list",
    ],
)
def test_the_form_of_rules(sent: list[str], read: list[str]) -> None:
    caller = a_caller()
    caller.write_rules(*sent)

    assert caller.rules == read


def test_an_odd_text_that_stands_there_already_is_taken_back_as_it_is_and_nowhere_else() -> None:
    caller = a_caller()
    caller.cloud.vault_writers.set_network(caller.world.vault, ip_rules=["20.1.2.3", "20.9.8.7/16"])

    assert caller.rules == ["20.1.2.3", "20.9.8.7/16"]
    assert caller.write_rules("20.1.2.3", "20.9.8.7/16", "20.4.4.4").status == 200
    assert caller.rules == ["20.1.2.3", "20.9.8.7/16", "20.4.4.4/32"]
    assert code_of(caller.write_rules("20.9.8.6/16")) == (400, "BadRequest")


def test_the_refusal_of_a_private_range_says_which_rule_and_which_range() -> None:
    caller = a_caller()
    answer = caller.write_rules("20.1.2.3", "10.0.0.0/8")

    assert answer.json()["error"]["message"].startswith(
        "Invalid value found at properties.networkAcls.ipRules[1].value: 10.0.0.0/8 belongs to forbidden range "
    )


def test_a_missing_action_is_named() -> None:
    caller = a_caller()
    caller.cloud.key_vault.vault(caller.world.vault).app_roles = ["keysteward-observer"]

    assert caller.manager().status == 200
    assert "'Microsoft.KeyVault/vaults/write'" in caller.write_rules().json()["error"]["message"]


def test_another_member_is_taken_as_it_is_and_not_changed() -> None:
    caller = a_caller()
    shown = _properties(caller)

    assert caller.write({**shown, "networkAcls": NO_RULES}).status == 200
    assert caller.write({"enableRbacAuthorization": False}).status == 501
    assert _properties(caller)["enableRbacAuthorization"] is True


def test_an_ordered_posture_is_shown_and_not_written_into_the_vault() -> None:
    caller = a_caller()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    for posture in ("firewall", "connection"):
        vault.posture = posture
        caller.manager(method="PATCH", body={"tags": {"a": posture}})
    vault.posture = "open"

    assert "networkAcls" not in _properties(caller)
    assert _properties(caller)["publicNetworkAccess"] == "Enabled"


def test_the_documents_system_data_tells_who_wrote_last_and_when() -> None:
    caller = a_caller()
    made = caller.manager().json()["systemData"]
    caller.cloud.clock.advance(60)
    caller.write_rules("20.1.2.3")
    by_app = caller.manager().json()["systemData"]
    caller.cloud.vault_writers.write(caller.world.vault, by="jo.doe@example.com", add=["20.1.2.4"])
    by_person = caller.manager().json()["systemData"]

    assert (made["lastModifiedAt"], made["lastModifiedByType"]) == (made["createdAt"], "User")
    assert (by_app["lastModifiedBy"], by_app["lastModifiedByType"]) == (caller.cloud.identity.object_id, "Application")
    assert (by_app["lastModifiedAt"], by_app["createdAt"]) == ("2026-09-01T08:01:00.0000000Z", made["createdAt"])
    assert (by_person["lastModifiedBy"], by_person["lastModifiedByType"]) == ("jo.doe@example.com", "User")


def test_a_write_raises_an_event_that_repeats_the_answers_correlation_id() -> None:
    caller = a_caller()
    sent = "aa0e1b2c-3d4e-4f50-8617-283940516273"
    answers = [
        caller.write({"networkAcls": NO_RULES}, extra=extra)
        for extra in ({}, {CORRELATION: sent, "x-ms-client-request-id": "mine"}, {CORRELATION: "no id"})
    ]
    events = _events(caller)

    assert [event.data["correlationId"] for event in events] == [answer.headers[CORRELATION] for answer in answers]
    assert events[1].data["correlationId"] == sent
    assert len({event.data["correlationId"] for event in events}) == 3
    request: Any = events[1].data["httpRequest"]
    assert (request["clientRequestId"], request["method"]) == ("mine", "PATCH")


def test_the_event_names_vault_action_and_writer_and_not_what_was_changed() -> None:
    caller = a_caller()
    caller.write_rules("20.1.2.3")
    (event,) = _events(caller)
    state = caller.cloud.key_vault.vault(caller.world.vault).state
    authorization: Any = event.data["authorization"]

    assert str(event.data["resourceUri"]).lower() == state.resource_id.lower()
    assert event.subject == event.data["resourceUri"]
    assert event.topic == state.resource_id.partition("/providers")[0]
    assert event.data["operationName"] == authorization["action"] == "Microsoft.KeyVault/vaults/write"
    assert authorization["evidence"]["role"] == "Keysteward network writer"
    assert authorization["evidence"]["principalId"] == caller.cloud.identity.object_id.replace("-", "")
    assert "20.1.2.3" not in json.dumps(dict(event.data))


def test_a_persons_write_carries_personal_data_in_its_claims() -> None:
    caller = a_caller()
    caller.cloud.vault_writers.write(caller.world.vault, by="jo.doe@example.com", add=["20.1.2.4"])
    claims = json.dumps(_events(caller)[-1].data["claims"])

    assert "jo.doe@example.com" in claims
    assert '"Jo Doe"' in claims


def test_a_write_that_changes_nothing_is_a_write_like_any_other() -> None:
    caller = a_caller()
    caller.write_rules("20.1.2.3")
    caller.cloud.clock.advance(5)
    caller.write_rules("20.1.2.3")

    assert len(_events(caller)) == 2
    assert caller.manager().json()["systemData"]["lastModifiedAt"] == "2026-09-01T08:00:05.0000000Z"


def test_a_lost_answer_is_a_write_all_the_same() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(FaultKind.DROP_AFTER, method="PATCH"))
    with pytest.raises(ConnectionDropped):
        caller.write_rules("20.1.2.3")

    assert (caller.rules, len(_events(caller))) == (["20.1.2.3/32"], 1)


def test_a_conflict_comes_on_order_and_now_and_then() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(method="PATCH", status=409, code="ConflictError"))
    assert code_of(caller.write_rules("20.1.2.3")) == (409, "ConflictError")
    manager = caller.cloud.resource_manager
    by_method = {route.method: manager.passing_faults(route) for route in manager.router.routes}

    assert [any(one.code == "ConflictError" for one in by_method[method]) for method in ("GET", "PATCH")] == [
        False,
        True,
    ]


def test_the_bucket_of_writes_refills_by_itself_and_reads_go_on() -> None:
    caller = a_caller()
    refused = write_too_often(caller)
    assert caller.manager().status == 200
    caller.cloud.clock.advance(1)
    statuses = [caller.write({}).status for _ in range(WRITES_PER_SECOND + 1)]

    assert refused.headers["x-ms-ratelimit-remaining-subscription-writes"] == "0"
    assert statuses == [200] * WRITES_PER_SECOND + [429]


@pytest.mark.parametrize(
    ("endpoint", "kinds"),
    [
        ("http://127.0.0.1:1/e?functionName=resource_events&code=k", [WRITTEN]),
        ("http://127.0.0.1:1/e?functionName=key_vault_events", ["Microsoft.KeyVault.KeyNewVersionCreated"]),
        ("http://127.0.0.1:1/e", ["Microsoft.KeyVault.KeyNewVersionCreated", WRITTEN]),
        (None, ["Microsoft.KeyVault.KeyNewVersionCreated", WRITTEN]),
    ],
    ids=["the function of resource events", "that of the vault's events", "another endpoint", "in process"],
)
def test_each_function_gets_the_events_of_its_own_topic(endpoint: str | None, kinds: list[str]) -> None:
    caller = a_caller()
    caller.cloud.event_grid.subscribe(endpoint=endpoint)
    caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)
    caller.write_rules("20.1.2.3")
    deliveries = caller.cloud.event_grid.take()

    assert [one.event.type for one in deliveries] == kinds
    assert {one.event.type: one.function_name for one in deliveries} == {
        kind: "resource_events" if kind == WRITTEN else "key_vault_events" for kind in kinds
    }


@pytest.mark.parametrize("schema", ["eventgrid", "cloudevents"])
def test_events_have_the_members_of_the_vendors_samples(schema: str) -> None:
    folder = os.environ.get("KEYSTEWARD_VENDOR_SPECS")
    sample = (
        Path(folder or "-").parent / "samples" / "events" / f"resource-write-success.vault-network-acls.{schema}.json"
    )
    if not sample.is_file():
        pytest.skip("no sample events beside the folder that KEYSTEWARD_VENDOR_SPECS names")
    caller = a_caller()
    caller.cloud.event_grid.subscribe(schema)  # type: ignore[arg-type]
    caller.cloud.vault_writers.write(caller.world.vault, by="admin@example.com", add=["20.1.2.4"])
    made, expected = (shape_of(one) for one in (caller.cloud.event_grid.take()[0].body, json.loads(sample.read_text())))
    for shape in (made, expected):
        _data(shape).pop("claims")  # which claims a token has depends on who asked for it

    assert made == expected


def _data(body: Any) -> dict[str, object]:
    data: dict[str, object] = (body[0] if isinstance(body, list) else body)["data"]
    return data


def test_a_long_list_costs_little_in_every_call() -> None:
    caller = a_caller()
    caller.write_rules(*(f"20.{n // 250 + 1}.{n % 250}.1" for n in range(999)), f"{caller.client_ip}/32")
    network = caller.cloud.key_vault.vault(caller.world.vault).state.network
    first = caller.vault("/keys/atlas-cmk").status
    merged = network._merged
    caller.cloud.clock.advance(1800)
    caller.encryption()
    caller.encryption()

    assert (first, network._merged is merged, len(network._answers)) == (200, True, 1)
