"""``ATLAS_PROJECT_IDS=*``: the whole app in process, against the simulated Atlas and vault, without any event."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from keysteward.messages import decode
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.worlds import a_healthy_world
from tests.harness.instances import Instances, settings_for
from tests.harness.processes import Gates, Run, current_run
from tests.harness.simulated_loop import run_simulated
from tests.harness.storage_model import ModelQueue, ModelTables
from tests.harness.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keysteward.app import App
    from simulator.worlds import World
    from tests.harness.simulated_loop import SimulatedLoop

WITHOUT_VAULT = "64b0c1d2e3f405162738495c"
QUIET_SECONDS = 600


class Deployment:
    """One instance that looks for its projects, and the host's part: messages and timers."""

    def __init__(self, clock: SimulatedClock, loop: SimulatedLoop) -> None:
        self.clock = clock
        self.cloud = Cloud(clock)
        self.world: World = a_healthy_world(self.cloud)
        self.cloud.atlas.add_project(WITHOUT_VAULT, "without")
        gates = Gates(Random("gates"), loop.time)
        self.queue = ModelQueue(clock.now)
        storage = (ModelTables(clock.now), self.queue)
        wire = Wire(self.cloud, gates, Random("wire"), loop.time)
        settings = settings_for(("*",), "auto", dry_run=False)
        instances = Instances(settings, self.cloud, storage, wire, gates, Random("instances"), loop.time)
        self.process = instances.start(0)
        current_run.set(Run(1, self.process, "test", "", loop.time()))

    @property
    def app(self) -> App:
        return self.process.app

    async def serve(self) -> list[str]:
        """Work on every message, also on those that are delayed for a while; says for which scopes there were runs."""
        ran: list[str] = []
        quiet_at = self.clock.now().timestamp() + QUIET_SECONDS
        while (at := self.queue.next_visible_at()) is not None and at.timestamp() <= quiet_at:
            await asyncio.sleep(max(0.0, (at - self.clock.now()).total_seconds()))
            for message in self.queue.receive(self.clock.now()):
                if await self.app.handle_message(message.body, message.inserted_at) == "ran":
                    ran.append(str(decode(message.body).scope))  # type: ignore[union-attr] # no vault hints: no events
                self.queue.delete(message)
        return ran

    async def timer(self) -> list[str]:
        """Run ``reconcile_projects``, fifteen minutes later, and what follows from it."""
        await asyncio.sleep(900)
        await self.app.fleet.fan_out()
        return await self.serve()

    def key_requests(self) -> int:
        return sum(1 for one in self.cloud.record if one.host.startswith(self.world.vault) and one.sender == "app")


def deployed[T](story: Callable[[Deployment], Awaitable[T]]) -> T:
    clock = SimulatedClock()

    async def main(loop: SimulatedLoop) -> T:
        return await story(Deployment(clock, loop))

    return run_simulated(clock, main)


def test_projects_are_found_and_only_those_of_azure_key_vault_are_listed_and_looked_at_often() -> None:
    async def story(deployment: Deployment) -> None:
        ours = deployment.world.project_id
        first = await deployment.timer()
        assert {f"project:{ours}", f"project:{WITHOUT_VAULT}"} <= set(first)
        assert await deployment.app.fleet.members() == tuple(sorted((ours, WITHOUT_VAULT)))
        listed = (await deployment.app.api.projects()).projects
        assert [(one.project_id, one.vault) for one in listed] == [(ours, deployment.world.vault)]
        second = await deployment.timer()
        assert f"project:{ours}" in second
        assert f"project:{WITHOUT_VAULT}" not in second
        await deployment.app.fleet.fan_out_daily()
        assert f"project:{WITHOUT_VAULT}" in await deployment.serve()

    deployed(story)


def test_a_lost_event_of_a_found_project_is_repaired_by_the_watch_within_its_minute() -> None:
    async def story(deployment: Deployment) -> None:
        await deployment.timer()
        target = deployment.cloud.key_vault.vault(deployment.world.vault).new_version(deployment.world.key)
        await asyncio.sleep(60)
        began, before = deployment.clock.now(), deployment.key_requests()
        watched = await deployment.app.watcher()
        # The newest version, and the one in use, which is another one now.
        assert (watched.keys, watched.hints, deployment.key_requests() - before) == (1, 1, 2)
        await deployment.serve()
        project = deployment.cloud.atlas.projects[deployment.world.project_id]
        assert project.key_identifier == target
        pushed = next(one for one in deployment.cloud.record if one.method == "PATCH")
        assert (pushed.at - began).total_seconds() < 60
        before = deployment.key_requests()
        watched = await deployment.app.watcher()
        assert (watched.hints, deployment.key_requests() - before) == (0, 1)

    deployed(story)


def test_a_project_that_the_credential_sees_no_more_is_kept_for_a_day() -> None:
    async def story(deployment: Deployment) -> Any:
        await deployment.timer()
        del deployment.cloud.atlas.projects[WITHOUT_VAULT]
        await deployment.timer()
        assert WITHOUT_VAULT in await deployment.app.fleet.members()
        await asyncio.sleep(86_400)
        await deployment.timer()
        assert WITHOUT_VAULT not in await deployment.app.fleet.members()

    deployed(story)
