"""
Whether what a rule of ours is there for still stands. Pure.

"Gone" is a finding that has to be proven by what was read in this run; all else keeps the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from keysteward.decide.firewall.addresses import (
    ANNOUNCED,
    CLAIMED,
    CONTROL_PLANE,
    EXTRA,
    Wanted,
    is_malformed,
    is_used,
    nobody_is_left,
    source_of,
    strangers,
)
from keysteward.decide.firewall.given import FirewallInput
from keysteward.decide.firewall.ranges import to_range
from keysteward.facts import Unknown
from keysteward.network_facts import LedgerPart, Membership, ProjectAddresses


class Standing(StrEnum):
    """How it stands with a reason, and so with the addresses that it is the reason for."""

    WANTED = "wanted"
    KNOWN = "known"
    """Its source could not be asked, so what was known still holds: the addresses stay wanted."""
    UNSETTLED = "unsettled"
    """It is not wanted, and nothing proves that it is gone."""
    ORPHANED = "orphaned"
    """Nobody is left to ask: the project left the settings."""
    GONE = "gone"


# What keeps an address longest, first.
_ORDER = tuple(Standing)


@dataclass(frozen=True, slots=True)
class Judge:
    """Answers for the reasons of one decision. Made by ``of``."""

    given: FirewallInput
    wanted: Wanted
    projects: Mapping[str, ProjectAddresses]
    without_users: Standing
    partial: frozenset[str]
    known: dict[str, Standing]

    @classmethod
    def of(cls, given: FirewallInput, wanted: Wanted) -> Judge:
        projects = {project.project_id: project for project in given.facts.projects}
        partial = frozenset(map(source_of, wanted.malformed))
        return cls(given, wanted, projects, _without_users(given), partial, {})

    def judge(self, part: LedgerPart, now: datetime) -> tuple[LedgerPart, Standing]:
        """Say how it stands with *part*, and bring its reasons and its times up to date."""
        found = to_range(part.network)
        live = self.wanted.ranges.get(found) or self.wanted.too_wide.get(found) or ()
        if live == part.reasons and part.gone_since is None and not part.orphaned and live:
            return part, Standing.WANTED
        standings = {reason: self._of_reason(reason) for reason in part.reasons if reason not in live}
        standing = Standing.WANTED if live else min(standings.values(), key=_ORDER.index, default=Standing.GONE)
        kept = {r for r, how in standings.items() if how is not Standing.GONE or standing is Standing.GONE}
        return _with_times(replace(part, reasons=tuple(sorted(kept.union(live)))), standing, now), standing

    def _of_reason(self, reason: str) -> Standing:
        if reason not in self.known:
            self.known[reason] = self._find(reason)
        return self.known[reason]

    def _find(self, reason: str) -> Standing:
        kind, _, rest = reason.partition(":")
        if kind in {EXTRA, CLAIMED}:
            # The settings are always read whole, and a claim wants nothing: whoever needs the rule says so itself.
            return Standing.GONE
        if kind == CONTROL_PLANE:
            return self._of_control_plane()
        project_id, _, cluster = rest.partition("/")
        project = self.projects.get(project_id)
        if project is None:
            return Standing.ORPHANED
        partial = source_of(reason) in self.partial
        return _of_project(project, cluster, announced=kind == ANNOUNCED, partial=partial)

    def _of_control_plane(self) -> Standing:
        if not is_used(self.given):
            return self.without_users
        plane = self.given.facts.control_plane
        if isinstance(plane, Unknown) or not plane or any(is_malformed(found.text) for found in plane):
            return Standing.KNOWN if self.given.policy.control_plane else Standing.UNSETTLED
        return Standing.GONE


def _without_users(given: FirewallInput) -> Standing:
    """How it stands with the control plane of a vault that no project is known to use."""
    if nobody_is_left(given):
        return Standing.GONE
    projects = given.facts.projects
    if any(project.counts is None for project in projects):
        return Standing.KNOWN
    if not projects or strangers(given):
        return Standing.ORPHANED
    return Standing.UNSETTLED


def _of_project(project: ProjectAddresses, cluster: str, *, announced: bool, partial: bool) -> Standing:
    if project.membership in {Membership.OFF, Membership.ELSEWHERE}:
        return Standing.GONE
    if project.membership is not Membership.COUNTS:
        return Standing.UNSETTLED if project.counts is False else Standing.KNOWN
    if isinstance(project.clusters, Unknown) or isinstance(project.addresses, Unknown) or partial:
        return Standing.KNOWN
    lists = [found for found in project.addresses if found.cluster == cluster]
    if any(found.outbound or (announced and found.announced) for found in lists):
        return Standing.GONE
    return Standing.KNOWN if any(found.name == cluster for found in project.clusters) else Standing.GONE


def _with_times(part: LedgerPart, standing: Standing, now: datetime) -> LedgerPart:
    orphaned = standing is Standing.ORPHANED
    if standing is Standing.WANTED:
        return replace(part, gone_since=None, orphaned=False)
    if standing in {Standing.GONE, Standing.ORPHANED}:
        # Orphaned and gone are two clocks: an address is gone from the first run that proved it.
        began = part.gone_since if part.orphaned is orphaned else None
        return replace(part, gone_since=began or now, orphaned=orphaned)
    return replace(part, gone_since=None if part.orphaned else part.gone_since, orphaned=False)
