"""Resource Manager behind its real client, answering as a test says."""

from __future__ import annotations

from typing import Any

import httpx

from keysteward.clients.budget import Budgets
from keysteward.clients.read_only import make_http
from keysteward.clients.resource_manager import ResourceManagerClient
from keysteward.vocabulary import VaultPlace
from tests.azure_answers import Tokens
from tests.builders import KEY
from tests.hand_clock import HandClock

SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"
PLACE = VaultPlace.parse(KEY, SUBSCRIPTION, "rg-atlas-cmk")


class Manager:
    """Resource Manager, answering by *answer*; keeps what was asked, and by which token."""

    def __init__(self, answer: Any, *, read_only: bool = False) -> None:
        self.answer = answer
        self.asked: list[httpx.Request] = []
        self.bad_tokens: set[str] = set()
        self.tokens = Tokens()
        self.clock = HandClock()
        http = make_http(None, read_only=read_only, transport=httpx.MockTransport(self._handle))
        self.client = ResourceManagerClient(http, self.tokens, Budgets(self.clock), self.clock)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.headers["Authorization"].removeprefix("Bearer ") in self.bad_tokens:
            return httpx.Response(401, json={"error": {"code": "ExpiredAuthenticationToken"}})
        given = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, httpx.Response) else httpx.Response(200, json=given)


def a_vault(network: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """A vault as Resource Manager answers it; *network* None: it never had rules. *changes* are of its properties."""
    properties: dict[str, Any] = {
        "publicNetworkAccess": "Enabled",
        "enableRbacAuthorization": True,
        "accessPolicies": [],
    }
    if network is not None:
        properties["networkAcls"] = network
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-atlas-cmk"
    return {
        "id": f"{group}/providers/Microsoft.KeyVault/vaults/kv-acme-cmk",
        "name": "kv-acme-cmk",
        "type": "Microsoft.KeyVault/vaults",
        "location": "westeurope",
        "properties": properties | changes,
        "systemData": {
            "lastModifiedBy": "terraform@example.com",
            "lastModifiedByType": "User",
            "lastModifiedAt": "2026-11-24T05:00:00.1234567Z",
        },
    }


def network_rules(*values: str, **changes: Any) -> dict[str, Any]:
    """``networkAcls`` that filter, with these IP rules and one subnet."""
    subnet = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n"
    return {
        "bypass": "AzureServices",
        "defaultAction": "Deny",
        "ipRules": [{"value": value} for value in values],
        "virtualNetworkRules": [{"id": subnet, "ignoreMissingVnetServiceEndpoint": False}],
    } | changes
