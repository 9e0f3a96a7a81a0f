"""
Approvals: an operator's word for one exact identifier, where ``rotation.mode`` is ``approve``.

An approval is a record of ours and no act, so it works under ``KEYSTEWARD_DRY_RUN`` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keysteward.api import answers, views
from keysteward.api.look import Look, Lookout, exact_identifier
from keysteward.clock import Clock
from keysteward.decide.rotation import RotateRequest
from keysteward.errors import LeaseLostError, RequestError
from keysteward.messages import ReconcileMessage, encode
from keysteward.store.audit import Audit
from keysteward.store.ports import StorageError, WorkQueue
from keysteward.store.records import ApprovalRecord, AuditRecord
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Answer, KeyIdentifier, Scope

THE_CHECK: Final = "requestedVersionIsAllowed"
"""The check of the rotation's decision that judges an identifier by its name."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Approvals:
    """Takes approvals. Every method may raise ``RequestError`` and ``StorageError``."""

    lookout: Lookout
    state: State
    audit: Audit
    queue: WorkQueue
    clock: Clock

    async def approve(self, project_id: str, identifier: str, reason: str, who: str) -> answers.Approval:
        """Approve an identifier that a fresh look shows to be newer than the one in use, and usable."""
        await self.lookout.must_be_ours(project_id)
        wanted = exact_identifier(identifier)
        look = await self.lookout.look(project_id, RotateRequest("", wanted))
        _refuse_what_cannot_be_rotated_to(look, wanted)
        now = self.clock.now()
        approval = ApprovalRecord(
            project_id=project_id, identifier=str(wanted), who=who, reason=reason, approved_at=now
        )
        intent = AuditRecord(
            at=now,
            who=who,
            what="approvalGiven",
            scope=f"project:{project_id}",
            reason=reason,
            result="intended",
            after=str(wanted),
        )
        key = await self.audit.add(intent)
        await self._save(approval)
        await self.audit.close(key, "done")
        await self.queue.send(encode(ReconcileMessage(Scope.project(project_id), "operator:approval")))
        return views.approval_view(approval, views.operators_hold(look.remembered.hold, look.now))

    async def _save(self, approval: ApprovalRecord) -> None:
        """Write the approval in the place of one of the same identifier, used or not: the newest word counts."""
        for _ in range(_TRIES):
            before = await self.state.approvals(approval.project_id)
            etag = next((s.etag for s in before if s.record.identifier == approval.identifier), "")
            try:
                return await self.state.save_approval(Stored(approval, etag))
            except LeaseLostError:
                continue  # a reconcile used it, or somebody else approved it, just now
        raise StorageError("An approval could not be written: its row changes all the time.")


def _refuse_what_cannot_be_rotated_to(look: Look, wanted: KeyIdentifier) -> None:
    look.refuse_a_step_back(wanted)
    last = look.decision.checks[-1]
    judged = next((check.answer for check in look.decision.checks if check.check == THE_CHECK), None)
    if judged is Answer.NO:
        raise RequestError("requestedVersionNotNewer", f"{last.evidence}.")
    if judged is not Answer.YES:
        raise RequestError("versionNotVerified", f"The look ended at the check {last.check}: {last.evidence}.")
