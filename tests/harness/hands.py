"""The hands of a history's steps: what the world, the network, operators and other tools do. No step judges."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from keysteward.errors import RequestError
from keysteward.store.records import OperationRecord

if TYPE_CHECKING:
    from simulator.faults import Fault
    from tests.harness.player import Played
    from tests.harness.processes import Process, Strike
    from tests.harness.simulated_loop import SimulatedLoop

WHO = "key:01234567"


class Hands:
    """Every public method is a step, and says in a sentence what it did."""

    played: Played
    _loop: SimulatedLoop

    # Steps: the world.

    def new_version(self, kind: str) -> str:
        return self.played.world.new_version(kind)

    def versions_at_once(self, count: int) -> str:
        return "; ".join(self.played.world.new_version("good") for _ in range(count))

    def set_enabled(self, which: int, enabled: bool) -> str:
        return self.played.world.set_enabled(which, enabled=enabled)

    def push_by_hand(self, project: int, which: int) -> str:
        return self.played.world.push_by_hand(project, which)

    def pin_nothing(self, project: int) -> str:
        return self.played.world.pin_nothing(project)

    def pause(self, project: int, which: int) -> str:
        return self.played.world.pause(project, which)

    def resume(self, project: int, which: int) -> str:
        return self.played.world.resume(project, which)

    def add_cluster(self, project: int) -> str:
        return self.played.world.add_cluster(project)

    def remove_cluster(self, project: int, which: int) -> str:
        return self.played.world.remove_cluster(project, which)

    def switch_encryption(self, project: int) -> str:
        return self.played.world.switch_encryption(project)

    def set_posture(self, posture: str) -> str:
        return self.played.world.set_posture(posture)

    def set_manager(self, allowed: bool) -> str:
        return self.played.world.set_manager(allowed=allowed)

    def order_fault(self, fault: Fault) -> str:
        return self.played.world.order_fault(fault)

    # Steps: other tools, and who sees what.

    def put_back(self, project: int, which: int, kind: str) -> str:
        return self.played.world.put_back(project, which, kind)

    def let_tool_stand(self, project: int, which: int, every_seconds: float, lasts_seconds: float) -> str:
        self._loop.call_later(lasts_seconds, self.stop_tool, project)
        return self.played.world.let_tool_stand(project, which, every_seconds)

    def stop_tool(self, project: int) -> str:
        return self.played.world.stop_tool(project)

    def set_visible(self, project: int, visible: bool) -> str:
        return self.played.world.set_visible(project, visible=visible)

    def answer_targets(self, count: int, status: int, retry_after: str | None, delay_seconds: float) -> str:
        """The receivers of notifications answer so for a while."""
        sinks = self.played.world.cloud.sinks
        sinks.answer_next(count, status=status, retry_after=retry_after, delay_seconds=delay_seconds)
        return f"the next {count} notifications are answered {status}, Retry-After {retry_after}, {delay_seconds:g} s"

    # Steps: events, messages, tokens, instances.

    def lose_events(self, count: int) -> str:
        self.played.world.cloud.event_grid.lose_next(count)
        return f"the next {count} events are lost"

    def double_events(self, count: int) -> str:
        self.played.world.cloud.event_grid.duplicate_next(count)
        return f"the next {count} events come twice"

    def delay_events(self, count: int, seconds: float) -> str:
        self.played.world.cloud.event_grid.delay_next(count, seconds)
        return f"the next {count} events come {seconds:g} s late"

    def double_messages(self) -> str:
        messages = self.played.queue.messages()
        for message in messages:
            self.played.queue.duplicate(message.id)
        return f"{len(messages)} messages are doubled"

    def end_tokens(self) -> str:
        self.played.world.cloud.atlas.tokens.drop_all()
        return "every Atlas token is ended"

    def fail_identity(self, times: int) -> str:
        self.played.instances.credential.fails = times
        return f"the identity endpoint fails {times} times"

    def strike(self, strike: Strike) -> str:
        self.played.gates.arm(strike)
        return f"armed: {strike.kind} at {strike.where} after {strike.skip} others, {strike.seconds:g} s"

    # Steps: operators and the timer.

    def rotate(self, project: int, which: int | None) -> str:
        world = self.played.world
        project_id = world.project(project).id
        identifiers = world.identifiers()
        wanted = identifiers[which % len(identifiers)] if which is not None else None
        self.played.orders.append((self._loop.time(), project_id, wanted))
        reason = "an operator wants it"
        self._ask("rotate", lambda process: process.app.api.rotate(project_id, wanted, reason, WHO, dry_run=False))
        return f"an operator asks for a rotation of {project_id[-2:]} to {wanted[-6:] if wanted else 'the newest'}"

    def reconcile(self, project: int) -> str:
        project_id = self.played.world.project(project).id
        self._ask("reconcile", lambda process: process.app.api.reconcile(project_id, WHO, dry_run=False))
        return f"an operator asks for a reconcile of {project_id[-2:]}"

    def approve(self, project: int, which: int) -> str:
        world = self.played.world
        project_id, identifiers = world.project(project).id, world.identifiers()
        wanted = identifiers[which % len(identifiers)]
        self._ask("approve", lambda p: p.app.api.approvals.approve(project_id, wanted, "looked at it", WHO))
        return f"an operator approves ..{wanted[-6:]} for {project_id[-2:]}"

    def hold_project(self, project: int, jobs: tuple[str, ...], seconds: float | None) -> str:
        project_id, until = self.played.world.project(project).id, self._until(seconds)
        self._ask("hold", lambda p: p.app.api.holds.set_for_project(project_id, jobs, until, "a freeze", WHO))
        return f"an operator holds {' and '.join(jobs)} of {project_id[-2:]} until {until}"

    def lift_project(self, project: int) -> str:
        project_id = self.played.world.project(project).id
        self._ask("lift", lambda p: p.app.api.holds.lift_for_project(project_id, "the freeze is over", WHO))
        return f"an operator lifts the hold of {project_id[-2:]}"

    def hold_vault(self, seconds: float | None) -> str:
        vault, until = self.played.world.vault.state.name, self._until(seconds)
        self._ask("hold", lambda p: p.app.api.holds.set_for_vault(vault, ("firewall",), until, "a freeze", WHO))
        return f"an operator holds the vault until {until}"

    def lift_vault(self) -> str:
        vault = self.played.world.vault.state.name
        self._ask("lift", lambda p: p.app.api.holds.lift_for_vault(vault, "the freeze is over", WHO))
        return "an operator lifts the hold of the vault"

    def _until(self, seconds: float | None) -> Any:
        return self.played.world.now + timedelta(seconds=seconds) if seconds is not None else None

    def fan_out_daily(self) -> str:
        self.played.host.call("timer", "daily_report", lambda process: process.app.fleet.fan_out_daily())
        return "the daily timer fires"

    def fan_out(self) -> str:
        self.played.host.call("timer", "reconcile_projects", lambda process: process.app.fleet.fan_out("timer"))
        return "the timer fires"

    def _ask(self, text: str, call: Any) -> None:
        async def ask(process: Process) -> str:
            try:
                answer = await call(process)
            except RequestError as error:
                return f"refused: {error.code}"
            return f"ordered {answer.operation_id}" if isinstance(answer, OperationRecord) else type(answer).__name__

        self.played.host.call("operator", text, ask)
