"""
Warm: from an event's delivery to the PATCH, over the waits that no app could avoid.

The floor of each rotation is measured in that rotation: how long its own message lay in the queue, and the longest
chain of its calls that depend on each other, each with the time that it took at the other side. What remains is ours
(and the local host's): Python, TLS, connections, waiting for what need not be waited for.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.critical_path import Chain, longest_chain
from benchmarks.figure import Figure, ratio, spread
from benchmarks.stack import CloudCall, Stack, app_stack, calls_of, eventually
from benchmarks.storage_tap import StorageCall
from benchmarks.world import Member, new_version
from simulator.latencies import REALISTIC

GOAL = 1.3
ROTATIONS = 12
APART_SECONDS = 5.5
"""Longer than the spacing of hinted runs, which is a wait by choice and not part of this figure."""
MOST_PUSHES = 6
"""At a time: with more than eight messages at work (``newBatchThreshold``) the host fetches no others."""

AFTER: Mapping[str, Sequence[str]] = {
    "queue the hint": (),
    "find the vault's projects": ("queue the hint",),
    "read the scope's rows": ("find the vault's projects",),
    "take the lease": ("read the scope's rows",),
    "read the record": ("take the lease",),
    "read open operations": ("take the lease",),
    "encryption at rest": ("take the lease",),
    "newest version": ("encryption at rest",),
    "version list": ("newest version",),
    "write the intent": ("version list", "read the record", "read open operations"),
    "write the operation": ("version list", "read the record", "read open operations"),
    "renew the lease": ("version list", "read the record", "read open operations"),
    "write the record": ("write the intent", "write the operation", "renew the lease"),
    "push": ("write the record",),
}
"""
Each call with those that it cannot begin before. The vault index names the project, its rows say whether a run may
start, nothing is read without the lease; the key in use comes from Atlas, the need for a list from the newest version;
an intent stands before an act and the lease is proven before it, and the record is written only once it is.
Clusters, the alert and the project's name decide nothing about a push, so they are in no chain.
"""

METHOD = """
One rotation after the other, each of another project, in a process that has rotated before. Event deliveries are
posted to the host's Event Grid webhook; the message goes through Azurite and the host's queue trigger.

Measured: from just before the POST until the PATCH has arrived at the simulator.

Floor: from the end of the call that queued this message to the end of the call that fetched it, plus the longest
chain of `AFTER` in `benchmarks/warm.py`. Storage calls are timed by a tap between the app and Azurite, cloud calls by
the simulator from arrival to answer; TLS, the proxy and the client's own time count against us.

The ratio is the median of all rotations; the worst is told beside it.
"""


@dataclass(frozen=True, slots=True)
class Rotation:
    """One measured rotation, in seconds."""

    total: float
    in_queue: float
    chain: Chain

    @property
    def ratio(self) -> float:
        return ratio(self.total, self.in_queue + self.chain.seconds)


async def measure(rotations: int = ROTATIONS) -> Figure:
    """Rotate so many projects and compare."""
    async with app_stack(rotations + 1, REALISTIC, tapped=True) as stack:
        stack.cloud.event_grid.subscribe()
        await stack.reconcile_all()  # the first run also read each project's name
        seen: list[Rotation] = []
        for begun, member in enumerate(stack.members):
            await _quiet(stack, member, begun)
            seen.append(await _rotate(stack, member))
        await eventually(lambda: _pushed(stack) == len(stack.members), 60, stack.log_tail)
    return figure_of(seen[1:])  # the first one of a process makes tables and connections


def figure_of(seen: Sequence[Rotation]) -> Figure:
    """Put the rotations into one figure."""
    ratios = [one.ratio for one in seen]
    worst = max(seen, key=lambda one: one.ratio)
    return Figure(
        name="warm",
        title="warm: event delivered to PATCH sent, over its own time in the queue and its longest chain of calls",
        ratio=statistics.median(ratios),
        goal=GOAL,
        raw={
            "ratio": spread(ratios, "", 2),
            "event to PATCH": spread([1000 * one.total for one in seen], "ms"),
            "in the queue": spread([1000 * one.in_queue for one in seen], "ms"),
            "longest chain": spread([1000 * one.chain.seconds for one in seen], "ms"),
            "ours": spread([1000 * (one.total - one.in_queue - one.chain.seconds) for one in seen], "ms"),
            "chain of the worst": ", ".join(worst.chain.calls),
        },
        method=METHOD,
    )


async def _quiet(stack: Stack, member: Member, begun: int) -> None:
    """Wait until a hint would not be spaced out, and the host is not too busy with pushes to fetch its message."""
    await eventually(lambda: begun - _pushed(stack) < MOST_PUSHES, 60, stack.log_tail)
    last = max(run.seen_at for run in stack.runs if run.name == member.project_id)
    await eventually(lambda: time.perf_counter() - last > APART_SECONDS, 30, stack.log_tail)


def _pushed(stack: Stack) -> int:
    return len({run.name for run in stack.runs if run.outcome == "pushed"})


async def _rotate(stack: Stack, member: Member) -> Rotation:
    assert stack.tap is not None
    stack.tap.calls.clear()
    stack.cloud_calls.clear()
    new_version(stack.cloud, member)
    (delivery,) = stack.cloud.event_grid.take()
    begun = time.perf_counter()
    await stack.deliver("key_vault_events", delivery.body)

    def push() -> CloudCall | None:
        calls = calls_of(stack.cloud_calls, member.project_id, member.vault)
        return next((call for call in calls if call.exchange.method == "PATCH"), None)

    await eventually(lambda: push() is not None, 30, stack.log_tail)
    pushed = push()
    assert pushed is not None
    return rotation_of(begun, pushed, stack.tap.calls, stack.cloud_calls, member)


def rotation_of(
    begun: float, push: CloudCall, storage: Sequence[StorageCall], cloud: Sequence[CloudCall], member: Member
) -> Rotation:
    """Work out one rotation from what the tap and the simulator saw between the delivery and the push."""
    queued = next(call for call in storage if call.queued_text and call.mentions(member.vault))
    (message_id,) = queued.message_ids
    fetched = next(call for call in storage if call.method == "GET" and message_id in call.message_ids)
    own = [c for c in storage if c.mentions(member.project_id, member.vault) and fetched.ended_at <= c.began_at]
    seconds = {"queue the hint": queued.seconds}
    for call in own:
        if call.began_at < push.began_at and (name := _storage_name(call, seconds)) is not None:
            seconds[name] = call.seconds
    for one in calls_of(list(cloud), member.project_id, member.vault):
        if one.began_at < push.began_at and (name := _cloud_name(one)) is not None:
            seconds.setdefault(name, one.seconds)
    return Rotation(push.began_at - begun, fetched.ended_at - queued.ended_at, longest_chain(seconds, AFTER, "push"))


_STORAGE = {
    ("GET", "keystewardVaults"): ("find the vault's projects",),
    ("GET", "keystewardScopes"): ("read the scope's rows",),
    ("PUT", "keystewardScopes"): ("take the lease", "renew the lease"),
    ("GET", "keystewardRecords"): ("read the record",),
    ("GET", "keystewardOperations"): ("read open operations",),
    ("POST", "keystewardAudit"): ("write the intent",),
    ("POST", "keystewardOperations"): ("write the operation",),
    ("PUT", "keystewardRecords"): ("write the record",),
}
"""Names of storage calls by method and table, in the order in which a run makes them; a further one has no name."""


def _storage_name(call: StorageCall, named: Mapping[str, float]) -> str | None:
    return next((name for name in _STORAGE.get((call.method, call.table), ()) if name not in named), None)


def _cloud_name(call: CloudCall) -> str | None:
    if call.exchange.status != 200:
        return None
    path = call.exchange.path.rstrip("/")
    if path.endswith("/encryptionAtRest"):
        return "encryption at rest"
    if path.endswith("/versions"):
        return "version list"
    return "newest version" if path.startswith("/keys/") and path.count("/") == 2 else None
