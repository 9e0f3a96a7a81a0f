"""
Address: from the message of a sync to the write of a new address, over the waits that no app could avoid.

The floor of each sync is measured in that sync: the longest of the reads that can go out at once, in the order in which
one depends on the other, each with the time that it took at the other side. Everything else is ours (and the local
host's): storage, Python, TLS, connections, waiting for what need not be waited for.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.critical_path import Chain, longest_chain
from benchmarks.figure import Figure, ratio, spread
from benchmarks.stack import CloudCall, Stack, app_stack
from benchmarks.storage_tap import StorageCall
from benchmarks.world import announce, close
from simulator.latencies import REALISTIC

GOAL = 1.3
PROJECTS = 5
ADDRESSES = 12

AFTER: Mapping[str, Sequence[str]] = {
    "addresses": (),
    "control plane": (),
    "firewall": (),
    "encryption at rest": ("addresses", "control plane", "firewall"),
    "clusters": ("addresses", "control plane", "firewall"),
    "firewall, just before": ("encryption at rest", "clusters"),
    "write": ("firewall, just before",),
}
"""
Each call with those that it cannot begin before. That something is to be written is known only from addresses, firewall
and control plane; encryption and clusters are read only then; the list that is sent rests on a read after that.
"""

METHOD = f"""
A vault that {PROJECTS} projects share, of three clusters each, kept in step by rules of ours. Atlas announces one new
address after the other, each of another project, and the timer's function is called by hand each time, in a process
that has written before. Latencies are realistic.

Measured: from the end of the call that fetched the sync's message until the PATCH has arrived at the simulator, which
is when the vault has the rule. The timer is aside, and so is the message's time in the queue, which is the local host's
(it asks seldom where nothing has come for a while); both would only make the ratio smaller, as would the time of the
answer to the PATCH.

Floor: the longest chain of `AFTER` in `benchmarks/address.py`, of several calls of a name the longest one, each timed
by the simulator from arrival to answer. No storage call is in it: scope, lease, memory, the addresses' history, the
ledger's rows, the record and the trail's intent are all written or read before the write, and count against us.

The ratio is the median of all; where our own time goes is told beside it, in the order in which it passes.
"""


@dataclass(frozen=True, slots=True)
class Addition:
    """One measured sync, in seconds. ``ours``: what passed outside the calls of the cloud, by what it is for."""

    total: float
    in_queue: float
    chain: Chain
    writing: float
    """From the arrival of the write to its answer."""
    ours: Mapping[str, float]

    @property
    def ratio(self) -> float:
        return ratio(self.total, self.chain.seconds)

    @property
    def ratio_with_answer(self) -> float:
        return ratio(self.total + self.writing, self.chain.seconds + self.writing)


async def measure(additions: int = ADDRESSES) -> Figure:
    """Announce so many addresses, one after the other, and compare."""
    async with app_stack(PROJECTS, REALISTIC, sharing=PROJECTS, tapped=True) as stack:
        close(stack.cloud, stack.members[0].vault)
        await stack.sync_all()
        announced: dict[int, list[str]] = defaultdict(list)
        seen: list[Addition] = []
        for number in range(additions + 1):
            turn = number % PROJECTS
            announced[turn].append(f"20.10.0.{number + 1}")
            seen.append(await _add(stack, turn, announced[turn]))
    return figure_of(seen[1:])  # the first one of a process makes connections


async def _add(stack: Stack, turn: int, announced: Sequence[str]) -> Addition:
    assert stack.tap is not None
    stack.tap.calls.clear()
    stack.cloud_calls.clear()
    member = stack.members[turn]
    announce(stack.cloud, member, *announced)
    await stack.sync_all()
    if f"{announced[-1]}/32" not in stack.cloud.key_vault.vault(member.vault).state.network.ip_rules:
        raise RuntimeError(f"{announced[-1]} has no rule:\n{stack.log_tail()}")
    return addition_of(stack.tap.calls, stack.cloud_calls, member.vault)


def addition_of(storage: Sequence[StorageCall], cloud: Sequence[CloudCall], vault: str) -> Addition:
    """
    Work out one sync from what the tap and the simulator saw.

    Raises:
        ValueError: a call that a write rests on was not made.
    """
    queued = next(call for call in storage if call.queued_text and call.mentions(vault))
    (message_id,) = queued.message_ids
    fetched = next(call for call in storage if call.method == "GET" and message_id in call.message_ids)
    write = next(call for call in cloud if call.exchange.method == "PATCH")
    calls = _named([call for call in cloud if call.began_at < write.began_at])
    if missing := AFTER.keys() - calls.keys() - {"write"}:
        raise ValueError(f"written without {', '.join(sorted(missing))}")
    seconds = {name: max(call.seconds for call in found) for name, found in calls.items()}
    return Addition(
        total=write.began_at - fetched.ended_at,
        in_queue=fetched.ended_at - queued.ended_at,
        chain=longest_chain(seconds, AFTER, "write"),
        writing=write.seconds,
        ours=_ours(calls, fetched.ended_at, write.began_at),
    )


def _named(calls: Sequence[CloudCall]) -> dict[str, list[CloudCall]]:
    named: dict[str, list[CloudCall]] = defaultdict(list)
    for call in calls:
        if (name := _name(call)) is not None:
            named["firewall, just before" if name in named and name == "firewall" else name].append(call)
    return named


def _name(call: CloudCall) -> str | None:
    if call.exchange.status != 200:
        return None
    if call.exchange.service == "resourceManager":
        return "firewall"
    ends = {
        "/ipAddresses": "addresses",
        "/controlPlaneIPAddresses": "control plane",
        "/encryptionAtRest": "encryption at rest",
        "/clusters": "clusters",
    }
    return next((name for end, name in ends.items() if call.exchange.route.endswith(end)), None)


def _ours(calls: Mapping[str, Sequence[CloudCall]], begun: float, written: float) -> dict[str, float]:
    """Where our own time went: between the stages of reads, and within each what is more than its longest call."""
    stages = [
        [call for name in names for call in calls[name]]
        for names in (("addresses", "control plane", "firewall"), ("encryption at rest", "clusters"))
    ]
    stages.append(list(calls["firewall, just before"]))
    before = ("until the first read", "until encryption and clusters", "until the firewall, just before")
    ours: dict[str, float] = {}
    at, within = begun, 0.0
    for title, stage in zip(before, stages, strict=True):
        first, last = min(c.began_at for c in stage), max(c.began_at + c.seconds for c in stage)
        ours[title] = first - at
        within += last - first - max(c.seconds for c in stage)
        at = last
    return ours | {"until the write": written - at, "within the three stages": within}


def figure_of(seen: Sequence[Addition]) -> Figure:
    """Put the syncs into one figure."""
    ratios = [one.ratio for one in seen]
    worst = max(seen, key=lambda one: one.ratio)
    return Figure(
        name="address",
        title="address: message of a sync to the write of a new address, over its longest chain of reads",
        ratio=statistics.median(ratios),
        goal=GOAL,
        raw={
            "ratio": spread(ratios, "", 2),
            "likewise to the answer to the write": spread([one.ratio_with_answer for one in seen], "", 2),
            "message to PATCH": _milliseconds([one.total for one in seen]),
            "longest chain": _milliseconds([one.chain.seconds for one in seen]),
            **{f"ours, {title}": _milliseconds([one.ours[title] for one in seen]) for title in seen[0].ours},
            "in the queue before (not counted)": _milliseconds([one.in_queue for one in seen]),
            "chain of the worst": ", ".join(worst.chain.calls),
        },
        method=METHOD,
    )


def _milliseconds(seconds: Sequence[float]) -> str:
    return spread([1000 * each for each in seconds], "ms")
