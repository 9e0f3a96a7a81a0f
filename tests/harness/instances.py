"""Instances of the app: composed from the real parts, started, killed and started anew."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING

import httpx
from azure.keyvault.keys._shared import http_challenge_cache

from keysteward.app import App, compose
from keysteward.clients.atlas.auth import ServiceAccountAuth
from keysteward.clients.budget import Budgets
from keysteward.clients.key_vault import KeyVaultClient
from keysteward.settings import Settings, parse_settings
from simulator.worlds import CLIENT_ID, CLIENT_SECRET
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


@cache
def settings_for(project_ids: tuple[str, ...], mode: str, *, dry_run: bool) -> Settings:
    """Read settings as the app does, from an environment."""
    environment = {
        "ATLAS_PROJECT_IDS": ",".join(project_ids),
        "ATLAS_CLIENT_ID": CLIENT_ID,
        "ATLAS_CLIENT_SECRET": CLIENT_SECRET,
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "KEYSTEWARD_POLICY": f'{{"defaults": {{"rotation": {{"mode": "{mode}"}}}}}}',
        "KEYSTEWARD_DRY_RUN": "true" if dry_run else "false",
    }
    settings = parse_settings(environment, _no_files)
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

    @property
    def alive(self) -> Sequence[Process]:
        return [process for process in self.processes if process.alive]

    def pick(self) -> Process | None:
        """Whichever instance the host gives the next piece of work to."""
        alive = self.alive
        return self._random.choice(alive) if alive else None

    def _compose(self) -> App:
        account = self._settings.service_account
        auth = ServiceAccountAuth(
            self._settings.atlas_base_url, account.client_id, account.client_secret.reveal(), self._clock
        )
        http = httpx.AsyncClient(auth=auth, transport=AtlasTransport(self._wire), trust_env=False)
        key_vault = KeyVaultClient(self.credential, Budgets(self._clock), transport=VaultTransport(self._wire))
        return compose(
            self._settings,
            self._tables,
            self._queue,
            self._clock,
            http,
            key_vault,
            random_hex=lambda size: self._random.randbytes(size).hex(),
        )
