"""
A fresh look at one project, decided upon as a reconcile would: with what is remembered, holds and approvals included.

It takes no lease and writes nothing. What callers ask about is looked at only if it is ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from keysteward.api import answers, views
from keysteward.clock import Clock
from keysteward.decide.rotation import RotateRequest, RotationDecision, decide_rotation
from keysteward.decide.version_creation import CreationDecision, decide_version_creation
from keysteward.errors import RequestError
from keysteward.facts import OperatorHold, ProjectFacts, identifier_in_use
from keysteward.observe.permit import NoPermitNeeded
from keysteward.observe.project import ProjectObserver
from keysteward.plan import CheckResult, Plan
from keysteward.policy import Policy
from keysteward.reconcile.inputs import (
    Remembered,
    creation_input,
    operator_hold,
    recall,
    rotation_input,
    take_in_reversal,
)
from keysteward.store.records import ProjectRecord
from keysteward.store.state import State
from keysteward.vocabulary import PROJECT_ID, InvalidNameError, KeyIdentifier, Scope

REFUSED_REQUESTS = frozenset({"requestedVersionUnusable", "requestedVersionNotNewer"})


class Membership(Protocol):
    """Who knows which projects the app looks after (``Fleet``)."""

    async def members(self) -> Sequence[str]: ...
    def lists(self, record: ProjectRecord | None) -> bool: ...
    @property
    def discovers(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, what is remembered, and what a reconcile would do now."""

    facts: ProjectFacts
    remembered: Remembered
    decision: RotationDecision
    creation: CreationDecision
    now: datetime
    vault_hold: OperatorHold | None = None

    @property
    def plan(self) -> Plan:
        """Everything that a reconcile would do now, or holds back."""
        both = self.decision.plan, self.creation.plan
        return Plan([a for plan in both for a in plan.actions], [h for plan in both for h in plan.held])

    @property
    def checks(self) -> Sequence[CheckResult]:
        """The checks of each decision in order."""
        return [*self.decision.checks, *self.creation.checks]

    @property
    def hold(self) -> answers.ShownHold:
        """What holds the project back: an operator, of the project or of its vault, else the decision."""
        held = self.remembered.hold if views.operators_hold(self.remembered.hold, self.now) else self.vault_hold
        return views.standing_hold(held, self.plan, self.remembered.record, self.now)

    @property
    def dry_run(self) -> answers.DryRun:
        observed, plan = views.observed_view(self.facts), views.plan_view(self.plan)
        return answers.DryRun(dry_run=True, observed=observed, plan=plan, hold=self.hold)

    def refuse_a_step_back(self, wanted: KeyIdentifier | None) -> None:
        """
        Refuse a version that no rotation could go to.

        Raises:
            RequestError: ``requestedVersionUnusable`` or ``requestedVersionNotNewer`` (422).
        """
        refused = next((h for h in self.decision.plan.held if h.code in REFUSED_REQUESTS), None)
        if refused is not None:
            raise RequestError(refused.code, f"{refused.message} {refused.evidence}. {refused.remedy}")
        current = identifier_in_use(self.facts)
        if wanted is not None and current is not None and not current.same_key(wanted):
            raise RequestError("requestedVersionNotNewer", "The identifier is of another key or vault.")


@dataclass(frozen=True, slots=True)
class Lookout:
    """Looks at projects. One per process; its methods may raise ``StorageError``."""

    fleet: Membership
    observer: ProjectObserver
    state: State
    policy: Policy
    clock: Clock

    async def must_be_ours(self, project_id: str) -> None:
        """
        Let only the id of a project pass that the app looks after.

        Raises:
            RequestError: ``projectIdMalformed`` (400), ``projectNotFound`` (404).
        """
        if not PROJECT_ID.fullmatch(project_id):
            raise RequestError("projectIdMalformed", "A project id is 24 lower-case hexadecimal digits.")
        if project_id not in await self.fleet.members():
            message = "This project is not among ATLAS_PROJECT_IDS. Add it there if Keysteward is to look after it."
            raise RequestError("projectNotFound", message)

    async def look(self, project_id: str, request: RotateRequest | None = None) -> Look:
        """Observe and decide; with *request* None for the order that is next in line."""
        remembered, observation = await asyncio.gather(
            recall(self.state, self.clock, project_id),
            self.observer.observe(project_id, NoPermitNeeded(), look_at_alert=False),
        )
        now, policy = self.clock.now(), self.policy.project(project_id).rotation
        facts = observation.facts
        take_in_reversal(remembered.record, facts, now)
        decision = decide_rotation(rotation_input(facts, remembered, policy, now, request))
        creation = decide_version_creation(await creation_input(self.state, facts, remembered, policy, now))
        key = identifier_in_use(facts)
        vault_hold = operator_hold(await self.state.hold(Scope.vault(key.vault))) if key is not None else None
        return Look(facts, remembered, decision, creation, now, vault_hold)


def exact_identifier(text: str) -> KeyIdentifier:
    """
    Read the identifier of one version.

    Raises:
        RequestError: ``keyIdentifierMalformed`` (400).
    """
    try:
        found = KeyIdentifier.parse(text)
    except InvalidNameError as error:
        raise RequestError("keyIdentifierMalformed", str(error)) from None
    if found.version is None:
        raise RequestError("keyIdentifierMalformed", "Name the version: Atlas is given exact identifiers only.")
    return found
