"""
Whether Atlas's control plane could see a revocation by itself. Pure.

``open`` and ``blocked`` have to be shown; whatever a single list or rule cannot tell leaves it unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keysteward.access_facts import NetworkAlert, Presence, WayFacts
from keysteward.decide.firewall.ranges import Cover, is_ipv6, read_range
from keysteward.facts import Fact, Unknown
from keysteward.network_facts import ControlPlaneRange, NetworkAcl

ALERT_COUNTS_AFTER = timedelta(minutes=30)
"""Atlas looks every 15 minutes: an alert that is open after two of its looks is no leftover of a shut door."""
ACTIVE = "active"


class Way(StrEnum):
    """How far the control plane gets to the vault's keys."""

    OPEN = "open"
    PARTLY = "partly"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


SHUT = frozenset({Way.BLOCKED, Way.PARTLY})
"""What makes a pause necessary: some or all of Atlas cannot see for itself."""


@dataclass(frozen=True, slots=True)
class Reach:
    """
    The verdict with its evidence.

    ``open_since`` is to be remembered. ``changes_at``: when the passing of time alone may change the verdict.
    """

    way: Way
    evidence: str
    open_since: datetime | None = None
    changes_at: datetime | None = None


def judge_reach(facts: WayFacts, vault: Fact[Presence], open_since: datetime | None, now: datetime) -> Reach:
    """
    Say whether the control plane can see the vault.

    Args:
        facts: what this run saw of its way.
        vault: whether the vault is there.
        open_since: what is remembered of the way's being open.
        now: the time of the decision.
    """
    if vault is Presence.DELETED:
        return Reach(Way.BLOCKED, "the vault is deleted, so Atlas finds nothing to ask")
    found = _by_rules(facts)
    if found.way is Way.OPEN:
        return _weigh_alert(found, facts.alert, open_since or now, now)
    if isinstance(facts.acl, Unknown):
        return _by_alert_alone(found, facts.alert, open_since, now)
    return Reach(found.way, found.evidence, open_since if found.way is Way.UNKNOWN else None)


def _weigh_alert(found: Reach, alert: Fact[NetworkAlert | None], open_since: datetime, now: datetime) -> Reach:
    """The rules let Atlas in. It may know better, once its alert cannot be a leftover."""
    if isinstance(alert, Unknown) or alert is None:
        return Reach(Way.OPEN, found.evidence, open_since)
    counts_at = open_since + ALERT_COUNTS_AFTER
    if now < counts_at:
        told = f"{found.evidence}; Atlas's network alert is still open, and counts from {counts_at:%H:%M} UTC on"
        return Reach(Way.OPEN, told, open_since, counts_at)
    told = f"{found.evidence}; but Atlas's network alert is open 30 minutes after that was first seen"
    return Reach(Way.BLOCKED, told, open_since)


def _by_alert_alone(
    found: Reach, alert: Fact[NetworkAlert | None], open_since: datetime | None, now: datetime
) -> Reach:
    if isinstance(alert, Unknown):
        return Reach(Way.UNKNOWN, f"{found.evidence}; Atlas's alerts: {alert.code}, {alert.why}", open_since)
    if alert is None:
        return Reach(Way.UNKNOWN, f"{found.evidence}; Atlas has no open network alert", open_since)
    counts_at = open_since + ALERT_COUNTS_AFTER if open_since is not None else now
    if now < counts_at:
        told = f"{found.evidence}; Atlas's network alert may be a leftover until {counts_at:%H:%M} UTC"
        return Reach(Way.UNKNOWN, told, open_since, counts_at)
    return Reach(Way.BLOCKED, f"{found.evidence}; Atlas's own network alert is open", open_since)


def _by_rules(facts: WayFacts) -> Reach:
    """The better of the two ways: over the internet, and over Atlas's private endpoints."""
    public, private = _in_public(facts), _in_private(facts)
    evidence = f"{public.evidence}; {private.evidence}"
    ways = {public.way, private.way}
    order = (Way.OPEN, Way.UNKNOWN, Way.PARTLY, Way.BLOCKED)
    return Reach(next(way for way in order if way in ways), evidence)


def _in_private(facts: WayFacts) -> Reach:
    endpoints = facts.endpoints
    if isinstance(endpoints, Unknown):
        return Reach(Way.UNKNOWN, f"private endpoints of Atlas: {endpoints.code}, {endpoints.why}")
    active = {e.region.strip().lower() for e in endpoints if e.status.strip().lower() == ACTIVE}
    if not active:
        waiting = ", ".join(sorted(f"{e.region} {e.status}" for e in endpoints))
        return Reach(Way.BLOCKED, f"no private endpoint of Atlas is active{f' ({waiting})' if waiting else ''}")
    if isinstance(facts.regions, Unknown):
        return Reach(Way.UNKNOWN, f"regions that need a private endpoint: {facts.regions.code}, {facts.regions.why}")
    lacking = sorted(region for region in facts.regions if region.strip().lower() not in active)
    if lacking:
        return Reach(Way.PARTLY, f"no active private endpoint of Atlas in {', '.join(lacking)}")
    return Reach(Way.OPEN, f"private endpoints of Atlas are active in {', '.join(sorted(active))}")


def _in_public(facts: WayFacts) -> Reach:
    acl = facts.acl
    if isinstance(acl, Unknown):
        return Reach(Way.UNKNOWN, f"the vault's network settings: {acl.code}, {acl.why}")
    public = (acl.public_access or "enabled").lower()
    if public == "disabled":
        return Reach(Way.BLOCKED, "public access is disabled")
    if public != "enabled":
        # A perimeter has rules of its own, which a vault does not show.
        return Reach(Way.UNKNOWN, f"public access is {acl.public_access}")
    action = (acl.default_action or "").lower()
    if acl.raw is None or action == "allow":
        return Reach(Way.OPEN, "the vault has no network rules" if acl.raw is None else "the default action is Allow")
    if action != "deny":
        return Reach(Way.UNKNOWN, f"the default action is {acl.default_action or 'not told'}")
    return _by_ip_rules(facts, acl)


def _by_ip_rules(facts: WayFacts, acl: NetworkAcl) -> Reach:
    if not acl.ip_rules:
        return Reach(Way.BLOCKED, "the default action is Deny, and there is no IP rule")
    read = [read_range(rule) for rule in acl.ip_rules]
    cover, whole = Cover.of(filter(None, read)), None not in read
    plane = facts.control_plane
    if not isinstance(plane, Unknown) and plane:
        return _covered(plane, cover, whole=whole)
    told = f"{plane.code}, {plane.why}" if isinstance(plane, Unknown) else "emptyList, it was read and was empty"
    if facts.recorded_control_plane:
        recorded = _covered(facts.recorded_control_plane, cover, whole=whole)
        # A recorded list may be behind: that none of it gets in is told by it, that some does is not.
        if recorded.way is Way.BLOCKED:
            return Reach(Way.BLOCKED, f"{recorded.evidence}, by the last list that was read")
    return Reach(Way.UNKNOWN, f"addresses of the control plane: {told}")


def _covered(plane: tuple[ControlPlaneRange, ...], cover: Cover, *, whole: bool) -> Reach:
    """How much of the control plane the IP rules let in. ``whole``: every rule could be read."""
    # Key Vault has no rules for IPv6, so that such an address never gets in, whatever the rules.
    read = [read_range(found.text) for found in plane if not is_ipv6(found.text)]
    ranges = set(filter(None, read))
    inside = sum(1 for found in ranges if cover.holds(found))
    told = f"the default action is Deny, and {inside} of {len(ranges)} control-plane ranges are allowed"
    if ranges and inside == len(ranges):
        return Reach(Way.OPEN, told)
    if not ranges or None in read or not whole:
        return Reach(Way.UNKNOWN, f"{told}; not every address or rule could be read")
    touched = any(cover.touches(found) for found in ranges)
    return Reach(Way.PARTLY if touched else Way.BLOCKED, told)
