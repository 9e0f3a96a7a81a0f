"""
What operators can ask and order, in the shapes of the HTTP API. Knows nothing of HTTP but its status codes.

Orders are written down as operations and asked for by a message; a reconcile carries them out. Nothing here acts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from keysteward.clock import Clock
from keysteward.decide.rotation import RotateRequest, RotationDecision, RotationInput, decide_rotation
from keysteward.errors import RequestError
from keysteward.facts import EncryptionAtRest, KeyVersions, ProjectFacts, Unknown
from keysteward.messages import ReconcileMessage, encode
from keysteward.observe.project import NoPermitNeeded, ProjectObserver
from keysteward.plan import Plan
from keysteward.reconcile.project import attempt_of, request_of
from keysteward.settings import Settings
from keysteward.store.audit import Audit
from keysteward.store.ports import WorkQueue
from keysteward.store.records import AuditRecord, OperationRecord, OutcomeRecord, ProjectRecord
from keysteward.store.state import OPERATION_ID, State, Stored, new_operation_id
from keysteward.vocabulary import PROJECT_ID, VAULT_NAME, InvalidNameError, KeyIdentifier, KeyVersion, Scope

NOT_OBSERVED = {"state": "unknown", "reason": "notObserved"}
POLL_SECONDS = 0.25
AUDIT_CURSOR = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_BEHIND = "!"
"""Makes of a key a text that sorts behind it and before every other one: the trail's keys are of one length."""
REFUSED_REQUESTS = frozenset({"requestedVersionUnusable", "requestedVersionNotNewer"})

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Api:
    """One per process. Every method may raise ``RequestError`` and ``StorageError``."""

    settings: Settings
    observer: ProjectObserver
    state: State
    audit: Audit
    queue: WorkQueue
    clock: Clock
    random_hex: Callable[[int], str]

    async def projects(self) -> Json:
        """List every project of the settings, from records; fields are null until a project was seen."""
        seen = {record.project_id: record for record in await self.state.projects()}
        return {"projects": [_summary(seen.get(p) or ProjectRecord(project_id=p)) for p in self.settings.project_ids]}

    async def project(self, project_id: str) -> Json:
        """Observe a project afresh, and say what a reconcile would do now and why."""
        self._must_be_ours(project_id)
        facts, decision, record = await self._look(project_id)
        return {
            "projectId": project_id,
            "observed": _observed(facts),
            "checks": [check.data for check in decision.checks],
            "plan": decision.plan.data,
            "lastOutcome": _outcome_view(record.last_outcome),
        }

    async def rotate(
        self, project_id: str, identifier: str | None, reason: str, who: str, *, dry_run: bool
    ) -> OperationRecord | Json:
        """Order a rotation; with *dry_run* (or ``KEYSTEWARD_DRY_RUN``) say what would be done."""
        self._must_be_ours(project_id)
        wanted = _identifier(identifier)
        facts, decision, _ = await self._look(project_id, RotateRequest("", wanted))
        refused = next((h for h in decision.plan.held if h.code in REFUSED_REQUESTS), None)
        if refused is not None:
            raise RequestError(refused.code, f"{refused.message} {refused.evidence}. {refused.remedy}")
        if wanted is not None and _of_another_key(facts, wanted):
            raise RequestError("requestedVersionNotNewer", "The identifier is of another key or vault.")
        if dry_run or self.settings.dry_run:
            return _dry_run(facts, decision.plan)
        return await self._order("rotate", project_id, reason, who, str(wanted) if wanted is not None else None)

    async def reconcile(self, project_id: str, who: str, *, dry_run: bool) -> OperationRecord | Json:
        """Order a reconcile; with *dry_run* say what it would do."""
        self._must_be_ours(project_id)
        if dry_run or self.settings.dry_run:
            facts, decision, _ = await self._look(project_id)
            return _dry_run(facts, decision.plan)
        return await self._order("reconcile", project_id, "an operator asked for a reconcile", who, None)

    async def operation(self, operation_id: str) -> OperationRecord:
        """Read one operation."""
        if not OPERATION_ID.fullmatch(operation_id):
            raise RequestError("operationIdMalformed", "An operation id reads <scope>.<22 hexadecimal digits>.")
        found = await self.state.operation(operation_id)
        if found is None:
            raise RequestError("operationNotFound", "There is no operation of this id.")
        return found

    async def wait_for(self, operation: OperationRecord, seconds: float) -> OperationRecord:
        """Read the operation until it has come to its end, for *seconds* at most."""
        until = self.clock.monotonic() + seconds
        while not operation.ended and self.clock.monotonic() < until:
            await self.clock.sleep(min(POLL_SECONDS, max(0.0, until - self.clock.monotonic())))
            operation = await self.operation(operation.operation_id)
        return operation

    async def audit_page(
        self, project: str | None, vault: str | None, since: datetime | None, limit: int, cursor: str | None
    ) -> Json:
        """Read the audit trail, newest first; *cursor* is the ``nextCursor`` of the page before, already checked."""
        records, read_on = await self.audit.read(
            scope=_audit_scope(project, vault),
            since=since,
            limit=limit,
            cursor=f"{cursor}{_BEHIND}" if cursor is not None else None,
        )
        # The place where a table is read on begins with a key and need not be one. The key alone can be carried in a
        # URL and be checked when it comes back.
        found = AUDIT_CURSOR.match(read_on) if read_on is not None else None
        assert (found is None) == (read_on is None), "a trail that goes on begins with one of its keys"
        return {"records": [_audit_view(record) for record in records], "nextCursor": found[0] if found else None}

    def _must_be_ours(self, project_id: str) -> None:
        if not PROJECT_ID.fullmatch(project_id):
            raise RequestError("projectIdMalformed", "A project id is 24 lower-case hexadecimal digits.")
        if project_id not in self.settings.project_ids:
            message = "This project is not among ATLAS_PROJECT_IDS. Add it there if Keysteward is to look after it."
            raise RequestError("projectNotFound", message)

    async def _look(
        self, project_id: str, request: RotateRequest | None = None
    ) -> tuple[ProjectFacts, RotationDecision, ProjectRecord]:
        """Decide as a reconcile would now: with what is remembered, and with the order that is next in line."""
        stored, found, observation = await asyncio.gather(
            self.state.project(project_id),
            self.state.open_operations(project_id),
            self.observer.observe(project_id, NoPermitNeeded(), look_at_alert=False),
        )
        record = stored.record
        wanted = request or request_of(record, [operation.record for operation in found])
        policy = self.settings.policy.project(project_id).rotation
        attempt = attempt_of(record.attempt)
        given = RotationInput(observation.facts, policy, self.clock.now(), wanted, attempt)
        return observation.facts, decide_rotation(given), record

    async def _order(
        self, kind: Literal["rotate", "reconcile"], project_id: str, reason: str, who: str, identifier: str | None
    ) -> OperationRecord:
        now = self.clock.now()
        operation = OperationRecord(
            operation_id=new_operation_id(project_id, now, self.random_hex),
            kind=kind,
            project_id=project_id,
            state="queued",
            who=who,
            reason=reason,
            created_at=now,
            key_identifier=identifier,
        )
        # The operation first: the message only hurries a reconcile that would find it anyhow.
        await self.state.save_operation(Stored(operation))
        await self.queue.send(encode(ReconcileMessage(Scope.project(project_id), f"operator:{kind}")))
        return operation


def operation_view(operation: OperationRecord) -> Json:
    """Show an operation as the API does."""
    return {
        "operationId": operation.operation_id,
        "kind": operation.kind,
        "projectId": operation.project_id,
        "vault": operation.vault,
        "state": operation.state,
        "who": operation.who,
        "reason": operation.reason,
        "steps": [{"at": _text(s.at), "what": s.what, "result": s.result} for s in operation.steps],
        "error": operation.error,
    }


def _identifier(text: str | None) -> KeyIdentifier | None:
    if text is None:
        return None
    try:
        found = KeyIdentifier.parse(text)
    except InvalidNameError as error:
        raise RequestError("keyIdentifierMalformed", str(error)) from None
    if found.version is None:
        raise RequestError("keyIdentifierMalformed", "Name the version: Atlas is given exact identifiers only.")
    return found


def _of_another_key(facts: ProjectFacts, wanted: KeyIdentifier) -> bool:
    if isinstance(facts.encryption, Unknown):
        return False
    try:
        return not KeyIdentifier.parse(facts.encryption.key_identifier).same_key(wanted)
    except InvalidNameError:
        return False


def _audit_scope(project: str | None, vault: str | None) -> str | None:
    if project is not None and vault is not None:
        raise RequestError("filtersExclusive", "Filter by project or by vault, not by both.")
    if project is not None:
        if not PROJECT_ID.fullmatch(project):
            raise RequestError("projectIdMalformed", "A project id is 24 lower-case hexadecimal digits.")
        return f"project:{project}"
    if vault is not None:
        if not VAULT_NAME.fullmatch(vault):
            raise RequestError("vaultNameMalformed", "A vault name is 3 to 24 letters, digits and hyphens.")
        return f"vault:{vault.lower()}"
    return None


def _audit_view(record: AuditRecord) -> Json:
    return {
        "at": _text(record.at),
        "who": record.who,
        "what": record.what,
        "scope": record.scope,
        "reason": record.reason,
        "result": record.result,
        "before": record.before,
        "after": record.after,
        "operationId": record.operation_id,
        "evidence": record.evidence,
        "digest": record.digest,
    }


def _outcome_view(outcome: OutcomeRecord | None) -> Json | None:
    if outcome is None:
        return None
    return {
        "at": _text(outcome.at),
        "result": outcome.result,
        "reason": outcome.reason,
        "operationId": outcome.operation_id,
    }


def _dry_run(facts: ProjectFacts, plan: Plan) -> Json:
    return {"dryRun": True, "observed": _observed(facts), "plan": plan.data}


def _summary(record: ProjectRecord) -> Json:
    return {
        "projectId": record.project_id,
        "name": record.name,
        "vault": record.vault,
        "key": record.key,
        "currentVersion": record.current_version,
        "newestVersion": record.newest_version,
        "rotation": {"state": record.rotation_state, "reason": record.rotation_reason},
        "access": dict(NOT_OBSERVED),
        "network": {"state": "unknown"},
        "clusters": {"encrypted": record.clusters_encrypted, "paused": record.clusters_paused},
        "hold": msgspec.to_builtins(record.hold) if record.hold is not None else None,
        "observedAt": _text(record.observed_at),
    }


def _observed(facts: ProjectFacts) -> Json:
    return {
        "observedAt": _text(facts.observed_at),
        "encryption": _fact(facts.encryption, _encryption),
        "keyVersions": _fact(facts.key_versions, _versions),
        "clusters": _fact(
            facts.clusters,
            lambda found: [
                {"name": c.name, "state": str(c.state), "paused": c.paused, "encrypted": c.encrypted} for c in found
            ],
        ),
        "addresses": _fact(
            facts.addresses,
            lambda found: [
                {"cluster": a.cluster, "outbound": list(a.outbound), "announced": list(a.announced)} for a in found
            ],
        ),
    }


def _fact[T](fact: T | Unknown, show: Callable[[T], Any]) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(fact, Unknown):
        return {"unknown": {"code": fact.code, "why": fact.why}}
    return show(fact)


def _encryption(found: EncryptionAtRest) -> Json:
    return {
        "enabled": found.enabled,
        "valid": found.valid,
        "keyIdentifier": found.key_identifier,
        "keyVaultName": found.vault_name,
        "azureEnvironment": found.environment,
        "subscriptionId": found.subscription_id,
        "resourceGroupName": found.resource_group,
        "tenantId": found.tenant_id,
        "clientId": found.client_id,
        "roleId": found.role_id,
        "requirePrivateNetworking": found.private_networking,
    }


def _versions(found: KeyVersions) -> Json:
    ordered = sorted(found.versions, key=lambda v: (v.created_at, v.version), reverse=True)
    return {"complete": found.complete, "source": found.source, "versions": [_version(v) for v in ordered]}


def _version(version: KeyVersion) -> Json:
    return {
        "version": version.version,
        "created": _text(version.created_at),
        "begins": _text(version.not_before),
        "expires": _text(version.expires_at),
        "enabled": version.enabled,
        "type": version.key_type,
    }


def _text(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at is not None else None
