"""Which clusters a standing revocation pauses, which it cannot, and which pauses are still ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keysteward.decide.revocation.given import RevocationInput
from keysteward.facts import Unknown
from keysteward.pause_facts import PausableCluster, Pause, PauseTry, Tier
from keysteward.vocabulary import ClusterState

STILL_PAUSING = timedelta(minutes=10)
"""A cluster that is updating so soon after our request is on its way into the pause, and does not run again."""

_INSTEAD: Mapping[Tier, str] = {
    Tier.NVME: "NVMe tiers cannot be paused: terminate it, or move it to another tier and let it be paused then",
    Tier.SHARED: "shared tiers are neither encrypted with the key nor paused: delete it if its data has to go dark",
    Tier.FLEX: "flex clusters are neither encrypted with the key nor paused: delete it if its data has to go dark",
}


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Names in order. ``waiting``: with Atlas's code and the time of the next try. ``cannot``: with what to do."""

    pause: Sequence[str]
    waiting: Sequence[PauseTry]
    cannot: Mapping[str, str]


def plan_pauses(given: RevocationInput) -> ClusterPlan:
    """Sort out every encrypted, running cluster; paused ones are left alone."""
    assert not isinstance(given.clusters, Unknown), "asked before the check that establishes it"
    tries = {tried.cluster: tried for tried in given.tries}
    pausing = {pause.cluster: pause for pause in given.pauses}
    pause: list[str] = []
    waiting: list[PauseTry] = []
    cannot: dict[str, str] = {}
    for found in sorted(given.clusters, key=lambda c: c.cluster.name):
        name = found.cluster.name
        if found.tier in _INSTEAD and not found.cluster.paused and (found.cluster.encrypted or _is_small(found)):
            cannot[name] = _INSTEAD[found.tier]
        elif not _runs(found) or _is_pausing(found, pausing.get(name), given.now):
            continue
        elif (tried := tries.get(name)) is not None and given.now < tried.not_before and not given.by_timer:
            waiting.append(tried)
        else:
            pause.append(name)
    return ClusterPlan(pause, waiting, cannot)


def _is_small(found: PausableCluster) -> bool:
    return found.tier in {Tier.SHARED, Tier.FLEX}


def _runs(found: PausableCluster) -> bool:
    """Encrypted with the key and not paused. One that is being deleted goes dark by itself."""
    return found.cluster.encrypted and not found.cluster.paused and found.cluster.state is not ClusterState.DELETING


def _is_pausing(found: PausableCluster, pause: Pause | None, now: datetime) -> bool:
    if pause is None or found.cluster.state is not ClusterState.UPDATING:
        return False
    return now - pause.at < STILL_PAUSING


def still_ours(given: RevocationInput) -> tuple[Pause, ...]:
    """Drop pauses whose cluster is seen running, or is there no more. What was not read changes nothing."""
    ordered = tuple(sorted(given.pauses, key=lambda pause: (pause.cluster, pause.at)))
    if isinstance(given.clusters, Unknown):
        return ordered
    there = {found.cluster.name: found for found in given.clusters}
    return tuple(
        pause
        for pause in ordered
        if (found := there.get(pause.cluster)) is not None
        and (found.cluster.paused or _is_pausing(found, pause, given.now))
    )


def seen_paused(given: RevocationInput) -> frozenset[str]:
    """Return the names of clusters that are paused now."""
    if isinstance(given.clusters, Unknown):
        return frozenset()
    return frozenset(found.cluster.name for found in given.clusters if found.cluster.paused)
