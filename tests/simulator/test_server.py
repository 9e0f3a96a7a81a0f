"""The cloud behind sockets: the vendors' own clients and httpx, unchanged, through the proxy."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp.connector
import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid.aio import EventGridPublisherClient
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys._shared import http_challenge_cache
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient

from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.faults import Fault, FaultKind
from simulator.server import RunningServer, running
from simulator.worlds import World, a_healthy_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
type Served = tuple[RunningServer, World]


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    cloud = Cloud(SimulatedClock.flowing(), 1)
    world = a_healthy_world(cloud)
    http_challenge_cache.clear()
    async with running(cloud) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        # aiohttp reads the CA when it is imported. A process of its own has the variables by then; this one may not.
        monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())
        yield server, world


def _vault(world: World) -> str:
    return f"https://{world.vault}.vault.azure.net"


async def _sign_in(client: httpx.AsyncClient, world: World) -> httpx.Response:
    return await client.post(
        "https://cloud.mongodb.com/api/oauth/token",
        auth=(world.client_id, world.client_secret),
        data={"grant_type": "client_credentials"},
    )


async def test_the_async_sdk_reads_keys_and_pages_of_versions_unchanged(served: Served) -> None:
    server, world = served
    owner = server.cloud.key_vault.vault(world.vault)
    server.cloud.key_vault.empty_page_rate = 0.5
    made = {world.identifier, *(owner.new_version(world.key) for _ in range(60))}

    async with AsyncManagedIdentityCredential() as credential, AsyncKeyClient(_vault(world), credential) as client:
        newest = await client.get_key(world.key)
        listed = [version async for version in client.list_properties_of_key_versions(world.key)]
        policy = await client.get_key_rotation_policy(world.key)
        rotated = await client.rotate_key(world.key)
        with pytest.raises(ResourceNotFoundError) as missing:
            await client.get_key("nobody")

    assert newest.id == owner.state.identifier(owner.key(world.key), owner.key(world.key).versions[newest.id[-32:]])
    assert {version.id for version in listed} == made
    assert len(listed) == len(made)
    assert policy.lifetime_actions[0].time_before_expiry == "P30D"
    assert rotated.id not in made
    assert missing.value.error is not None
    assert missing.value.error.code == "KeyNotFound"


async def test_the_sync_sdk_meets_challenge_and_refusals_unchanged(served: Served) -> None:
    server, world = served

    def use() -> tuple[str, str]:
        with ManagedIdentityCredential() as credential, KeyClient(_vault(world), credential) as client:
            identifier = client.get_key(world.key).id
            server.cloud.key_vault.vault(world.vault).posture = "firewall"
            with pytest.raises(HttpResponseError) as refused:
                client.get_key(world.key)
            assert refused.value.status_code == 403
            return str(identifier), refused.value.error.innererror["code"]  # type: ignore[union-attr]

    assert await asyncio.to_thread(use) == (world.identifier, "ForbiddenByFirewall")
    probes = [one for one in server.cloud.record if one.status == 401]
    assert len(probes) == 1


async def test_httpx_rotates_through_the_proxy_and_the_record_says_who_did(served: Served) -> None:
    server, world = served
    identifier = server.cloud.key_vault.vault(world.vault).new_version(world.key)
    kind = "application/vnd.atlas.2023-01-01+json"
    async with httpx.AsyncClient() as client:
        token = (await _sign_in(client, world)).json()["access_token"]
        answer = await client.patch(
            f"https://cloud.mongodb.com/api/atlas/v2/groups/{world.project_id}/encryptionAtRest",
            headers={"authorization": f"Bearer {token}", "accept": kind, "content-type": kind},
            content=json.dumps({"azureKeyVault": {"keyIdentifier": identifier}}),
        )

    assert answer.json()["azureKeyVault"]["keyIdentifier"] == identifier
    seen = server.cloud.record[-1]
    assert (seen.method, seen.caller, seen.changes) == ("PATCH", world.client_id, True)


@pytest.mark.parametrize("kind", [FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER])
async def test_a_dropped_connection_is_really_cut_and_the_next_request_gets_through(
    served: Served, kind: FaultKind
) -> None:
    server, world = served
    server.cloud.faults.order(Fault(kind, host="cloud.mongodb.com"))
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await _sign_in(client, world)
        assert (await _sign_in(client, world)).status_code == 200


async def test_the_identity_endpoint_can_be_cut_too(served: Served) -> None:
    server, _ = served
    server.cloud.faults.order(Fault(FaultKind.DROP_BEFORE, route="/identity/token"))
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.get(server.environment["IDENTITY_ENDPOINT"])


async def test_nothing_leaves_the_machine(served: Served) -> None:
    server, _ = served
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ProxyError, match="502"):
            await client.get("https://example.com/")
        answer = await client.get("https://management.azure.com/subscriptions")

    async with httpx.AsyncClient(proxy=server.environment["HTTPS_PROXY"]) as client:
        assert (await client.get("http://example.com/")).status_code == 502
    assert answer.status_code == 501
    assert server.proxy.refused == ["CONNECT example.com:443", "GET http://example.com/"]


async def test_resource_manager_answers_through_the_proxy_while_the_vaults_firewall_shuts_out(served: Served) -> None:
    server, world = served
    vault = server.cloud.key_vault.vault(world.vault)
    vault.posture = "firewall"
    async with AsyncManagedIdentityCredential() as credential, httpx.AsyncClient() as client:
        token = (await credential.get_token("https://management.azure.com/.default")).token
        answer = await client.get(
            f"https://management.azure.com{vault.state.resource_id}/keys/{world.key}",
            params={"api-version": "2026-02-01"},
            headers={"authorization": f"Bearer {token}"},
        )

    assert answer.json()["properties"]["keyUriWithVersion"].endswith(world.identifier[-32:])


@pytest.mark.parametrize("environment", ["AZURE_US_GOVERNMENT", "AZURE_CHINA"])
async def test_the_sdk_reads_a_vault_of_another_cloud_unchanged(served: Served, environment: str) -> None:
    server, _ = served
    owner = server.cloud.key_vault.add_vault("kv-elsewhere", environment=environment)
    made = owner.create_key("k")
    url = f"https://{owner.state.host}"
    async with AsyncManagedIdentityCredential() as credential, AsyncKeyClient(url, credential) as client:
        assert (await client.get_key("k")).id == made


async def test_an_api_key_signs_in_by_digest_through_the_proxy(served: Served) -> None:
    _, world = served
    auth = httpx.DigestAuth(world.public_key, world.private_key)
    async with httpx.AsyncClient(auth=auth) as client:
        answer = await client.get(
            "https://cloud.mongodb.com/api/atlas/v2/groups?itemsPerPage=10",
            headers={"accept": "application/vnd.atlas.2023-01-01+json"},
        )

    assert [row["id"] for row in answer.json()["results"]] == [world.project_id]


async def test_the_event_grid_sdk_publishes_to_a_topic_unchanged(served: Served) -> None:
    server, _ = served
    event = CloudEvent(source="/keysteward", type="Keysteward.RotationHeld", data={"reason": "windowClosed"})
    endpoint = "https://steward.westeurope-1.eventgrid.azure.net/api/events"
    async with AsyncManagedIdentityCredential() as credential, EventGridPublisherClient(endpoint, credential) as client:
        await client.send([event])

    (seen,) = server.cloud.sinks.events()
    assert (seen["id"], seen["data"]) == (event.id, {"reason": "windowClosed"})


async def test_a_webhook_is_taken_through_the_proxy_and_answered_late_on_order(served: Served) -> None:
    server, _ = served
    server.cloud.sinks.answer_next(status=202, delay_seconds=0.2)
    async with httpx.AsyncClient() as client:
        began = time.monotonic()
        answer = await client.post("https://hooks.example.com/any/path", content=b'{"a": 1}')

    assert (answer.status_code, server.cloud.sinks.received[0].body) == (202, b'{"a": 1}')
    assert time.monotonic() - began >= 0.2


async def test_latency_is_really_spent(served: Served) -> None:
    server, world = served
    server.cloud.faults.order(Fault(FaultKind.DELAY, latency_seconds=0.2))
    async with httpx.AsyncClient() as client:
        began = time.monotonic()
        await _sign_in(client, world)

    assert time.monotonic() - began >= 0.2


def test_python_m_simulator_prints_the_environment_and_ready_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "simulator", "--world", "healthy", "--seed", "4"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line, ready = json.loads(process.stdout.readline()), process.stdout.readline()
        state = httpx.get(f"{line['control']}/state", trust_env=False).json()
        process.terminate()
        assert process.wait(timeout=20) == 0

    assert ready == "ready\n"
    assert state["seed"] == 4
    assert {
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
    } <= set(line["environment"])
    assert not Path(line["environment"]["SSL_CERT_FILE"]).exists()


def test_a_taken_control_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "simulator", "--port-control", str(port)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    assert f"cannot serve the control routes on port {port}" in ended.stderr
