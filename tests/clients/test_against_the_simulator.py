"""The clients together, as one look at a project uses them, against the simulated services of every cloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.keyvault.keys._shared import http_challenge_cache

from keysteward.clients.atlas.auth import TOKEN_PATH, ServiceAccountAuth
from keysteward.clients.atlas.client import AtlasClient
from keysteward.clients.atlas.digest import ApiKeyAuth
from keysteward.clients.budget import Budgets
from keysteward.clients.key_vault import KeyVaultClient
from keysteward.clients.read_only import make_http
from keysteward.clients.resource_manager import ResourceManagerClient
from keysteward.errors import DryRunLockError
from keysteward.facts import EncryptionAtRest, KeyVersions, ProjectFacts, Unknown
from keysteward.observe.keys import KeyReader
from keysteward.observe.permit import NoPermitNeeded
from keysteward.observe.project import Observation, ProjectObserver
from keysteward.vocabulary import KeyIdentifier
from simulator.wire import Request, Response
from simulator.worlds import PRIVATE_KEY, PUBLIC_KEY
from tests.azure_answers import NEVER, azure_response
from tests.contract.vendor_specs import check_exchange, missing_specs
from tests.hand_clock import HandClock
from tests.simulator.callers import Caller, a_caller

BASE = "https://cloud.mongodb.com"
CLOUDS = ["healthy", "china", "government"]


@dataclass
class Wire(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """From both kinds of clients to the simulator, in process. Keeps ``METHOD host/path -> status`` of everything."""

    caller: Caller
    log: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def carry(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Response:
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        asked = Request(method, parts.hostname or "", parts.path, query, headers, body)
        answer = self.caller.cloud.handle(asked)
        self.log.append(f"{method} {parts.hostname}{parts.path} -> {answer.status}")
        if missing_specs() is None:
            self.broken += check_exchange(asked, answer)
        return answer

    def for_httpx(self, request: httpx.Request) -> httpx.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self.carry(request.method, str(request.url), headers, request.content)
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)

    async def send(self, request: HttpRequest, **kwargs: Any) -> AsyncHttpResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self.carry(request.method, request.url, headers, b"")
        return azure_response(request, answer.status, answer.headers, answer.body)

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def __aexit__(self, *error: object) -> None:
        return

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        """Be the managed identity as well."""
        return AccessToken(self.caller.cloud.identity.token_for(scopes[0].removesuffix("/.default")).text, NEVER)

    async def __aenter__(self) -> Self:
        return self


class Keysteward:
    """The clients of one process, as ``keysteward.app`` puts them together."""

    def __init__(self, preset: str = "healthy", *, api_key: bool = False, read_only: bool = False) -> None:
        self.caller = a_caller(preset=preset)
        self.wire, clock = Wire(self.caller), HandClock()
        world, transport = self.caller.world, httpx.MockTransport(self.wire.for_httpx)
        account = ServiceAccountAuth(BASE, world.client_id, world.client_secret, clock)
        auth = ApiKeyAuth(PUBLIC_KEY, PRIVATE_KEY, clock) if api_key else account
        http = make_http(auth, read_only=read_only, token_url=BASE + TOKEN_PATH, transport=transport)
        self.atlas = AtlasClient(http, BASE, Budgets(clock), clock)
        self.key_vault = KeyVaultClient(self.wire, Budgets(clock), read_only=read_only, transport=self.wire)
        manager_http = make_http(None, read_only=read_only, transport=transport)
        manager = ResourceManagerClient(manager_http, self.wire, Budgets(clock), clock)
        self.observer = ProjectObserver(self.atlas, KeyReader(self.key_vault, manager), clock)

    @property
    def key(self) -> KeyIdentifier:
        return KeyIdentifier.parse(self.caller.world.identifier)

    @property
    def vault(self) -> Any:
        return self.caller.cloud.key_vault.vault(self.caller.world.vault)

    async def look(self) -> Observation:
        return await self.observer.observe(self.caller.world.project_id, NoPermitNeeded(), look_at_alert=True)

    def sent(self, part: str) -> list[str]:
        return [line for line in self.wire.log if part in line]


@pytest.fixture(autouse=True)
def no_challenge_is_known() -> Iterator[None]:
    """The SDK keeps challenges for the process."""
    http_challenge_cache.clear()
    yield
    http_challenge_cache.clear()


def versions_of(facts: ProjectFacts) -> KeyVersions:
    assert isinstance(facts.encryption, EncryptionAtRest), facts.encryption
    assert isinstance(facts.key_versions, KeyVersions), facts.key_versions
    assert not isinstance(facts.clusters, Unknown), facts.clusters
    return facts.key_versions


@pytest.mark.parametrize("preset", CLOUDS)
@pytest.mark.parametrize("api_key", [False, True], ids=["service account", "API key"])
@pytest.mark.parametrize(("posture", "source"), [("open", "dataPlane"), ("firewall", "resourceManager")])
async def test_a_newer_version_is_seen_whole_in_every_cloud(
    preset: str, api_key: bool, posture: str, source: str
) -> None:
    app = Keysteward(preset, api_key=api_key)
    made = app.vault.new_version(app.caller.world.key)
    app.vault.posture = posture
    found = versions_of((await app.look()).facts)
    newest = found.newest
    assert newest is not None
    assert (str(newest.identifier), newest.key_type, found.source) == (made, "RSA", source)
    assert newest.operations is not None
    assert {"encrypt", "decrypt"} <= newest.operations
    assert found.find(app.key.version or "") is not None
    assert not app.wire.broken, app.wire.broken


async def test_both_sources_describe_a_version_alike() -> None:
    seen = {}
    for posture in ("open", "firewall"):
        app = Keysteward()
        app.vault.posture = posture
        seen[posture] = versions_of((await app.look()).facts).versions
    assert seen["open"] == seen["firewall"]


async def test_a_steady_look_costs_one_request_a_fact_and_a_shut_vault_one_more() -> None:
    app = Keysteward(api_key=True)
    await app.look()
    app.wire.log.clear()
    await app.look()
    assert len(app.wire.log) == 4, app.wire.log
    app.vault.posture = "firewall"
    app.wire.log.clear()
    await app.look()
    assert len(app.wire.log) == 5, app.wire.log
    assert len(app.sent("management.azure.com")) == 1


async def test_a_new_version_is_made_once_and_pushed_with_an_api_key() -> None:
    app = Keysteward(api_key=True)
    read = (await app.look()).block
    assert read is not None
    made = await app.key_vault.create_version(app.key)
    after = await app.atlas.push_key_identifier(app.caller.world.project_id, read, made.identifier, "never-sent")
    assert after.facts.key_identifier == str(made.identifier)
    assert len(app.sent("/rotate -> 200")) == 1
    assert len(app.sent("PATCH")) == 1
    assert not app.wire.broken, app.wire.broken


async def test_the_projects_of_the_credential_are_found() -> None:
    app = Keysteward()
    assert [p.id for p in await app.atlas.projects()] == [app.caller.world.project_id]


@pytest.mark.parametrize("api_key", [False, True], ids=["service account", "API key"])
async def test_under_the_lock_everything_is_seen_and_nothing_is_changed(api_key: bool) -> None:
    app = Keysteward(api_key=api_key, read_only=True)
    look = await app.look()
    versions_of(look.facts)
    assert look.block is not None
    with pytest.raises(DryRunLockError):
        await app.atlas.push_key_identifier(app.caller.world.project_id, look.block, app.key, None)
    with pytest.raises(DryRunLockError):
        await app.key_vault.create_version(app.key)
    changes = [line for line in app.wire.log if not line.startswith("GET ")]
    assert changes == ([] if api_key else [f"POST cloud.mongodb.com{TOKEN_PATH} -> 200"])
