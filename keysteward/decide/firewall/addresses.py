"""
Which addresses are wanted, and why. Pure.

What was read is joined with what is remembered: a cluster that exists but lists nothing keeps its last addresses, and
so does every cluster of a project whose addresses could not be read. Nothing is judged to be gone here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keysteward.decide.firewall.given import FirewallInput
from keysteward.decide.firewall.ranges import (
    Range,
    holds_never_a_source,
    is_ipv6,
    is_plainly_usable,
    read_range,
    shown,
    to_range,
    why_never_a_source,
)
from keysteward.facts import Unknown
from keysteward.network_facts import NOT_ASKED, LedgerRow, Membership, ProjectAddresses
from keysteward.vocabulary import NodeAddresses

NODE, ANNOUNCED, CONTROL_PLANE, EXTRA = "node", "announced", "controlPlane", "extra"
CLAIMED = "claimed"
"""The kind of a rule that stood before us and was made ours by an operator's word. Who that was is in the audit."""
CLAIMED_BY_OPERATOR = f"{CLAIMED}:operator"


@dataclass(frozen=True, slots=True)
class Unusable:
    """A text that Atlas published and that no rule can allow."""

    text: str
    why: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Every wanted range with its sorted reasons.

    ``too_wide``: ranges that Atlas published and the policy does not take. ``from_memory``: wanted for a cluster that
    the list of addresses does not name, before anybody asked whether it still exists.
    """

    ranges: Mapping[Range, tuple[str, ...]]
    too_wide: Mapping[Range, tuple[str, ...]]
    unusable: Sequence[Unusable]
    from_memory: frozenset[Range]
    malformed: frozenset[str]
    """Reasons of texts that are no address: nobody knows which address they stand for, so their list is not whole."""

    def names(self, found: Range) -> bool:
        """Whether somebody wants just this range, allowed by the policy or not."""
        return found in self.ranges or found in self.too_wide


@dataclass(frozen=True, slots=True)
class Sources:
    """Which sources were not read whole: failed ones with why, and ones that this run had no need of."""

    failed: Sequence[str]
    not_asked: Sequence[str]

    @property
    def whole(self) -> bool:
        return not self.failed and not self.not_asked


def wanted(given: FirewallInput) -> Wanted:
    """Collect every wanted range of the projects that count, of the control plane, and of the policy."""
    ranges: dict[Range, list[str]] = {}
    too_wide: dict[Range, list[str]] = {}
    unusable: dict[Unusable, None] = {}
    malformed: set[str] = set()
    widest = given.policy.widest_prefix
    for reason, texts in _published(given):
        for text in texts:
            found = read_range(text)
            if found is not None and found[1] >= widest and is_plainly_usable(found):
                ranges.setdefault(found, []).append(reason)
            elif (why := _why_unusable(text, found, widest)) is not None:
                unusable[Unusable(shown(text), why, reason)] = None
                malformed.update((reason,) if why == _MALFORMED else ())
            elif found is not None:
                (too_wide if found[1] < widest else ranges).setdefault(found, []).append(reason)
    for reason, found in _extra(given):
        ranges.setdefault(found, []).append(reason)
    for found in [found for found in too_wide if found in ranges]:
        # An operator's own rule allows it, whatever its width.
        ranges[found] += too_wide.pop(found)
    return Wanted(
        _in_order(ranges),
        _in_order(too_wide),
        sorted(unusable, key=lambda u: (u.text, u.reason)),
        _from_memory(given),
        frozenset(malformed),
    )


_MALFORMED = "no address or CIDR"


def _why_unusable(text: str, found: Range | None, widest: int) -> str | None:
    """Say why no rule can allow what was published; None: one can, or could if the policy took ranges so wide."""
    if found is None:
        return "IPv6, which Key Vault does not take" if is_ipv6(text) else _MALFORMED
    within = why_never_a_source(found)
    if within is not None or found[1] < widest:
        return within
    reached = holds_never_a_source(found)
    return None if reached is None else f"holds {reached} addresses"


def remember_addresses(project: ProjectAddresses, before: Sequence[NodeAddresses]) -> tuple[NodeAddresses, ...]:
    """
    Return the last addresses of every cluster of a project, by the name of the cluster.

    A cluster that is not among those read, where both lists were read, is forgotten; one that lists nothing, or could
    not be asked, is remembered as it was.
    """
    known = {found.cluster: found for found in before}
    if isinstance(project.addresses, Unknown):
        return tuple(known[name] for name in sorted(known))
    listed = _listed(project.addresses)
    kept = {name: known[name] for name in known if name not in listed and _exists(project, name)}
    for name, now in listed.items():
        last = known.get(name)
        if now.outbound or last is None or not _exists(project, name):
            kept[name] = now
        else:
            kept[name] = NodeAddresses(name, last.outbound, now.announced or last.announced)
    return tuple(kept[name] for name in sorted(kept))


def project_of(reason: str) -> str | None:
    """Return the project that a reason names, or None for those of the control plane and the policy."""
    kind, _, rest = reason.partition(":")
    return rest.partition("/")[0] if kind in {NODE, ANNOUNCED} else None


def nobody_is_left(given: FirewallInput) -> bool:
    """
    Whether every project has left the vault, by blocks that were read in this run.

    A project that only left the settings has not left the vault: while we remember one of those, nobody can tell.
    """
    projects = given.facts.projects
    left = all(p.membership in {Membership.OFF, Membership.ELSEWHERE} for p in projects)
    return bool(projects) and left and not strangers(given)


def strangers(given: FirewallInput) -> set[str]:
    """Projects that are remembered here and are not among those of the settings."""
    known = projects_named(given.ledger).union(given.remembered)
    return known - {project.project_id for project in given.facts.projects}


def projects_named(ledger: Iterable[LedgerRow]) -> set[str]:
    """Projects that rules of ours are there for: a run has to read them, wherever they are now."""
    named = {project_of(reason) for row in ledger for part in row.pieces for reason in part.reasons}
    return {project for project in named if project is not None}


def sources(given: FirewallInput, wanted: Wanted) -> Sources:
    """Say which sources of wanted addresses this run did not read whole."""
    failed: list[str] = []
    not_asked: list[str] = []
    for what, why in (*_unread(given), *_partial(wanted)):
        (not_asked if why is NOT_ASKED else failed).append(f"{what}: {why.code}, {why.why}")
    return Sources(failed, not_asked)


def _unread(given: FirewallInput) -> Iterator[tuple[str, Unknown]]:
    for project in sorted(given.facts.projects, key=lambda p: p.project_id):
        yield from _unread_of(project)
    plane = given.facts.control_plane
    if not given.policy.control_plane or nobody_is_left(given):
        return
    if isinstance(plane, Unknown):
        yield "control plane", plane
    elif not plane:
        yield "control plane", Unknown("emptyList", "the list of its addresses was empty")


def _unread_of(project: ProjectAddresses) -> Iterator[tuple[str, Unknown]]:
    name = f"project {project.project_id}"
    if project.membership is Membership.NOT_READ:
        yield f"encryption of {name}", NOT_ASKED if project.counts is not None else Unknown("unread", project.why)
    if project.counts is False:
        return
    for what, found in (("clusters", project.clusters), ("addresses", project.addresses)):
        if isinstance(found, Unknown):
            yield f"{what} of {name}", found


def _partial(wanted: Wanted) -> Iterator[tuple[str, Unknown]]:
    for source in sorted({source_of(reason) for reason in wanted.malformed}):
        yield f"addresses of {source}", _PARTIAL


def source_of(reason: str) -> str:
    """Return who published what a reason is for: a project, or the control plane."""
    project = project_of(reason)
    return "the control plane" if project is None else f"project {project}"


_PARTIAL = Unknown("malformedAddress", "it holds a text that is no address")


def is_malformed(text: str) -> bool:
    """Whether a text is no address at all."""
    return read_range(text) is None and not is_ipv6(text)


def _published(given: FirewallInput) -> Iterator[tuple[str, Sequence[str]]]:
    """What Atlas published or had published for those who count: a reason and its texts each."""
    for project in given.facts.projects:
        if project.counts is not True:
            continue
        for found in remember_addresses(project, given.remembered.get(project.project_id, ())):
            yield f"{NODE}:{project.project_id}/{found.cluster}", found.outbound
            yield f"{ANNOUNCED}:{project.project_id}/{found.cluster}", found.announced
    plane = given.facts.control_plane
    if given.policy.control_plane and not isinstance(plane, Unknown) and is_used(given):
        for published in plane:
            yield f"{CONTROL_PLANE}:{published.place}", (published.text,)


def is_used(given: FirewallInput) -> bool:
    """Whether a project of ours is known to use the vault."""
    return any(project.counts is True for project in given.facts.projects)


def _extra(given: FirewallInput) -> Iterator[tuple[str, Range]]:
    if nobody_is_left(given):
        return
    defaults = set(given.default_extra_rules)
    for network in given.policy.extra_ip_rules:
        yield f"{EXTRA}:{'defaults' if network in defaults else 'vault'}", to_range(network)


def _from_memory(given: FirewallInput) -> frozenset[Range]:
    texts: set[str] = set()
    for project in given.facts.projects:
        if project.counts is True and not isinstance(project.addresses, Unknown):
            listed = _listed(project.addresses)
            for last in given.remembered.get(project.project_id, ()):
                if last.cluster not in listed and isinstance(project.clusters, Unknown):
                    texts.update((*last.outbound, *last.announced))
    return frozenset(found for found in map(read_range, texts) if found is not None)


def _listed(addresses: Sequence[NodeAddresses]) -> dict[str, NodeAddresses]:
    """What each cluster lists; of one that is there twice, all of it."""
    found: dict[str, NodeAddresses] = {}
    for listed in addresses:
        before = found.get(listed.cluster, NodeAddresses(listed.cluster, (), ()))
        outbound = tuple(dict.fromkeys((*before.outbound, *listed.outbound)))
        announced = tuple(dict.fromkeys((*before.announced, *listed.announced)))
        found[listed.cluster] = NodeAddresses(listed.cluster, outbound, announced)
    return found


def _exists(project: ProjectAddresses, cluster: str) -> bool:
    """Whether the cluster is there, or may be."""
    return isinstance(project.clusters, Unknown) or any(found.name == cluster for found in project.clusters)


def _in_order(found: Mapping[Range, list[str]]) -> dict[Range, tuple[str, ...]]:
    return {key: _reasons(found[key]) for key in sorted(found)}


def _reasons(found: list[str]) -> tuple[str, ...]:
    return tuple(found) if len(found) == 1 else tuple(sorted(set(found)))
