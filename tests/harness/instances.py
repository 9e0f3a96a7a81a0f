"""Instances of the app: composed from the real parts, started, killed and started anew."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import TYPE_CHECKING

import httpx
from azure.keyvault.keys._shared import http_challenge_cache

from keysteward.app import App, Outside, compose, sign_in
from keysteward.clients.atlas.auth import TOKEN_PATH
from keysteward.clients.budget import Budgets
from keysteward.clients.key_vault import KeyVaultClient
from keysteward.clients.read_only import make_http
from keysteward.clients.resource_manager import ResourceManagerClient
from keysteward.settings import Settings, parse_settings
from keysteward.voice.targets import Target, open_targets
from simulator.sinks import WEBHOOK_HOST
from simulator.worlds import APPLICATION_SECRET, CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY, PUBLIC_KEY
from tests.harness.history import History
from tests.harness.processes import Process
from tests.harness.wire import AtlasTransport, Credential, VaultTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from random import Random

    from keysteward.store.ports import Tables, WorkQueue
    from simulator.clock import SimulatedClock
    from simulator.cloud import Cloud
    from tests.harness.wire import Gate, Wire


WEBHOOK_SECRET = "a-secret-that-signs-nothing-real"
WEBHOOK_PATH = "/keysteward/who-knows-this-address-can-write-there"
TOPIC_HOST = "keysteward-events.westeurope-1.eventgrid.azure.net"
TARGETS = (
    {"kind": "webhook", "url": f"https://{WEBHOOK_HOST}{WEBHOOK_PATH}", "secret": WEBHOOK_SECRET},
    {"kind": "eventgrid", "endpoint": f"https://{TOPIC_HOST}/api/events"},
)
"""Who is told; a history has the first of them, all or none."""


class AppClock:
    """The simulated clock as the app sees it. Waiting moves nothing: time goes on when everybody waits."""

    def __init__(self, clock: SimulatedClock, loop_time: Callable[[], float]) -> None:
        self._clock = clock
        self._loop_time = loop_time

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._loop_time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _no_files(name: str) -> str:
    raise FileNotFoundError(name)


def settings_for(project_ids: tuple[str, ...], mode: str, *, dry_run: bool) -> Settings:
    """Read settings as the app does, from an environment."""
    return settings_of(History(0, (), mode=mode, dry_run=dry_run), project_ids)


def settings_of(history: History, project_ids: tuple[str, ...]) -> Settings:
    """Read the settings of a history."""
    rotation: dict[str, object] = {"mode": history.mode, "maxReversals": history.max_reversals}
    if history.windows:
        rotation["windows"] = [window.as_policy() for window in history.windows]
    if history.creates is not None:
        rotation |= history.creates.as_policy()
    defaults: dict[str, object] = {"rotation": rotation}
    if history.firewall is not None:
        defaults["firewall"] = history.firewall.as_policy()
    environment = {
        "ATLAS_PROJECT_IDS": "*" if history.discovers else ",".join(project_ids),
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "KEYSTEWARD_POLICY": json.dumps({"defaults": defaults}),
        "KEYSTEWARD_DRY_RUN": "true" if history.dry_run else "false",
        "KEYSTEWARD_NOTIFY": json.dumps(TARGETS[: history.targets]),
    }
    if history.signs_in == "apiKey":
        environment |= {"ATLAS_PUBLIC_KEY": PUBLIC_KEY, "ATLAS_PRIVATE_KEY": PRIVATE_KEY}
    else:
        environment |= {"ATLAS_CLIENT_ID": CLIENT_ID, "ATLAS_CLIENT_SECRET": CLIENT_SECRET}
    if history.application:
        environment["ATLAS_AZURE_CLIENT_SECRET"] = APPLICATION_SECRET
    return _parsed(tuple(environment.items()))


@cache
def _parsed(environment: tuple[tuple[str, str], ...]) -> Settings:
    settings = parse_settings(dict(environment), _no_files)
    assert isinstance(settings, Settings), settings
    return settings


class Instances:
    """The instances of one deployment. A killed one comes back with an empty memory."""

    def __init__(
        self,
        settings: Settings,
        cloud: Cloud,
        storage: tuple[Tables, WorkQueue],
        wire: Wire,
        gate: Gate,
        random: Random,
        loop_time: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._cloud = cloud
        self._tables, self._queue = storage
        self._wire = wire
        self._random = random
        self._clock = AppClock(cloud.clock, loop_time)
        self.credential = Credential(cloud, gate)
        self.processes: list[Process] = []
        # The SDK keeps challenges for the whole machine's process: the next history must not know this one's.
        http_challenge_cache._cache.clear()

    def start(self, slot: int) -> Process:
        """Start an instance, or the next life of one."""
        life = sum(1 for process in self.processes if process.slot == slot) + 1
        process = Process(slot, life, self._compose())
        self.processes.append(process)
        return process

    def use(self, settings: Settings) -> None:
        """Let every instance that starts from now on have other settings."""
        self._settings = settings

    @property
    def alive(self) -> Sequence[Process]:
        return [process for process in self.processes if process.alive]

    def pick(self) -> Process | None:
        """Whichever instance the host gives the next piece of work to."""
        alive = self.alive
        return self._random.choice(alive) if alive else None

    def _compose(self) -> App:
        settings, transport = self._settings, AtlasTransport(self._wire)
        http = make_http(
            sign_in(settings, self._clock),
            read_only=settings.dry_run,
            token_url=settings.atlas_base_url + TOKEN_PATH,
            transport=transport,
        )
        budgets, locked = Budgets(self._clock), settings.dry_run
        key_vault = KeyVaultClient(self.credential, budgets, read_only=locked, transport=VaultTransport(self._wire))
        resource_manager = ResourceManagerClient(
            make_http(None, read_only=locked, transport=transport), self.credential, budgets, self._clock
        )
        targets = self._open_targets(transport)
        outside = Outside(self._tables, self._queue, http, key_vault, resource_manager, targets)
        return compose(settings, outside, self._clock, random_hex=lambda size: self._random.randbytes(size).hex())

    def _open_targets(self, transport: AtlasTransport) -> list[Target]:
        if not self._settings.notify_targets:
            return []
        http = httpx.AsyncClient(transport=transport, follow_redirects=False)
        return open_targets(
            self._settings.notify_targets, self.credential, self._clock, http=http, transport=VaultTransport(self._wire)
        )
