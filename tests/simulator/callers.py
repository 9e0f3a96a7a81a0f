"""How tests call the simulated services in process, with good manners by default."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.azure_clouds import CLOUDS
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.wire import Request
from simulator.worlds import PRESETS, World

if TYPE_CHECKING:
    from simulator.azure_clouds import AzureCloud
    from simulator.wire import Response

V2 = "/api/atlas/v2"
HOST = "cloud.mongodb.com"
NO_RULES = {"bypass": "AzureServices", "defaultAction": "Deny", "ipRules": [], "virtualNetworkRules": []}
FORM = "application/x-www-form-urlencoded"


def media_type(version: str) -> str:
    return f"application/vnd.atlas.{version}+json"


@dataclass
class Caller:
    """An app's hand on one cloud with a healthy world."""

    cloud: Cloud
    world: World
    token: str = ""
    client_ip: str = "203.0.113.10"
    extra_headers: dict[str, str] = field(default_factory=dict)

    def token_request(self, *, client_id: str = "", secret: str = "", body: bytes | None = None) -> Response:
        credentials = f"{client_id or self.world.client_id}:{secret or self.world.client_secret}"
        headers = {
            "authorization": "Basic " + base64.b64encode(credentials.encode()).decode(),
            "content-type": FORM,
            "accept": "application/json",
        }
        sent = b"grant_type=client_credentials" if body is None else body
        return self._send(Request("POST", HOST, "/api/oauth/token", {}, headers, sent, self.client_ip))

    def sign_in(self) -> Caller:
        self.token = self.token_request().json()["access_token"]
        return self

    def atlas(
        self,
        path: str,
        *,
        method: str = "GET",
        version: str = "2023-01-01",
        body: object = None,
        query: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        sent = {"authorization": f"Bearer {self.token}", "accept": media_type(version)}
        if body is not None:
            sent["content-type"] = media_type(version)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._send(
            Request(method, HOST, V2 + path, query or {}, {**sent, **(headers or {})}, data, self.client_ip)
        )

    def project(self, path: str = "", **options: object) -> Response:
        return self.atlas(f"/groups/{self.world.project_id}{path}", **options)  # type: ignore[arg-type]

    def encryption(self) -> dict[str, object]:
        document: dict[str, dict[str, object]] = self.project("/encryptionAtRest").json()
        return document["azureKeyVault"]

    def push(self, identifier: str, **block: object) -> Response:
        """Send the azure block as read, with another identifier."""
        read = {name: value for name, value in self.encryption().items() if name != "valid"}
        return self.patch({"azureKeyVault": {**read, "keyIdentifier": identifier, **block}})

    def patch(self, body: object, **options: object) -> Response:
        return self.project("/encryptionAtRest", method="PATCH", body=body, **options)

    def clusters(self) -> dict[str, dict[str, object]]:
        answer = self.project("/clusters", version="2024-08-05")
        return {row["name"]: row for row in answer.json()["results"]}

    def vault(
        self,
        path: str,
        *,
        method: str = "GET",
        query: dict[str, list[str]] | None = None,
        token: str | None = None,
        vault: str = "",
        body: object = None,
    ) -> Response:
        headers = self._bearer(self.azure.vault_audience, token)
        host = f"{vault or self.world.vault}.{self.azure.vault_suffix}"
        sent = {"api-version": ["2025-07-01"], **(query or {})}
        data = b"" if body is None else json.dumps(body).encode()
        return self._send(Request(method, host, path, sent, headers, data, self.client_ip))

    @property
    def azure(self) -> AzureCloud:
        return CLOUDS[self.world.environment]

    def manager(
        self,
        path: str = "",
        *,
        query: dict[str, list[str]] | None = None,
        token: str | None = None,
        resource: str = "",
        host: str = "",
        method: str = "GET",
        body: object = None,
        extra: dict[str, str] | None = None,
    ) -> Response:
        """Ask Resource Manager for something under the vault, or send it a *body*; ``bytes`` as they are."""
        headers = self._bearer(self.azure.manager_audience, token)
        sent = {"api-version": ["2026-02-01"]} if query is None else query
        place = resource or self.cloud.key_vault.vault(self.world.vault).state.resource_id
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        whole = {**headers, **({"content-type": "application/json"} if data else {}), **(extra or {})}
        return self._send(
            Request(method, host or self.azure.manager_host, place + path, sent, whole, data, self.client_ip)
        )

    def write(self, properties: object, **options: object) -> Response:
        """Change properties of the vault through Resource Manager."""
        return self.manager(method="PATCH", body={"properties": properties}, **options)  # type: ignore[arg-type]

    def write_rules(self, *texts: str, **members: object) -> Response:
        """Write the vault's whole list of rules; other members of ``networkAcls`` as they are now."""
        acls = self.manager().json()["properties"].get("networkAcls", NO_RULES)
        return self.write({"networkAcls": {**acls, "ipRules": [{"value": text} for text in texts], **members}})

    @property
    def rules(self) -> list[str]:
        """The texts of the vault's rules, as Resource Manager shows them."""
        acls = self.manager().json()["properties"].get("networkAcls", NO_RULES)
        return [rule["value"] for rule in acls["ipRules"]]

    def _bearer(self, audience: str, token: str | None) -> dict[str, str]:
        text = self.cloud.identity.token_for(audience).text if token is None else token
        return {"authorization": f"Bearer {text}"} if text else {}

    def _send(self, request: Request) -> Response:
        return self.cloud.handle(request)


def a_caller(seed: int = 0, preset: str = "healthy") -> Caller:
    cloud = Cloud(SimulatedClock(), seed)
    return Caller(cloud, PRESETS[preset](cloud)).sign_in()


def code_of(answer: Response) -> tuple[int, str]:
    """Return status and error code of a refusal, in whichever form it came."""
    body = answer.json()
    error = body.get("error")
    if isinstance(error, dict):
        return answer.status, (error.get("innererror") or error)["code"]
    return answer.status, body.get("errorCode", error)
