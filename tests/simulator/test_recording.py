"""The record tells who asked which service, and whether the request might have changed anything."""

from __future__ import annotations

import pytest

from simulator import identity, recording
from simulator.faults import Fault, FaultKind
from simulator.wire import ConnectionDropped, Request
from tests.simulator.callers import a_caller


def test_every_exchange_names_service_and_sender_and_only_changes_might_change() -> None:
    caller = a_caller()
    sent = {"x-identity-header": caller.cloud.identity.header_value}
    query = {"api-version": ["2019-08-01"], "resource": ["https://vault.azure.net"]}
    caller.cloud.handle(Request("GET", identity.HOST, identity.PATH, query, sent))
    caller.encryption()
    caller.vault("/keys/atlas-cmk/")
    caller.manager()
    caller.patch({"azureKeyVault": {}})
    caller.vault("/keys/atlas-cmk/rotate", method="POST")

    rows = [(one.service, one.method, one.is_token_request, one.might_change) for one in caller.cloud.record]
    assert rows == [
        ("atlas", "POST", True, False),
        ("identity", "GET", True, False),
        ("atlas", "GET", False, False),
        ("keyVault", "GET", False, False),
        ("resourceManager", "GET", False, False),
        ("atlas", "PATCH", False, True),
        ("keyVault", "POST", False, True),
    ]
    assert {one.sender for one in caller.cloud.record} == {"app"}


def test_what_was_sent_to_change_counts_though_it_was_refused_or_lost_or_changed_nothing() -> None:
    caller = a_caller()
    caller.patch([])
    caller.patch({"azureKeyVault": {}})
    caller.cloud.faults.order(Fault(FaultKind.DROP_BEFORE, method="PATCH"))
    with pytest.raises(ConnectionDropped):
        caller.patch({"azureKeyVault": {}})
    before = len(caller.cloud.record)
    caller.encryption()

    assert [one.status for one in caller.cloud.record.sent_to_change()] == [400, 200, None]
    assert caller.cloud.record.sent_to_change(since=before) == []
    assert caller.cloud.record.sent_to_change("terraform") == []


def test_the_routes_that_give_tokens_are_routes_of_the_cloud() -> None:
    cloud = a_caller().cloud
    templates = {route.template for service in cloud.services for route in service.router.routes}

    assert templates >= recording.TOKEN_ROUTES


def test_every_service_has_a_name_of_its_own_and_is_found_by_its_hosts() -> None:
    cloud = a_caller().cloud
    names = [service.name for service in cloud.services]

    assert len(set(names)) == len(names)
    assert "" not in names
