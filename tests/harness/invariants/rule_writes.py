"""What a write of a vault's rules may be: fresh, of the list alone, asked for, and never of what others have there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.history import Firewall
from tests.harness.invariants.pushes import FRESH_SECONDS, ROUNDING
from tests.harness.network_evidence import (
    became_ours,
    is_ordered,
    less,
    of_run,
    properties_of,
    read_before,
    rules_writes,
    seen_by,
    sent_list,
    shown,
    span_of,
    spans_of,
    vault_runs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tests.harness.network_evidence import Span
    from tests.harness.player import Played
    from tests.harness.wire import Sent

FULL_BITS = 32


def rules_are_written_on_fresh_ground(played: Played) -> Iterator[str]:
    """The list was asked for at most two seconds before the write was sent."""
    for write in rules_writes(played):
        read = read_before(played, write)
        if read is None:
            yield f"{write.run}: wrote the rules of {write.vault} without a good read of them before"
        elif (age := write.asked_at - read.asked_at) > FRESH_SECONDS + ROUNDING:
            yield f"{write.run}: wrote the rules of {write.vault} on a list that was {age:.1f} s old"


def writes_change_the_rules_alone(played: Played) -> Iterator[str]:
    """All members of ``networkAcls`` go back as read, and each rule that stays as it was written there."""
    for write, properties in _on_reads(played):
        acls = properties.get("networkAcls")
        body = write.request.json()
        sent = body["properties"].get("networkAcls")
        if acls is None or set(body) != {"properties"} or set(body["properties"]) != {"networkAcls"}:
            yield f"{write.run}: wrote more than the rules, or where there are none: {body}"
            continue
        if {**sent, "ipRules": None} != {**acls, "ipRules": None}:
            yield f"{write.run}: {write.vault} had {acls} and was sent {sent}"
        texts = {rule["value"] for rule in acls["ipRules"]}
        kept = spans_of(sent_list(write)) & spans_of(texts)
        if strange := [t for t in sent_list(write) if span_of(t) in kept and t not in texts]:
            yield f"{write.run}: rules went back in another form: {', '.join(strange)}"


def nothing_is_written_where_nothing_differs(played: Played) -> Iterator[str]:
    """The list that is sent is another one than the list that was read."""
    for write, properties in _on_reads(played):
        before = _listed(properties)
        if sorted(before) == sorted(sent_list(write)):
            yield f"{write.run}: sent {write.vault} the list that it had"


def rules_of_others_stay(played: Played) -> Iterator[str]:
    """
    What leaves the list came there by the app or was claimed, and no run that ended has seen it absent since.

    Judged by what was told at the last read before the write: what came after it nobody could see.
    """
    for write, properties in _on_reads(played):
        for text in set(_listed(properties)) - set(sent_list(write)):
            span = span_of(text)
            times = [o.at for o in became_ours(played) if (o.vault, o.span) == (write.vault, span)]
            since = max((at for at in times if at <= write.asked_at), default=None)
            if span is None or since is None:
                yield f"{write.run}: took {text} out of {write.vault}, which was never ours"
            elif (absent := _seen_absent(played, write, span, since)) is not None:
                yield f"{write.run}: took {text} out of {write.vault}, which {absent} had seen absent"


def only_what_was_asked_for_is_allowed(played: Played) -> Iterator[str]:
    """
    Every address that a write lets in was told for a project that uses the vault, or is the policy's.

    No new rule is wider than the policy takes, but for the policy's own.
    """
    firewall = played.history.firewall
    if firewall is None:
        return
    extra = spans_of(firewall.extra)
    for write, properties in _on_reads(played):
        before, after = spans_of(_listed(properties)), spans_of(sent_list(write))
        asked = {*extra, *_told_by_then(played, write)}
        if strange := less(less(after, before), asked):
            yield f"{write.run}: let {shown(strange)} into {write.vault}, which nobody asked for"
        widest = 1 << FULL_BITS - firewall.widest_prefix
        wide = [span for span in after - before - extra if span[1] - span[0] + 1 > widest]
        if wide:
            yield f"{write.run}: let {shown(wide)} into {write.vault}: wider than /{firewall.widest_prefix}"


def rules_are_written_only_where_allowed(played: Played) -> Iterator[str]:
    """In mode sync or by an operator's order, and only to a vault that filters (or is being prepared)."""
    # A history that says nothing of the firewall leaves the policy as the app has it: in mode sync.
    firewall = played.history.firewall or Firewall()
    for write, properties in _on_reads(played):
        if firewall.mode != "sync" and not is_ordered(played, write):
            yield f"{write.run}: wrote the rules of {write.vault} in mode {firewall.mode} without an order"
            continue
        action = (properties.get("networkAcls") or {}).get("defaultAction")
        opened = action == "Allow" and firewall.when_open == "prepare"
        if properties.get("publicNetworkAccess") != "Enabled" or not (action == "Deny" or opened):
            yield f"{write.run}: wrote the rules of {write.vault}, which does not filter: {action}"


def _on_reads(played: Played) -> Iterator[tuple[Sent, Mapping[str, Any]]]:
    """Every write, with what the read before it was told."""
    for write in rules_writes(played):
        read = read_before(played, write)
        properties = properties_of(read) if read is not None else None
        if properties is not None:
            yield write, properties


def _listed(properties: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(rule["value"] for rule in (properties.get("networkAcls") or {}).get("ipRules", ()))


def _seen_absent(played: Played, write: Sent, span: Span, since: float) -> str | None:
    """The run that was told that a rule is not there, came to its end, and so had to know that it is ours no more."""
    for found in vault_runs(played):
        if not found.ended or found.vault != write.vault or (found.run.ended_at or 0.0) > write.run.began_at:
            continue
        for read in of_run(played, found.run):
            properties = properties_of(read) if read.reads_rules and read.asked_at > since else None
            if properties is not None and span not in spans_of(_listed(properties)):
                return str(found.run)
    return None


def _told_by_then(played: Played, write: Sent) -> set[Span]:
    """Whatever any run was told of those who use the vault, as the writing run was told, or else one before it."""
    vault, seen = write.vault or "", seen_by(played, write.run, write.asked_at)
    before = [found.seen for found in vault_runs(played) if found.run.began_at <= write.run.began_at]
    counted = {project for one in before for project in one.counted(vault)}
    counted -= {project for project in seen.blocks if project not in seen.counted(vault)}
    texts: list[str] = []
    for found in vault_runs(played):
        if found.run.began_at > write.asked_at:
            break
        texts += [a for p in counted for listed in found.seen.addresses.get(p, {}).values() for a in listed]
        if counted and played.history.firewall is not None and played.history.firewall.control_plane:
            texts += found.seen.plane or ()
    return spans_of(texts)
