"""
Reconcile a project: observe, decide, act, record. Every run starts from the true state and converges.

Events, timers, wake-ups and operators all end here; none of them changes what a run does, only when it happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keysteward.act.push import KeyIdentifierPusher, NotPushed, Pushed
from keysteward.clock import Clock
from keysteward.decide.rotation import REFUSAL_LASTS, RotateRequest, RotationDecision, decide_rotation
from keysteward.decide.version_creation import CreationDecision, decide_version_creation
from keysteward.errors import LeaseLostError
from keysteward.facts import Fact, Job, Unknown, identifier_in_use
from keysteward.messages import ReconcileMessage, encode
from keysteward.observe.project import Observation, ProjectObserver
from keysteward.policy import Policy
from keysteward.reasons import hold
from keysteward.reconcile import operations
from keysteward.reconcile.inputs import (
    Remembered,
    creation_input,
    recall,
    request_of,
    reversals_of,
    rotation_input,
    take_in_reversal,
)
from keysteward.reconcile.remember import Memory
from keysteward.reconcile.reminders import remind_of_hold
from keysteward.reconcile.retries import UNKNOWN_LASTS, retry_delay
from keysteward.reconcile.runner import RunResult
from keysteward.reconcile.stop_button import ScopeStopButton
from keysteward.reconcile.under_way import MAY_COME_LATE, UnderWay
from keysteward.secret import Secret
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.store.outbox import Outbox
from keysteward.store.ports import WorkQueue
from keysteward.store.records import (
    AttemptRecord,
    AuditRecord,
    OperationRecord,
    OutcomeRecord,
    ProjectRecord,
    RotationRecord,
)
from keysteward.store.state import State, Stored, new_operation_id
from keysteward.vocabulary import KeyIdentifier, Scope

SOON_SECONDS = 1.0
FIRST_LOOK_SECONDS = 15.0
LONGEST_LOOK_SECONDS = 86_400.0
"""A wake-up further away is asked for by a later run: the queue keeps a message for a week at most."""
NAME_LASTS = timedelta(days=1)
"""A project's name is for people; one look a day keeps a steady run at its three requests."""


@dataclass(slots=True)
class _Run:
    """What one run works on."""

    remembered: Remembered
    request: RotateRequest | None
    observation: Observation
    decision: RotationDecision
    creation: CreationDecision
    now: datetime
    lease: Lease
    outcome: str = "nothingToDo"
    acted: bool = False
    looks: list[float] = field(default_factory=list)
    """When to look again, in seconds: every part of the run may ask, the earliest counts."""

    @property
    def stored(self) -> Stored[ProjectRecord]:
        return self.remembered.stored

    @property
    def record(self) -> ProjectRecord:
        return self.remembered.record

    @property
    def stored_operations(self) -> dict[str, Stored[OperationRecord]]:
        return self.remembered.operations

    @property
    def open_operations(self) -> dict[str, OperationRecord]:
        """Operations by id: those that were open when the run began, and the one that it began itself."""
        return {name: stored.record for name, stored in self.stored_operations.items()}


@dataclass(frozen=True, slots=True)
class ProjectReconciler:
    """Reconciles projects. One per process."""

    observer: ProjectObserver
    pusher: KeyIdentifierPusher
    state: State
    audit: Audit
    outbox: Outbox
    queue: WorkQueue
    clock: Clock
    policy: Policy
    dry_run: bool
    secret_for: Callable[[str], Secret | None]
    random_hex: Callable[[int], str]

    async def __call__(self, scope: Scope, because: str, lease: Lease) -> RunResult:  # noqa: ARG002 - events are hints
        """Converge one project."""
        run = await self._observe_and_decide(scope.name, lease)
        await self._follow(run)
        if run.decision.plan.actions:
            await self._act(run)
        await self._record(run)
        return RunResult(run.outcome, min(run.looks) if run.looks else None)

    async def _observe_and_decide(self, project_id: str, lease: Lease) -> _Run:
        remembered = await recall(self.state, self.clock, project_id)
        record = remembered.record
        if not lease.last_run_ended:
            # The history may be ahead of the record. What is seen next is noted again, even if it is what the record
            # says: a change back in between would otherwise be missing for good.
            record.identifier = None
        look_at_alert = record.rotation is not None or record.age_alert_open
        observation = await self.observer.observe(project_id, lease, look_at_alert=look_at_alert)
        now = self.clock.now()
        if record.name_read_at is None or now - record.name_read_at > NAME_LASTS:
            await lease.ensure()
            record.name = await self.observer.name(project_id) or record.name
            record.name_read_at = now
        operations_by_id = {name: stored.record for name, stored in remembered.operations.items()}
        await self._under_way.recall(record, observation.facts, operations_by_id, now)
        await self._note_reversal(record, observation, now)
        policy = self.policy.project(project_id).rotation
        given = rotation_input(observation.facts, remembered, policy, now)
        decision = decide_rotation(given)
        _drop_attempt_of_another_target(record, decision, observation)
        wish = await creation_input(self.state, observation.facts, remembered, policy, now)
        creation = decide_version_creation(wish)
        return _Run(remembered, given.request, observation, decision, creation, now, lease)

    async def _note_reversal(self, record: ProjectRecord, observation: Observation, now: datetime) -> None:
        """Count an older identifier that something else put back, and keep it in the trail."""
        if take_in_reversal(record, observation.facts, now):
            await self._memory.reversed(record, str(identifier_in_use(observation.facts)), now)

    @property
    def _under_way(self) -> UnderWay:
        return UnderWay(self.state, self.audit, self.outbox)

    @property
    def _memory(self) -> Memory:
        return Memory(self.state, self.audit, self.outbox)

    async def _follow(self, run: _Run) -> None:
        """Take in what was seen, and look how far a rotation that was begun has come."""
        rotation = run.record.rotation
        operation = run.open_operations.get(rotation.operation_id) if rotation is not None else None
        await self._under_way.note_alert(run.record, run.observation.facts, operation, run.now)
        await self._memory.observed(run.record, run.observation.facts, run.decision)
        settlement = await self._under_way.follow(run.record, run.observation.facts, operation, run.now)
        if settlement is None:
            return
        run.outcome = "rotationCompleted" if settlement.complete else "waitingForClusters"
        if settlement.look_again_seconds is not None:
            run.looks.append(settlement.look_again_seconds)

    async def _act(self, run: _Run) -> None:
        if self.dry_run:
            run.outcome = "dryRun"
            return
        target = run.decision.target
        assert target is not None, "a push has a target"
        operation = self._operation_for(run, target)
        lost, rotation = run.record.rotation, self._rotation_for(run, operation, target)
        if lost is not None and lost.state == "pushing":
            await self.audit.close(lost.audit_key, "notDone", evidence="Atlas does not hold it; it is pushed again")

        async def announce() -> None:
            operation.audit_key = rotation.audit_key
            operations.move(operation, "running")
            operations.add_step(operation, run.now, f"pushing {target}")
            await self.state.save_operation(run.stored_operations[operation.operation_id])

        async def intend() -> None:
            run.record.rotation = rotation
            intent = _intent(run, operation, rotation)
            await asyncio.gather(self.audit.add_at(rotation.audit_key, intent), self.state.save_project(run.stored))

        run.acted = True
        outcome = await self._push(run, target, operation, announce, intend)
        now = self.clock.now()
        if isinstance(outcome, Pushed):
            await self._under_way.taken(run.record, rotation, run.open_operations, now, "Atlas answered")
            run.record.current_version = target.version
            run.outcome = "pushed"
            run.looks.append(FIRST_LOOK_SECONDS)
        else:
            await self._not_pushed(run, operation, rotation, outcome, now)

    async def _push(
        self,
        run: _Run,
        target: KeyIdentifier,
        operation: OperationRecord,
        announce: Callable[[], Awaitable[None]],
        intend: Callable[[], Awaitable[None]],
    ) -> Pushed | NotPushed:
        """Push, and read the alert that the push may end while Atlas works: nothing waits for it."""
        project_id, facts = run.record.project_id, run.observation.facts
        secret = self.secret_for(project_id)
        held_at = run.remembered.holds_read_at
        stop_button = ScopeStopButton(self.state, self.clock, Scope.project(project_id), Job.ROTATION, held_at)
        await run.lease.ensure()
        alert, outcome = await asyncio.gather(
            # First in the list, so that it is asked before the push can have an effect.
            self.observer.age_alert(project_id),
            self.pusher.push(
                project_id,
                run.observation,
                target,
                secret=secret.reveal() if secret else None,
                lease=run.lease,
                stop_button=stop_button,
                before=run.decision.push_before,
                announce=announce,
                intend=intend,
            ),
            return_exceptions=True,  # a lost lease must not leave the other request behind
        )
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(alert, BaseException):
            raise alert
        await self._under_way.note_alert(run.record, replace(facts, age_alert_open=alert), operation, run.now)
        return outcome

    async def _not_pushed(
        self, run: _Run, operation: OperationRecord, rotation: RotationRecord, outcome: NotPushed, now: datetime
    ) -> None:
        run.outcome = outcome.code
        evidence = f"{outcome.code}: {outcome.message}"
        if outcome.changed:
            await self.audit.close(rotation.audit_key, "notDone", evidence=evidence)
            run.record.rotation = rotation.replaced
            operations.move(operation, "waiting")
            run.looks.append(SOON_SECONDS)
            return
        count = run.record.attempt.count + 1 if run.record.attempt is not None else 1
        delay = REFUSAL_LASTS.total_seconds() if outcome.permanent else retry_delay(count, outcome.retry_after_seconds)
        run.record.attempt = AttemptRecord(
            target=run.decision.target.version or "" if run.decision.target else "",
            code=outcome.code,
            at=now,
            not_before=now + timedelta(seconds=delay),
            permanent=outcome.permanent,
            count=count,
        )
        operations.add_step(operation, now, evidence, "refused" if outcome.permanent else "tryAgain")
        if not outcome.permanent:
            # Whether Atlas took it is not known: the record stays "pushing", and the next look tells.
            operations.move(operation, "waiting")
            return
        refused = hold("atlasRefusedTarget", evidence)
        await self.audit.close(rotation.audit_key, "refused", evidence=evidence)
        await self._memory.hold(run.record, refused, run.decision.plan.digest, now)
        operations.end_held(operation, now, refused)
        run.record.rotation = rotation.replaced

    async def _record(self, run: _Run) -> None:
        await self._ask_for_version(run)
        held = next(iter((*run.decision.plan.held, *run.creation.plan.held)), None)
        refused_now = run.acted and run.record.attempt is not None and run.record.attempt.permanent
        passing = _holds_for_a_passing_reason(run)
        self._look_again(run)
        if not refused_now and not (passing and run.record.unknown_in_a_row < UNKNOWN_LASTS):
            await self._memory.hold(run.record, held, run.decision.plan.digest, run.now)
        ending = operations.Ending(
            run.record,
            run.decision,
            run.now,
            acted=run.acted,
            passing=passing,
            unseen=isinstance(run.observation.facts.encryption, Unknown),
            request_id=run.request.operation_id if run.request is not None else None,
            may_come_late=MAY_COME_LATE,
        )
        open_orders = [o for o in run.open_operations.values() if not o.ended]
        for operation in run.open_operations.values():
            ending.of(operation, run.outcome)
        await self._audit_refused_orders(run, open_orders)
        ending.forget_what_is_over(run.open_operations)
        if run.record.rotation is not None and run.record.rotation.state == "pushing" and not run.acted:
            wait = (run.record.rotation.begun_at + MAY_COME_LATE - run.now).total_seconds()
            if wait > 0:
                # Once it is over, the next try has its own time.
                run.looks.append(max(SOON_SECONDS, wait))
        if _another_has_its_turn(run):
            run.looks.append(SOON_SECONDS)
        run.record.hold_reminded_at = await remind_of_hold(
            self.outbox,
            Scope.project(run.record.project_id),
            run.remembered.hold,
            run.record.hold_reminded_at,
            run.now,
        )
        _summarise(run)
        await self._use_approvals(run)
        await asyncio.gather(*(self.state.save_operation(o) for o in run.stored_operations.values()))
        await self.state.save_project(run.stored)

    async def _ask_for_version(self, run: _Run) -> None:
        """Ask the vault's own reconcile for a version: several projects may use the key, and one for all is enough."""
        key = run.creation.key
        if run.creation.plan.actions and key is not None and not self.dry_run:
            await self.queue.send(encode(ReconcileMessage(Scope.vault(key.vault), "versionCreationDue")))

    async def _use_approvals(self, run: _Run) -> None:
        """An approval is used once Atlas was seen to hold its version, in whatever way: then only repairs use it."""
        taken = reversals_of(run.record.reversals).rotated_to
        for approval in run.remembered.approvals:
            if approval.record.identifier != str(taken) or approval.record.used_at is not None:
                continue
            approval.record.used_at = run.now
            with contextlib.suppress(LeaseLostError):  # approved again just now: the next run looks at the new word
                await self.state.save_approval(approval)

    async def _audit_refused_orders(self, run: _Run, were_open: list[OperationRecord]) -> None:
        """Keep who wanted what, and why, of every order that this run ended without doing it."""
        for order in were_open:
            if order.state not in {"held", "failed"} or order.who == operations.APP:
                continue
            error = order.error or {}
            await self.audit.add(
                AuditRecord(
                    at=run.now,
                    who=order.who,
                    what="refusedToAct",
                    scope=f"project:{run.record.project_id}",
                    reason=order.reason,
                    result=order.state,
                    after=order.key_identifier,
                    operation_id=order.operation_id,
                    evidence=f"{order.kind}: {error.get('code')}: {error.get('detail')}",
                    digest=run.decision.plan.digest,
                )
            )

    def _look_again(self, run: _Run) -> None:
        unknown = _unknowns(run)
        run.record.unknown_in_a_row = run.record.unknown_in_a_row + 1 if unknown else 0
        passing = [f for f in unknown if f.passing]
        if passing:
            asked = max(f.retry_after_seconds or 0.0 for f in passing)
            run.looks.append(retry_delay(run.record.unknown_in_a_row, asked))
        for at in (run.decision.look_again_at, run.creation.look_again_at):
            if at is not None:
                wait = (at - run.now).total_seconds()
                run.looks.append(min(max(SOON_SECONDS, wait), LONGEST_LOOK_SECONDS))
        attempt = run.record.attempt
        if attempt is not None and not attempt.permanent and attempt.not_before > run.now:
            # Once its time has come a try waits for whatever holds it back, and that asks for its own look.
            run.looks.append(max(SOON_SECONDS, (attempt.not_before - run.now).total_seconds()))

    def _operation_for(self, run: _Run, target: KeyIdentifier) -> OperationRecord:
        """The operation that a push belongs to: the operator's, one of ours that was cut short, or a new one."""
        rotation = run.record.rotation
        again = rotation is not None and rotation.state == "pushing" and rotation.to_identifier == str(target)
        wanted = [rotation.operation_id] if rotation is not None and again else []
        wanted += [run.request.operation_id] if run.request is not None else []
        wanted += [o.operation_id for o in run.open_operations.values() if _is_ours_for(o, target)]
        for operation_id in wanted:
            if operation_id in run.open_operations:
                return run.open_operations[operation_id]
        operation = OperationRecord(
            operation_id=new_operation_id(run.record.project_id, run.now, self.random_hex),
            kind="rotate",
            project_id=run.record.project_id,
            vault=run.record.vault,
            state="queued",
            who=operations.APP,
            reason=run.decision.reason,
            created_at=run.now,
            key_identifier=str(target),
        )
        run.stored_operations[operation.operation_id] = Stored(operation)
        return operation

    def _rotation_for(self, run: _Run, operation: OperationRecord, target: KeyIdentifier) -> RotationRecord:
        before = run.record.rotation
        # What is followed is over only once Atlas holds the new target; a push of which nothing came is over already.
        followed = before.replaced if before is not None and before.state == "pushing" else before
        return RotationRecord(
            state="pushing",
            operation_id=operation.operation_id,
            from_identifier=str(run.decision.current),
            to_identifier=str(target),
            reason=run.decision.reason,
            begun_at=run.now,
            audit_key=self.audit.new_key(run.now),
            replaced=followed,
        )


def _is_ours_for(operation: OperationRecord, target: KeyIdentifier) -> bool:
    return operation.kind == "rotate" and operation.who == operations.APP and operation.key_identifier == str(target)


def _intent(run: _Run, operation: OperationRecord, rotation: RotationRecord) -> AuditRecord:
    return AuditRecord(
        at=run.now,
        who=operation.who,
        what="pushKeyIdentifier",
        scope=f"project:{run.record.project_id}",
        reason=operation.reason,
        result="intended",
        before=rotation.from_identifier,
        after=rotation.to_identifier,
        operation_id=operation.operation_id,
        evidence="; ".join(f"{c.check}: {c.evidence}" for c in run.decision.checks)[:4000],
        digest=run.decision.plan.digest,
    )


def _another_has_its_turn(run: _Run) -> bool:
    """Whether an operator's rotation waits that the next run will decide about: this run was about another, or none."""
    ours = run.request.operation_id if run.request is not None else None
    if ours is not None and not (run.acted or run.open_operations[ours].ended):
        return False
    following = request_of(run.record, [o for o in run.open_operations.values() if not o.ended])
    return following is not None and following.operation_id != ours


def _drop_attempt_of_another_target(record: ProjectRecord, decision: RotationDecision, seen: Observation) -> None:
    """A refusal is about one target; once that is no longer the target, what mattered has changed."""
    if record.attempt is None or _is_unknown(seen.facts.encryption) or _is_unknown(seen.facts.key_versions):
        return
    if decision.target is None or decision.target.version != record.attempt.target:
        record.attempt = None


def _is_unknown(fact: Fact[object]) -> bool:
    return isinstance(fact, Unknown)


def _unknowns(run: _Run) -> list[Unknown]:
    facts = run.observation.facts
    found = (facts.encryption, facts.key_versions, facts.clusters)
    return [f for f in found if isinstance(f, Unknown) and f.code != "notAsked"]


def _holds_for_a_passing_reason(run: _Run) -> bool:
    """Whether the hold, if there is one, comes from a fact that another look may well bring."""
    if run.decision.state != "unknown":
        return False
    facts = run.observation.facts
    missing = next((f for f in (facts.encryption, facts.key_versions) if isinstance(f, Unknown)), None)
    return missing is not None and missing.passing


def _summarise(run: _Run) -> None:
    record, rotation = run.record, run.record.rotation
    record.rotation_state, record.rotation_reason = run.decision.state, run.decision.reason
    if rotation is not None:
        record.rotation_state = "rotating"
        record.rotation_reason = "clustersSettling" if rotation.state == "following" else rotation.reason
    elif record.hold is not None and (run.decision.plan.held or run.acted) and run.decision.state != "unknown":
        record.rotation_reason = record.hold.code
        record.rotation_state = "held"
    elif run.outcome == "dryRun":
        record.rotation_reason = "dryRun"
    operation_id = rotation.operation_id if rotation is not None else None
    record.last_outcome = OutcomeRecord(
        at=run.now, result=run.outcome, reason=record.rotation_reason, operation_id=operation_id
    )
