"""What may leave a vault's rules: only what is proven to be gone, for long enough, and not much at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.invariants.pushes import ROUNDING
from tests.harness.network_evidence import (
    became_ours,
    is_ordered,
    less,
    lets_plane_in,
    listed,
    projects_in_settings,
    properties_of,
    read_before,
    rules_writes,
    seen_by,
    sent_list,
    shown,
    spans_of,
    touch,
    uses,
    vault_runs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.network_evidence import Seen, Span
    from tests.harness.player import Played
    from tests.harness.wire import Sent

HOUR = 3600.0
NEVER_LARGE = 3


def nothing_leaves_unless_every_source_is_whole(played: Played) -> Iterator[str]:
    """A run that lets addresses go was told, by every source, all there is; and none of them still wants one."""
    for write, leaving, _ in _removals(played):
        vault, seen = write.vault or "", seen_by(played, write.run, write.asked_at)
        for project in _last_on(played, write) & projects_in_settings(write.run):
            if (lacks := _unread(seen, project, vault)) is not None:
                yield f"{write.run}: let {shown(leaving)} of {vault} go, and {lacks} of {project[-2:]} was not read"
        takes_plane = lets_plane_in(played) and seen.counted(vault)
        if takes_plane and (not seen.plane or len(spans_of(seen.plane)) < len(set(seen.plane)) - _ipv6(seen.plane)):
            yield f"{write.run}: let {shown(leaving)} of {vault} go, and the control plane was not read whole"
        for who, texts in seen.wanted(vault, plane=lets_plane_in(played)).items():
            if still := [span for span in leaving if touch(span, spans_of(texts))]:
                yield f"{write.run}: let {shown(still)} of {vault} go, which {who} wants"


def nothing_leaves_before_its_time(played: Played) -> Iterator[str]:
    """For ``removeAfterHours`` no run that ended was told by a whole read that somebody wants it."""
    firewall = played.history.firewall
    for write, leaving, _ in _removals(played):
        hours = firewall.remove_after_hours if firewall is not None else 0
        for span in leaving:
            since = _wanted_last(played, write, span)
            if since is not None and write.asked_at - since < hours * HOUR - ROUNDING:
                age = (write.asked_at - since) / 60
                yield f"{write.run}: let {shown([span])} of {write.vault} go {age:.0f} min after it was wanted"


def what_nobody_answers_for_stays(played: Played) -> Iterator[str]:
    """Addresses of a project that left the settings leave only by an operator's word."""
    for write, leaving, _ in _removals(played):
        if is_ordered(played, write, large=True):
            continue
        gone = set(played.world.project_ids) - projects_in_settings(write.run)
        for span in leaving:
            owners = _owners(played, write, span)
            if owners and owners <= gone:
                yield f"{write.run}: let {shown([span])} of {write.vault} go, whose project is not in the settings"


def not_much_leaves_at_once(played: Played) -> Iterator[str]:
    """More than three rules, and more than ``maxRemovalsPercent`` of ours, leave at once only by an operator's word."""
    firewall = played.history.firewall
    for write, _, rules in _removals(played):
        most = max((len(ours) for at, ours in _owned(played, write.vault or "") if at <= write.asked_at), default=0)
        percent = firewall.max_removals_percent if firewall is not None else 0
        large = len(rules) > NEVER_LARGE and len(rules) * 100 > percent * most
        if large and not is_ordered(played, write, large=True):
            yield f"{write.run}: let {len(rules)} rules of {write.vault} go at once, of {most} at most that were ours"


def _removals(played: Played) -> Iterator[tuple[Sent, list[Span], set[Span]]]:
    """Every write by which addresses leave: those, and the rules that held them."""
    for write in rules_writes(played):
        read = read_before(played, write)
        properties = properties_of(read) if read is not None else None
        if properties is None:
            continue
        before, after = spans_of(listed(properties.get("networkAcls"))), spans_of(sent_list(write))
        if leaving := less(before - after, after):
            yield write, leaving, {span for span in before - after if touch(span, leaving)}


def _last_on(played: Played, write: Sent) -> set[str]:
    """Projects whose block, as a vault's run was told it last before this one, says that they use the vault."""
    last: dict[str, bool] = {}
    for found in vault_runs(played):
        if found.ended and (found.run.ended_at or 0.0) <= write.run.began_at:
            last |= {p: uses(block, write.vault or "") for p, block in found.seen.blocks.items()}
    return {project for project, on in last.items() if on}


def _unread(seen: Seen, project: str, vault: str) -> str | None:
    block = seen.blocks.get(project)
    if block is None:
        return "the encryption"
    if not uses(block, vault):
        return None
    if project not in seen.clusters:
        return "the list of clusters"
    return "the list of addresses" if project not in seen.addresses else None


def _ipv6(texts: tuple[str, ...]) -> int:
    return sum(1 for text in set(texts) if ":" in text)


def _wanted_last(played: Played, write: Sent, span: Span) -> float | None:
    """When an address was last wanted by a whole read of a run that ended, or became ours."""
    vault = write.vault or ""
    came = [o.at for o in became_ours(played) if o.vault == vault and touch(span, [o.span]) and o.at <= write.asked_at]
    times = came[-1:]
    for found in vault_runs(played):
        if not found.ended or found.vault != vault or (found.run.ended_at or 0.0) > write.run.began_at:
            continue
        wanted = found.seen.wanted(vault, plane=lets_plane_in(played))
        if any(touch(span, spans_of(texts)) for texts in wanted.values()):
            times.append(found.run.began_at)
    return max(times, default=None)


def _owners(played: Played, write: Sent, span: Span) -> set[str]:
    """Whoever was ever told to want an address of the vault, by their ids; ``plane`` for the control plane."""
    return {
        who
        for found in vault_runs(played)
        if found.run.began_at <= write.asked_at
        for who, texts in found.seen.wanted(write.vault or "", plane=lets_plane_in(played)).items()
        if touch(span, spans_of(texts))
    }


def _owned(played: Played, vault: str) -> Iterator[tuple[float, set[Span]]]:
    """All that had become ours by each time, whatever became of it since: never less than what was ours then."""
    ours: set[Span] = set()
    for found in sorted((o for o in became_ours(played) if o.vault == vault), key=lambda o: o.at):
        ours.add(found.span)
        yield found.at, set(ours)
