"""What is written down and told of writes of rules: each is intended first, with both lists, and told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.evidence import loop_seconds, moment, record_of, rows_of, writes_to
from tests.harness.network_evidence import listed, properties_of, read_before, rules_writes, sent_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played

WRITE = "writeIpRules"
SEPARATOR = ", "
SETTLES_SECONDS = 1200.0
"""A write whose answer was lost may be carried out for 5 minutes; two timers come after."""


def writes_of_rules_are_intended_first(played: Played) -> Iterator[str]:
    """The trail has both full lists before the request leaves, from the run that sends it."""
    if not rules_writes(played):
        return
    intents = [(w.loop_at, w.run, record_of(w.values)) for w in writes_to(played, "keystewardAudit")]
    intents = [(at, run, row) for at, run, row in intents if row["what"] == WRITE and row["result"] == "intended"]
    for write in rules_writes(played):
        read = read_before(played, write)
        properties = properties_of(read) if read is not None else None
        before = SEPARATOR.join(listed((properties or {}).get("networkAcls")))
        after = SEPARATOR.join(sent_list(write))
        own = [row for at, run, row in intents if run is write.run and at <= write.asked_at]
        if not any((row.get("before", ""), row.get("after", "")) == (before, after) for row in own):
            yield f"{write.run}: wrote the rules of {write.vault} without both lists in the trail"


def intents_of_rules_are_closed(played: Played) -> Iterator[str]:
    """Where the vault can still be read, no write is left open whose fate the list tells, or that is long past."""
    for row in rows_of(played, "keystewardAudit"):
        if row["what"] != WRITE or row["result"] != "intended":
            continue
        vault = row["scope"].partition(":")[2]
        reads = [s for s in played.wire.sent if s.reads_rules and s.vault == vault and s.told is not None]
        last = max((s.asked_at for s in reads if s.run.kind == "message" and s.run.outcome == "ran"), default=0.0)
        if last > loop_seconds(played, moment(row["at"])) + SETTLES_SECONDS:
            yield f"the audit of the write of {vault} at {row['at']} is still open"


def writes_of_rules_are_told(played: Played) -> Iterator[str]:
    """One ``FirewallChanged`` for each write that the trail calls done, and none more."""
    done = {
        f"{row['scope'].partition(':')[2]}-changed-{row['rowKey']}"
        for row in rows_of(played, "keystewardAudit")
        if row["what"] == WRITE and row["result"] == "done"
    }
    told = {row["eventId"].partition("FirewallChanged-")[2] or row["eventId"] for row in _changes(played)}
    found = {name for name in done if not any(one.endswith(name) for one in told)}
    yield from (f"nobody was told of the write {name}" for name in sorted(found))
    strange = {one for one in told if not any(one.endswith(name) for name in done)}
    yield from (f"{one} was told, and the trail knows no such write" for one in sorted(strange))


def _changes(played: Played) -> list[dict[str, str]]:
    return [row for row in rows_of(played, "keystewardOutbox") if row["kind"] == "FirewallChanged"]
