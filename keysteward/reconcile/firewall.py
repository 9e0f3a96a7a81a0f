"""
Keep the firewall of a vault in step: observe, decide, write, record. The first job of a vault's run.

A run in which nothing differs reads P + 2 things and writes nothing, neither to the vault nor to our tables but the
summary. The list that is written is planned anew on a read of at most two seconds before; what the ledger has to say
of it stands in the table before the request goes out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from keysteward.act.write_firewall import FirewallIntent, FirewallWriter, NothingToWrite, NotWritten, Written
from keysteward.clock import Clock
from keysteward.decide.firewall.addresses import projects_named
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput, list_digest
from keysteward.decide.firewall.ledger import AfterWrite, after_write
from keysteward.decide.firewall.notes import main_hold
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.decide.firewall.reverts import APART, Reverts
from keysteward.facts import Fact, Job, Unknown
from keysteward.network_facts import LedgerRow, NetworkAcl, VaultNetworkFacts
from keysteward.observe.network import NetworkObserver, without_place
from keysteward.policy import Policy
from keysteward.reconcile.firewall_memory import KEPT_OF_EVIDENCE, FirewallMemory
from keysteward.reconcile.firewall_orders import end_order
from keysteward.reconcile.firewall_trail import FirewallTrail
from keysteward.reconcile.retries import UNKNOWN_LASTS, retry_delay
from keysteward.reconcile.runner import NOTHING_TO_DO, RunResult
from keysteward.reconcile.stop_button import ScopeStopButton
from keysteward.reconcile.together import all_ended
from keysteward.reconcile.vault_inputs import (
    RememberedVault,
    attempt_of,
    firewall_input,
    is_another_vault,
    recall_vault,
)
from keysteward.store.lease import Lease
from keysteward.store.ports import StorageError
from keysteward.store.records import AttemptRecord, FirewallRecord
from keysteward.store.state import State
from keysteward.vocabulary import Scope

SOON_SECONDS = 1.0
AFTER_LOSS_SECONDS = APART.total_seconds()
LOST_ANSWER_SECONDS = 60.0
TRIES_OF_OWNERSHIP = 3
"""Times that the ledger is written after an answer: a passing trouble of the storage would give our rules away."""
REFUSAL_LASTS = timedelta(hours=6)
LONGEST_LOOK_SECONDS = 86_400.0
"""A wake-up further away is asked for by a later run: the queue keeps a message for a week at most."""


@dataclass(slots=True)
class FirewallRun:
    """
    What one run works on.

    ``given`` and ``decision`` are of the last look. ``outcome``: what was done, in a word.
    """

    remembered: RememberedVault
    lease: Lease
    given: FirewallInput = field(init=False)
    decision: FirewallDecision = field(init=False)
    kept: tuple[LedgerRow, ...] = ()
    """The ledger as it is while nothing is written."""
    outcome: str = NOTHING_TO_DO
    changed: str = ""
    """What was written, for people."""
    undone: int = 0
    """How many rules of the write were gone again right after it."""
    looks: list[float] = field(default_factory=list)

    @property
    def record(self) -> FirewallRecord:
        return self.remembered.stored.record.firewall

    @property
    def passing(self) -> bool:
        """Whether all that this run could not see may well be seen by another look."""
        unknown = unknowns(self.given.facts)
        return bool(unknown) and all(found.passing for found in unknown)

    def decide(self, given: FirewallInput) -> FirewallDecision:
        """Decide on *given*, and go on from there."""
        self.decision = decide_firewall(given)
        self.kept = self.decision.ledger
        if self.decision.write is not None:
            # Without the rows that a write would begin: whether there is one is not certain yet.
            self.kept = decide_firewall(replace(given, may_change=False, request=None)).ledger
        # A rule that was seen absent is ours no more, whatever the next look shows.
        self.given = replace(given, ledger=self.kept, reverts=self.decision.reverts)
        return self.decision


def unknowns(facts: VaultNetworkFacts) -> list[Unknown]:
    """What a run asked for and could not read."""
    found = [
        facts.acl,
        facts.control_plane,
        *(p.addresses for p in facts.projects),
        *(p.clusters for p in facts.projects),
        *(p.unread for p in facts.projects),
    ]
    return [each for each in found if isinstance(each, Unknown) and each.code != "notAsked"]


@dataclass(frozen=True, slots=True)
class FirewallReconciler:
    """Keeps firewalls in step. One per process."""

    observer: NetworkObserver
    writer: FirewallWriter
    state: State
    memory: FirewallMemory
    trail: FirewallTrail
    clock: Clock
    policy: Policy
    dry_run: bool
    discovers: bool
    """Whether Atlas says which projects there are (``ATLAS_PROJECT_IDS=*``)."""
    members: Callable[[], Awaitable[Collection[str]]]

    async def __call__(self, scope: Scope, lease: Lease) -> RunResult:
        """Converge the firewall of one vault."""
        remembered = await recall_vault(self.state, self.clock, scope, await self.members())
        run = await self._observe_and_decide(remembered, lease)
        await self._settle_lost_write(run)
        await self._remember_seen(run)
        if run.decision.write is not None and not self.dry_run:
            await self._write(run, scope)
        elif run.decision.write is not None:
            run.outcome = "dryRun"
        await self._record(run)
        summary = run.outcome if run.outcome == NOTHING_TO_DO else f"firewall {run.outcome}"
        return RunResult(summary, min(run.looks, default=None))

    async def _observe_and_decide(self, remembered: RememberedVault, lease: Lease) -> FirewallRun:
        place, projects = remembered.place, remembered.projects
        if place is None:
            return self._run(without_place(projects, self.clock.now()), remembered, lease)
        facts = await self.observer.observe_lightly(place, projects, lease)
        run = self._run(facts, remembered, lease)
        if run.decision.needs_more_facts or _somebody_left(self._given(facts, remembered)):
            run = self._run(await self.observer.complete(place, facts, lease), remembered, lease)
        return run

    def _run(self, facts: VaultNetworkFacts, remembered: RememberedVault, lease: Lease) -> FirewallRun:
        run = FirewallRun(remembered, lease)
        run.decide(self._given(facts, remembered))
        return run

    def _given(self, facts: VaultNetworkFacts, remembered: RememberedVault) -> FirewallInput:
        given = firewall_input(facts, remembered, self.policy, self.clock.now(), discovers=self.discovers)
        if is_another_vault(remembered, facts.acl):
            # Of the vault that had this name before, nothing in this one is ours.
            return replace(given, ledger=())
        return replace(given, ledger=_without_doubtful(given.ledger, remembered, facts.acl))

    async def _settle_lost_write(self, run: FirewallRun) -> None:
        """Close the trail of a write whose answer was lost, as far as the list tells what became of it."""
        write, acl = run.record.write, run.given.facts.acl
        if write is None or isinstance(acl, Unknown):
            return
        if await self.trail.settle_lost_write(run.remembered, acl, self.clock.now()):
            return
        run.looks.append(LOST_ANSWER_SECONDS)

    async def _remember_seen(self, run: FirewallRun) -> None:
        """Keep what was seen before anything rests on it: addresses for good, the ledger where nothing is written."""
        await self.memory.addresses(run.remembered, run.given, run.lease)
        await self._keep_ledger(run)

    async def _keep_ledger(self, run: FirewallRun) -> None:
        """Keep the ledger as it is while nothing is written."""
        # The losses first: once the ledger has forgotten a rule, nobody can tell any more that it was lost.
        await self._keep_losses(run)
        await self.memory.ledger(run.remembered, run.kept)

    async def _keep_losses(self, run: FirewallRun) -> None:
        """Keep what the last look has shown to be lost; each loss once."""
        await self.memory.losses(run.remembered, run.given, run.decision)
        run.decision = replace(run.decision, lost=())

    async def _write(self, run: FirewallRun, scope: Scope) -> None:
        place = run.remembered.place
        assert place is not None, "nothing is planned for a vault that was not read"
        intents: list[FirewallIntent] = []

        def plan_again(acl: NetworkAcl) -> tuple[str, ...] | None:
            if _made_at(acl) != _made_at(run.given.facts.acl):
                # Another vault of this name since the first read: the next run begins with it.
                run.looks.append(SOON_SECONDS)
                return None
            facts = replace(run.given.facts, acl=acl)
            return run.decide(replace(run.given, facts=facts, now=self.clock.now())).write

        async def intend(intent: FirewallIntent) -> None:
            intents.append(intent)
            now, again = self.clock.now(), len(intents) > 1
            await self._keep_losses(run)
            await all_ended(
                self.trail.intend(run.remembered, run.given, run.decision, intent, now, again=again),
                self.memory.ledger(run.remembered, run.decision.ledger),
            )

        outcome = await self.writer.write(
            place,
            plan_again=plan_again,
            lease=run.lease,
            stop_button=ScopeStopButton(self.state, self.clock, scope, Job.FIREWALL, run.remembered.holds_read_at),
            intend=intend,
            answered=partial(self._answered, run, intents),
        )
        if isinstance(outcome, Written):
            await self._written(run, outcome)
        elif isinstance(outcome, NothingToWrite):
            if intents:
                await self.trail.not_done(run.remembered, "the list had become right, or must not be written any more")
            await self._keep_ledger(run)
        else:
            await self._not_written(run, outcome, intents)

    async def _answered(self, run: FirewallRun, intents: Sequence[FirewallIntent], answer: NetworkAcl) -> None:
        """Take in what is ours now, before anything else is done: a crash before this gives the new rules away."""
        result = _result(run, intents[-1].before, intents[-1].rules, answer)
        for _ in range(TRIES_OF_OWNERSHIP - 1):
            with contextlib.suppress(StorageError):
                return await self._keep_ownership(run, result)
        return await self._keep_ownership(run, result)

    async def _keep_ownership(self, run: FirewallRun, result: AfterWrite) -> None:
        now = self.clock.now()
        await all_ended(self.memory.ledger(run.remembered, result.ledger), self.trail.answered(run.remembered, now))

    async def _written(self, run: FirewallRun, outcome: Written) -> None:
        if isinstance(outcome.answer, Unknown):
            # Nobody knows whether and when it is written, so nothing becomes ours. The next look closes the trail.
            run.outcome = outcome.answer.code
            self._note_failure(run, outcome.answer.code, outcome.sent, asked=LOST_ANSWER_SECONDS)
            if not isinstance(outcome.after, Unknown):
                # What has left is seen to be gone: whoever puts it back from now on is its owner.
                facts = replace(run.given.facts, acl=outcome.after)
                run.given = replace(run.given, facts=facts, ledger=run.decision.ledger)
            await self._hold_back(run, keep_intent=isinstance(outcome.after, Unknown))
            run.looks.append(LOST_ANSWER_SECONDS)
            return
        run.record.refused = None
        result = _result(run, outcome.before, outcome.sent, outcome.answer)
        run.outcome, run.changed = "written", _told(result)
        again = outcome.after if not isinstance(outcome.after, Unknown) else outcome.answer
        warning = result.warning or _foreign_change(outcome, run.decision.ledger)
        await self.trail.written(run.remembered, run.decision, outcome, result, warning, self.clock.now())
        await self._look_at_what_lasted(run, result, again)

    async def _look_at_what_lasted(self, run: FirewallRun, result: AfterWrite, acl: NetworkAcl) -> None:
        """Decide once more, on the list as it is after the write: what did not last is seen here."""
        facts = replace(run.given.facts, acl=acl)
        # An operator who asks says that whatever undid our writes is mended: if it is not, it is counted anew.
        forgotten = run.given.request is not None and not (result.not_kept or result.not_removed)
        reverts = Reverts() if forgotten else result.reverts
        after = replace(run.given, facts=facts, ledger=result.ledger, reverts=reverts, now=self.clock.now())
        final = run.decide(replace(after, attempt=None))
        run.undone = len(final.lost) + len(result.not_kept) + len(result.not_removed)
        if final.write is not None:
            run.looks.append(AFTER_LOSS_SECONDS if run.undone else SOON_SECONDS)
        await self._keep_ledger(run)
        await self.memory.forget_strangers(run.remembered, replace(run.given, ledger=final.ledger))

    async def _not_written(self, run: FirewallRun, outcome: NotWritten, intents: list[FirewallIntent]) -> None:
        run.outcome = outcome.code
        evidence = f"{outcome.code}: {outcome.message}"
        if intents:
            await self.trail.not_done(run.remembered, evidence, refused=outcome.permanent)
        if outcome.changed:
            run.looks.append(SOON_SECONDS)
            await self._keep_ledger(run)
            return
        sent = intents[-1].rules if intents else run.decision.write or ()
        self._note_failure(run, evidence, sent, permanent=outcome.permanent, asked=outcome.retry_after_seconds)
        await self._hold_back(run, keep_intent=False)

    def _note_failure(
        self, run: FirewallRun, code: str, sent: Sequence[str], *, permanent: bool = False, asked: float | None = None
    ) -> None:
        before, now = run.record.refused, self.clock.now()
        count = before.count + 1 if before is not None else 1
        delay = REFUSAL_LASTS.total_seconds() if permanent else retry_delay(count, asked)
        run.record.refused = AttemptRecord(
            target=list_digest(sent),
            code=code[:KEPT_OF_EVIDENCE],
            at=now,
            not_before=now + timedelta(seconds=delay),
            permanent=permanent,
            count=count,
        )

    async def _hold_back(self, run: FirewallRun, *, keep_intent: bool) -> None:
        """
        Decide once more, with the failure: it says what holds the rules back and until when.

        *keep_intent*: the request may still be carried out, so that the ledger keeps what it would bring.
        """
        run.decide(replace(run.given, attempt=attempt_of(run.record.refused), now=self.clock.now()))
        if not keep_intent:
            await self._keep_ledger(run)

    async def _record(self, run: FirewallRun) -> None:
        now = self.clock.now()
        unknown = unknowns(run.given.facts)
        record = run.record
        record.unknown_in_a_row = record.unknown_in_a_row + 1 if unknown else 0
        passing = [found for found in unknown if found.passing]
        if passing:
            asked = max(found.retry_after_seconds or 0.0 for found in passing)
            run.looks.append(retry_delay(record.unknown_in_a_row, asked))
        if run.decision.look_again_at is not None:
            wait = (run.decision.look_again_at - now).total_seconds()
            run.looks.append(min(max(SOON_SECONDS, wait), LONGEST_LOOK_SECONDS))
        await self.memory.verdict(run.remembered, run.given, run.decision, run.outcome, now, passing=run.passing)
        if await self._end_orders(run, now):
            run.looks.append(SOON_SECONDS)
        await self.state.save_vault(run.remembered.stored)

    @staticmethod
    def _is_passing(run: FirewallRun) -> bool:
        """Whether what holds an order back is only that something could not be read, and not for long."""
        held = main_hold(run.decision)
        unknown = run.decision.state == "unknown" or (held is not None and held.code == "networkUnknown")
        return unknown and run.passing and run.record.unknown_in_a_row < UNKNOWN_LASTS

    async def _end_orders(self, run: FirewallRun, now: datetime) -> bool:
        """End or move the order that the run was about; says whether another has its turn."""
        request, orders = run.given.request, run.remembered.operations
        if request is None:
            return False
        order = orders[request.operation_id]
        end_order(
            order.record,
            run.decision,
            now,
            outcome=run.outcome,
            written=run.changed,
            undone=run.undone,
            passing=self._is_passing(run),
        )
        await self.trail.refused_order(order.record, run.decision, now)
        await self.state.save_operation(order)
        waiting = [o for o in orders.values() if not o.record.ended and o is not order]
        return order.record.ended and bool(waiting)


def _somebody_left(given: FirewallInput) -> bool:
    """Whether something is remembered here of a project of ours that, as records say, has left the vault."""
    left = {project.project_id for project in given.facts.projects if project.counts is False}
    return not left.isdisjoint(projects_named(given.ledger).union(given.remembered))


def _without_doubtful(
    ledger: Sequence[LedgerRow], remembered: RememberedVault, acl: Fact[NetworkAcl]
) -> tuple[LedgerRow, ...]:
    """
    Leave out rules that a write was to remove, where its outcome was not recorded and the vault was changed since.

    One that is there may be back by another's hand; only a vault that nobody has written since is as it was.
    """
    write = remembered.stored.record.firewall.write
    if write is None or isinstance(acl, Unknown):
        return tuple(ledger)
    untouched = acl.modified_at is not None and acl.modified_at == write.modified_at
    return tuple(row for row in ledger if untouched or not row.leaving)


def _made_at(acl: Fact[NetworkAcl]) -> datetime | None:
    return None if isinstance(acl, Unknown) else acl.created_at


def _result(run: FirewallRun, before: NetworkAcl, sent: Sequence[str], answer: NetworkAcl) -> AfterWrite:
    return after_write(before, sent, answer, run.decision.ledger, run.decision.reverts)


def _foreign_change(outcome: Written, ledger: tuple[LedgerRow, ...]) -> str | None:
    """The trace of another's write between the answer and the read after it."""
    if isinstance(outcome.after, Unknown):
        return None
    return after_write(outcome.before, outcome.sent, outcome.after, ledger).warning


def _told(result: AfterWrite) -> str:
    parts = ((len(result.confirmed), "added"), (len(result.removed), "removed"))
    return ", ".join(f"{count} rules {what}" for count, what in parts if count) or "nothing changed"
