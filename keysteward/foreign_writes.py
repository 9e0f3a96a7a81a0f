"""
Writes of a vault by others that an event betrays: at the same time as one of ours, so that one of the two may be lost.

Resource Manager replaces the list of rules whole. What somebody else writes between our read and our write neither of
our reads shows; only the event of his write does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from keysteward.clock import Clock
from keysteward.messages import VaultHint
from keysteward.reasons import hold
from keysteward.store.audit import Audit
from keysteward.store.outbox import Outbox
from keysteward.store.records import AuditRecord, FirewallRecord
from keysteward.store.state import State
from keysteward.vocabulary import Scope

CODE = "possibleLostUpdate"
CLOCKS_DIFFER = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ForeignWrites:
    """Tells of them, each once. One per process."""

    state: State
    audit: Audit
    outbox: Outbox
    clock: Clock

    async def note(self, hint: VaultHint) -> bool:
        """
        Tell of the write behind *hint*, if it was not ours and met one of ours; says whether it did.

        Unverified: that Azure's trail has our writes under the correlation ids that were offered or answered.
        """
        if hint.change != "write" or hint.correlation_id is None or hint.changed_at is None:
            return False
        firewall = (await self.state.vault(hint.vault)).record.firewall
        if hint.correlation_id in firewall.correlation_ids or not _met(firewall, hint.changed_at, self.clock.now()):
            return False
        evidence = f"another wrote to the vault at {hint.changed_at:%Y-%m-%d %H:%M:%S} UTC (correlation id "
        found, scope = hold(CODE, f"{evidence}{hint.correlation_id})"), str(Scope.vault(hint.vault))
        record = AuditRecord(
            at=hint.changed_at,
            who="somebody else",
            what="firewallWarning",
            scope=scope,
            reason=CODE,
            result="observed",
            evidence=found.evidence,
        )
        await self.audit.add_once(hint.correlation_id[:8], record)
        once = f"{hint.vault}-{CODE}-{hint.correlation_id}"
        await self.outbox.announce("FirewallHeld", scope, hint.changed_at, once, {"vault": hint.vault, **found.data})
        return True


def _met(firewall: FirewallRecord, at: datetime, now: datetime) -> bool:
    """Whether *at* lies between the read and the answer of a write of ours, the one under way included."""
    ours = [write for write in (firewall.write, firewall.last_write) if write is not None]
    return any(w.read_at - CLOCKS_DIFFER <= at <= (w.answered_at or now) + CLOCKS_DIFFER for w in ours)
