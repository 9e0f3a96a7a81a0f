"""How an operator's sync of a vault comes to its end."""

from __future__ import annotations

from datetime import datetime

from keysteward.decide.firewall.given import FirewallDecision
from keysteward.decide.firewall.notes import main_hold
from keysteward.reasons import REASONS, hold
from keysteward.reconcile import operations
from keysteward.store.records import OperationRecord

WAITING = frozenset({"waitingToRetry"})


def end_order(
    order: OperationRecord,
    decision: FirewallDecision,
    now: datetime,
    *,
    outcome: str,
    written: str,
    undone: int,
    passing: bool,
) -> None:
    """
    End or move an order, as far as the run can say.

    Args:
        order: the order that the run was about.
        decision: the last one of the run, after the write if there was one.
        now: aware, UTC.
        outcome: what the run did, in a word.
        written: what was written, for people; empty: nothing.
        undone: how many rules of the write were gone again right after it.
        passing: what holds the order back may well be gone at the next look.
    """
    if written:
        operations.add_step(order, now, written)
    held = main_hold(decision)
    if outcome == "dryRun":
        operations.end_held(order, now, hold("dryRun", "KEYSTEWARD_DRY_RUN is true"))
    elif undone:
        # To try on would be to fight whatever undoes it; the order was carried out, and did not last.
        evidence = f"{undone} rules were gone again right after the write"
        operations.end_held(order, now, hold("rulesReverted", evidence))
    elif decision.state == "due" or passing or (held is not None and held.code in WAITING):
        operations.move(order, "waiting")
        operations.add_step(order, now, held.message if held is not None else outcome, "tryAgain")
    elif held is not None:
        operations.end_held(order, now, held)
    elif decision.state == "off" and not written:
        reason = REASONS[decision.reason]
        operations.fail(order, now, reason.code, reason.message, "There is nothing to sync.")
    else:
        operations.succeed(order, now, "the vault's rules are in step" if written else "nothing to do: in step already")
