"""What stops the app: an operator's hold, a dry run, a missing approval, a closed window, somebody who disagrees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from simulator.recording import READS, TOKEN_ROUTES
from tests.harness.evidence import (
    NEVER,
    created_at,
    is_ordered,
    loop_seconds,
    moment,
    orders,
    pushes,
    record_of,
    target_of,
    writes_to,
)
from tests.harness.invariants.pushes import DAY, FRESH_SECONDS, ROUNDING
from tests.harness.invariants.window_oracle import is_open_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played
    from tests.harness.wire import Sent

MIGHT_CHANGE = ("cloud.mongodb.com", ".vault.", "management.")


@dataclass(frozen=True, slots=True)
class _Hold:
    scope: str
    jobs: frozenset[str]
    begins: float
    ends: float


def nothing_is_sent_under_a_hold(played: Played) -> Iterator[str]:
    """
    No push leaves under a hold of rotation, no write of rules under one of the vault.

    And no request for a version under one of the vault or of every user.
    """
    holds = _holds(played)
    if not holds:
        return
    vault = f"vault:{played.world.vault.state.name.lower()}"
    for sent in played.wire.sent:
        if sent.is_push and _is_held(holds, f"project:{sent.project_id}", "rotation", sent):
            yield f"{sent.run}: pushed under an operator's hold"
        if sent.is_rules_write and _is_held(holds, f"vault:{sent.vault}", "firewall", sent):
            yield f"{sent.run}: wrote rules under an operator's hold"
        if sent.asks_for_version:
            users = played.world.project_ids
            everybody = all(_is_held(holds, f"project:{project}", "rotation", sent) for project in users)
            if everybody or _is_held(holds, vault, "firewall", sent):
                yield f"{sent.run}: asked for a version under an operator's hold"


def nothing_changes_under_dry_run(played: Played) -> Iterator[str]:
    """Only reads and requests for tokens reach Atlas, Key Vault and Resource Manager."""
    if not played.history.dry_run:
        return
    for seen in played.world.cloud.record.sent_to_change():
        yield f"{seen.method} {seen.path} reached {seen.host} under dry run"
    for sent in played.wire.sent:
        request = sent.request
        harmless = request.method in READS or request.path in TOKEN_ROUTES
        if not harmless and any(name in request.host for name in MIGHT_CHANGE):
            yield f"{sent.run}: {request.method} {request.path} left for {request.host} under dry run"


def pushes_only_where_allowed(played: Played) -> Iterator[str]:
    """Without an operator's order: never in mode off; in mode approve only what was approved, and once."""
    found, mode = orders(played), played.history.mode
    if mode == "auto":
        return
    approvals = [
        (written.loop_at, written.partition, written.key.rpartition(".")[2])
        for written in writes_to(played, "keystewardApprovals")
        if written.run is not None and written.run.kind == "operator"
    ]
    for push in pushes(played):
        if is_ordered(push, found):
            continue
        if mode == "off":
            yield f"{push.run}: pushed in mode off without an order"
            continue
        version = target_of(push).rpartition("/")[2]
        given = [at for at, project, what in approvals if (project, what) == (push.project_id, version)]
        since = max((at for at in given if at <= push.asked_at), default=None)
        if since is None:
            yield f"{push.run}: pushed ..{version[-6:]} without an approval"
        elif (newer := _taken_since(played, push, since)) is not None:
            yield f"{push.run}: pushed ..{version[-6:]} on an approval that was used before ..{newer[-6:]} was taken"


def pushes_only_inside_windows(played: Played) -> Iterator[str]:
    """A window is open when a push leaves that nobody ordered."""
    windows = played.history.windows
    if not windows:
        return
    found = orders(played)
    for push in pushes(played):
        asked = played.began + timedelta(seconds=push.asked_at)
        if not is_ordered(push, found) and not is_open_within(windows, asked, asked):
            yield f"{push.run}: pushed at {asked:%Y-%m-%d %H:%M:%S} UTC, when no window was open"


def gives_way_at_the_limit(played: Played) -> Iterator[str]:
    """In any 24 h the app repairs what was put back at most ``maxReversals`` times, unless an operator orders it."""
    found, limit = orders(played), played.history.max_reversals
    for project in played.world.project_ids:
        repairs = [p.asked_at for p in _repairs(played, project) if not is_ordered(p, found)]
        for first, last in zip(repairs, repairs[limit:], strict=False):
            if last - first < DAY:
                yield f"{project[-2:]}: {limit + 1} repairs from {first:.0f} s to {last:.0f} s, the limit is {limit}"
                break


def _repairs(played: Played, project: str) -> Iterator[Sent]:
    """Pushes that were taken, after something older had taken the place of what the app knew Atlas to have had."""
    for push in pushes(played):
        if push.project_id != project or not push.changed:
            continue
        highest = _highest_known(played, project, push.run.began_at)
        if created_at(played, push.identifier) < highest:
            yield push


def _highest_known(played: Played, project: str, before: float) -> int:
    """When the newest version was made that a run which came to its end was told that Atlas has."""
    told = [
        str(s.told["azureKeyVault"].get("keyIdentifier"))
        for s in played.wire.sent
        if s.project_id == project
        and (s.is_push or s.reads_encryption)
        and s.run.kind == "message"
        and s.run.outcome == "ran"
        and (s.run.ended_at or NEVER) <= before
        and s.told
    ]
    return max((created_at(played, identifier) for identifier in told), default=-1)


def _taken_since(played: Played, push: Sent, since: float) -> str | None:
    """
    A newer identifier that Atlas took after it had taken the target of *push* under the approval of *since*.

    Each has to have been seen by a run that came to its end: the app cannot know more.
    """
    target = target_of(push)
    seen = [
        str(s.told["azureKeyVault"].get("keyIdentifier"))
        for s in played.wire.sent
        if s.project_id == push.project_id
        and (s.is_push or s.reads_encryption)
        and s.run.kind == "message"
        and s.run.outcome == "ran"
        and since < (s.run.ended_at or NEVER) <= push.run.began_at
        and s.told
    ]
    if target not in seen:
        return None
    later = seen[seen.index(target) :]
    return next((one for one in later if created_at(played, one) > created_at(played, target)), None)


def _holds(played: Played) -> list[_Hold]:
    """Every hold, from when its row stood until it was lifted, replaced or had run out."""
    rows = list(writes_to(played, "keystewardHolds"))
    lifted = [(d.loop_at, d.partition, d.key) for d in played.tables.deleted if d.table == "keystewardHolds"]
    found = []
    for written in rows:
        order = record_of(written.values)
        place = (written.partition, written.key)
        ends = [w.loop_at for w in rows if (w.partition, w.key) == place and w.number > written.number]
        ends += [at for at, *other in lifted if tuple(other) == place and at >= written.loop_at]
        if order.get("until") is not None:
            ends.append(loop_seconds(played, moment(order["until"])))
        found.append(_Hold(order["scope"], frozenset(order["jobs"]), written.loop_at, min(ends, default=NEVER)))
    return found


def _is_held(holds: list[_Hold], scope: str, job: str, sent: Sent) -> bool:
    at = sent.asked_at
    return any(
        h.scope == scope and job in h.jobs and h.begins + FRESH_SECONDS + ROUNDING < at < h.ends - ROUNDING
        for h in holds
    )
