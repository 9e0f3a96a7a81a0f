"""Steady state of a firewall: how many requests one sync of a vault sends where nothing has changed, over the bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figure import Figure, ratio
from benchmarks.stack import CloudCall, Stack, app_stack, counted
from benchmarks.storage_tap import StorageCall
from benchmarks.world import announce, close
from simulator.latencies import NONE

GOAL = 1.0
SIZES = (1, 5, 20)
ROUNDS = 4
NEW = "20.10.0.1"
"""The simulated Atlas draws none of these by itself."""
SYNCED = frozenset({"atlas", "resourceManager", "keyVault"})
WHOLE = ("/encryptionAtRest", "/clusters")
ALLOWED_ROWS = frozenset({"keystewardScopes", "keystewardRecords"})
"""Tables that a steady run writes to: the lease, and when the vault was seen."""

METHOD = f"""
A vault that {", ".join(map(str, SIZES[:-1]))} and {SIZES[-1]} projects share, of three clusters each, and that lets
in its owner's one rule and, once the first sync has run, everybody who needs it by rules of ours. Each number of
projects has a host of its own with that vault alone, so that every request is the sync's. The timer's function is
called {ROUNDS} times, each run waited for, and every request that the simulator answered is counted; storage calls are
seen by a tap before Azurite. The worst run counts.

Bound: the addresses of each of P projects, the firewall and the control plane. A steady run that writes to the vault,
or more rows than its lease and the record of the vault, is a fault.

Told beside it: a run that has an address to add (encryption and clusters of each project, then the firewall once more
before the write, the write, and the firewall after it), and one that finds a rule of ours which nobody wants and whose
time has not come (encryption and clusters as well, no write).

Not counted: token requests. They are told below.
"""


@dataclass(frozen=True, slots=True)
class Sync:
    """What one run sent. ``expects``: "steady", "write", or "unwanted" where a rule of ours waits for its time."""

    projects: int
    expects: str
    cloud: Sequence[CloudCall]
    storage: Sequence[StorageCall]

    @property
    def requests(self) -> list[CloudCall]:
        return [call for call in self.cloud if _is_counted(call)]

    @property
    def bound(self) -> int:
        more = {"steady": 0, "unwanted": 2 * self.projects, "write": 2 * self.projects + 3}
        return self.projects + 2 + more[self.expects]

    @property
    def whole(self) -> int:
        """How many of the requests read encryption or clusters."""
        return sum(call.exchange.route.endswith(WHOLE) for call in self.requests)

    @property
    def writes(self) -> int:
        """How many requests were sent to change the cloud."""
        return sum(call.exchange.might_change for call in self.requests)

    @property
    def rows_written(self) -> Counter[str]:
        """How many rows the run wrote, by table."""
        return Counter(call.table for call in self.storage if _is_row_write(call))


async def measure(sizes: Sequence[int] = SIZES, rounds: int = ROUNDS) -> Figure:
    """Sync a vault of each size so many times and count."""
    seen: list[Sync] = []
    for size in sizes:
        async with app_stack(size, NONE, sharing=size, tapped=True) as stack:
            seen += await _syncs(stack, rounds)
    return figure_of(seen)


async def _syncs(stack: Stack, rounds: int) -> list[Sync]:
    member = stack.members[0]
    close(stack.cloud, member.vault)
    first = await _sync(stack, "write")
    if not first.writes:
        raise RuntimeError(f"the first sync wrote nothing:\n{stack.log_tail()}")
    steady = [await _sync(stack, "steady") for _ in range(rounds)]
    announce(stack.cloud, member, NEW)
    written = await _sync(stack, "write")
    announce(stack.cloud, member)
    return [*steady, written, await _sync(stack, "unwanted")]


async def _sync(stack: Stack, expects: str) -> Sync:
    assert stack.tap is not None
    stack.tap.calls.clear()
    stack.cloud_calls.clear()
    runs = await stack.sync_all()
    if len(runs) != 1:
        raise RuntimeError(f"{len(runs)} runs for one call of the timer")
    return Sync(len(stack.members), expects, tuple(stack.cloud_calls), tuple(stack.tap.calls))


def figure_of(seen: Sequence[Sync]) -> Figure:
    """Put what every run sent into the figure."""
    steady = [sync for sync in seen if sync.expects == "steady"]
    worst = max(steady, key=_over_bound)
    others = sum(len(sync.cloud) - len(sync.requests) for sync in seen)
    return Figure(
        name="sync",
        title="requests of one steady-state sync of a vault with P projects, over the bound of P + 2",
        ratio=_over_bound(worst),
        goal=GOAL,
        raw={
            "steady runs": str(len(steady)),
            **_told(seen, "steady", "requests where nothing has changed"),
            "the worst one's": counted(_routes(worst)),
            "rows that it wrote": counted(worst.rows_written),
            **_told(seen, "write", "requests where an address is new"),
            **_told(seen, "unwanted", "requests while a rule of ours is unwanted"),
            "token requests and challenges beside them": str(others),
        },
        method=METHOD,
        faults=[fault for sync in seen for fault in _faults(sync)],
    )


def _over_bound(sync: Sync) -> float:
    return ratio(len(sync.requests), sync.bound)


def _told(seen: Sequence[Sync], expects: str, title: str) -> Mapping[str, str]:
    """Say for each number of projects the most requests that such a run sent."""
    most: dict[int, Sync] = {}
    for sync in sorted((s for s in seen if s.expects == expects), key=lambda s: len(s.requests)):
        most[sync.projects] = sync
    told = (f"P = {size}: {len(sync.requests)} ({sync.bound})" for size, sync in sorted(most.items()))
    return {f"{title} (bound)": ", ".join(told)}


def _faults(sync: Sync) -> list[str]:
    faults = []
    if len(sync.requests) < sync.bound:
        faults.append(f"only {len(sync.requests)} requests of {sync.bound}: it did not look at everything")
    if sync.expects != "steady" and len(sync.requests) > sync.bound:
        faults.append(f"{len(sync.requests)} requests of {sync.bound}")
    if sync.expects != "steady" and sync.whole != 2 * sync.projects:
        faults.append(f"{sync.whole} reads of encryption and clusters, not {2 * sync.projects}")
    if sync.writes != (sync.expects == "write"):
        faults.append(f"{sync.writes} writes to the vault")
    if sync.expects == "steady" and (kept := sync.rows_written.keys() - ALLOWED_ROWS):
        faults.append(f"rows written to {', '.join(sorted(kept))}")
    return [f"{sync.expects}, P = {sync.projects}: {fault}" for fault in faults]


def _is_counted(call: CloudCall) -> bool:
    exchange = call.exchange
    return exchange.service in SYNCED and not exchange.is_token_request and exchange.status != 401


def _is_row_write(call: StorageCall) -> bool:
    return call.method != "GET" and call.table.startswith("keysteward") and "/messages" not in call.target


def _routes(sync: Sync) -> Counter[str]:
    return Counter(f"{call.exchange.method} {call.exchange.route}" for call in sync.requests)
