"""One at a time: who may send and write for a scope, and how often."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.harness.evidence import holder_at, is_hinted, lease_writes, pushes, scopes_of_runs
from tests.harness.network_evidence import rules_writes
from tests.harness.processes import StrikeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.journal import Written
    from tests.harness.player import Played
    from tests.harness.wire import Sent

LEASE_SECONDS = 120.0
BETWEEN_HINTED_SECONDS = 5.0
WINDOW_SECONDS = 600.0
MOST_UNASKED = 60


def pushes_only_under_its_lease(played: Played) -> Iterator[str]:
    """When a push or a write of rules is sent the lease is the run's own, and there is time for the whole request."""
    for push in [*pushes(played), *rules_writes(played)]:
        scope = f"project:{push.project_id}" if push.is_push else f"vault:{push.vault}"
        lease = holder_at(lease_writes(played, scope), push.asked_at)
        if lease is None or lease.run is not push.run or not lease.values["holder"]:
            yield f"{push.run}: sent a change while {lease.run if lease else 'nobody'} had the lease"
        elif push.asked_at - lease.loop_at > LEASE_SECONDS / 2:
            yield f"{push.run}: sent a change on a lease that was proven {push.asked_at - lease.loop_at:.0f} s before"


def requests_end_within_the_lease(played: Played) -> Iterator[str]:
    """No request of a run is in flight after the run's lease may have been taken."""
    leases: dict[int, list[Written]] = {}
    for written in played.tables.journal:
        if written.table == "keystewardScopes" and written.key == "lease" and written.run is not None:
            leases.setdefault(written.run.number, []).append(written)
    for sent in played.wire.sent:
        run = sent.run
        if sent.asks_for_token or run.kind != "message" or StrikeKind.FREEZE in run.struck or run.frozen:
            continue
        own = [w for w in leases.get(run.number, ()) if w.loop_at <= sent.asked_at]
        if not own:
            yield f"{run}: asked {sent.request.path} without ever having had the lease"
        elif not own[-1].values["holder"]:
            yield f"{run}: asked {sent.request.path} after it had given the lease back"
        elif (age := _left_at(sent) - own[-1].loop_at) > LEASE_SECONDS:
            yield f"{run}: {sent.request.path} was in flight {age:.0f} s after the lease was proven"


def one_run_at_a_time(played: Played) -> Iterator[str]:
    """Two runs never have requests of one project in flight at once, unless one was frozen beyond its lease."""
    scopes = scopes_of_runs(played)
    for project in played.world.project_ids:
        scope = f"project:{project}"
        flights = [s for s in played.wire.sent if s.project_id == project and scopes.get(s.run.number) == scope]
        flights.sort(key=lambda s: s.asked_at)
        latest: Sent | None = None
        for sent in flights:
            if latest is not None and _overlap(latest, sent) and not latest.run.frozen and not sent.run.frozen:
                yield f"{latest.run} and {sent.run} both had requests of {project[-2:]} in flight"
            if latest is None or _left_at(sent) > _left_at(latest):
                latest = sent


def no_run_writes_over_another(played: Played) -> Iterator[str]:
    """Records and operations are written over only by a run that has read what stands there."""
    for written in played.tables.journal:
        if written.unread is not None:
            yield f"{written.run}: wrote {written.table} over what {written.unread.run} had written, without reading it"


def hinted_runs_are_spaced(played: Played) -> Iterator[str]:
    """Runs of one scope that hints asked for start at least five seconds after the last start."""
    for project in played.world.project_ids:
        starts = [w for w in lease_writes(played, f"project:{project}") if w.values["holder"] and w.run is not None]
        first: dict[object, Written] = {}
        for written in starts:
            first.setdefault((written.run, written.values["startedAt"]), written)
        for before, after in pairwise(first.values()):
            apart = (_started(after) - _started(before)).total_seconds()
            if after.run is not None and is_hinted(after.run) and apart < BETWEEN_HINTED_SECONDS:
                yield f"{after.run}: started {apart:g} s after {before.run}, though a hint asked for it"


def work_is_bounded(played: Played) -> Iterator[str]:
    """
    In ten minutes a project is reconciled for what was asked for, and little more.

    A rotation that is followed looks every 15 s at most, a retry waits 10 s and then longer.
    """
    for project in played.world.project_ids:
        starts = [w for w in lease_writes(played, f"project:{project}") if w.values["holder"]]
        first = sorted({w.run.number: w.loop_at for w in reversed(starts) if w.run is not None}.values())
        asked = sorted(q.loop_at for q in played.queue.journal if q.delay_seconds == 0)
        asked += [at for at, *_ in played.gates.fallen]
        for place, at in enumerate(first):
            runs = bisect_right(first, at + WINDOW_SECONDS) - place
            if runs > MOST_UNASKED + 2 * sum(1 for a in asked if at - WINDOW_SECONDS <= a <= at + WINDOW_SECONDS):
                yield f"{project[-2:]} was reconciled {runs} times in the ten minutes from {at:.0f} s on"
                break


def _started(written: Written) -> datetime:
    started_at = written.values["startedAt"]
    assert isinstance(started_at, datetime)
    return started_at


def _overlap(one: Sent, later: Sent) -> bool:
    return one.run is not later.run and later.asked_at < _left_at(one)


def _left_at(sent: Sent) -> float:
    """When the request was no longer in flight: its process's death ends it as well."""
    left, killed = sent.left_at, sent.run.process.killed_at
    if left is None:
        return killed if killed is not None else sent.asked_at
    return min(left, killed) if killed is not None and killed >= sent.asked_at else left
