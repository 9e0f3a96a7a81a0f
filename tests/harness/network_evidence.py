"""
Questions that the invariants of firewalls ask: of ranges, of writes, and of what a run was told.

Ranges are reckoned with here by whole numbers and nothing of the product: where it is wrong, this is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from tests.harness.evidence import NEVER, Order, record_of, scopes_of_runs, writes_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.harness.player import Played
    from tests.harness.processes import Run
    from tests.harness.wire import Sent

type Span = tuple[int, int]
"""The first and the last address."""


@lru_cache(maxsize=65_536)
def span_of(text: str) -> Span | None:
    """The addresses that a text names; None: no IPv4 address or range."""
    try:
        network = IPv4Network(text.strip(), strict=False)
    except ValueError:
        return None
    return int(network.network_address), int(network.broadcast_address)


def spans_of(texts: Iterable[str]) -> set[Span]:
    return {span for span in map(span_of, texts) if span is not None}


def united(spans: Iterable[Span]) -> list[Span]:
    """The same addresses, as spans that neither touch nor overlap, in order."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def less(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """The addresses of *spans* that *others* lack."""
    left = united(spans)
    for first, last in united(others):
        cut: list[Span] = []
        for begin, end in left:
            if end < first or last < begin:
                cut.append((begin, end))
                continue
            cut += [(begin, first - 1)] if begin < first else []
            cut += [(last + 1, end)] if last < end else []
        left = cut
    return left


def touch(span: Span, others: Iterable[Span]) -> bool:
    return any(first <= span[1] and span[0] <= last for first, last in others)


def shown(spans: Iterable[Span]) -> str:
    """A few spans, for people."""
    found = sorted(spans)
    text = ", ".join(f"{_dotted(first)}{'' if first == last else '-' + _dotted(last)}" for first, last in found[:4])
    return text if len(found) <= 4 else f"{text} and {len(found) - 4} more"


def _dotted(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def rules_writes(played: Played) -> list[Sent]:
    """Every write of a vault's rules that reached Resource Manager, in the order in which it did."""
    found = [s for s in played.wire.sent if s.is_rules_write and s.done_at is not None]
    return sorted(found, key=lambda s: s.done_at or 0.0)


def sent_list(write: Sent) -> tuple[str, ...]:
    """The whole list that a write sends."""
    return listed(write.request.json()["properties"]["networkAcls"])


def listed(acls: Mapping[str, Any] | None) -> tuple[str, ...]:
    return tuple(rule["value"] for rule in (acls or {}).get("ipRules", ()))


def properties_of(read: Sent) -> Mapping[str, Any] | None:
    """What a read of a vault was told of it."""
    told = read.told
    found = told.get("properties") if isinstance(told, dict) else None
    return found if isinstance(found, dict) else None


def read_before(played: Played, write: Sent) -> Sent | None:
    """The last read of the vault whose answer the run had when it sent *write*."""
    reads = [
        s
        for s in of_run(played, write.run)
        if s.reads_rules
        and s.vault == write.vault
        and s.heard_at is not None
        and s.heard_at <= write.asked_at
        and s.number < write.number
        and properties_of(s) is not None
    ]
    return max(reads, key=lambda s: s.heard_at or 0.0, default=None)


@lru_cache(maxsize=1)
def _by_run(played: Played) -> Mapping[int, Sequence[Sent]]:
    found: dict[int, list[Sent]] = {}
    for sent in played.wire.sent:
        found.setdefault(sent.run.number, []).append(sent)
    return found


def of_run(played: Played, run: Run) -> Sequence[Sent]:
    return _by_run(played).get(run.number, ())


@dataclass(slots=True)
class Seen:
    """
    What a run was told by some time, and of what it heard nothing good.

    ``blocks``: by project, its azure block. ``addresses``: by project and cluster, all addresses that it lists, the
    announced ones too. ``clusters``: by project, their names. ``plane`` None: not told.
    """

    blocks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    addresses: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    clusters: dict[str, frozenset[str]] = field(default_factory=dict)
    plane: tuple[str, ...] | None = None

    def counted(self, vault: str) -> list[str]:
        """Projects whose block says that they use the vault."""
        return [project for project, block in self.blocks.items() if uses(block, vault)]

    def wanted(self, vault: str, *, plane: bool) -> dict[str, list[str]]:
        """What those who use the vault need, by who it is: a project's id or, where it is to get in, ``plane``."""
        counted = self.counted(vault)
        found = {p: [a for texts in self.addresses.get(p, {}).values() for a in texts] for p in counted}
        if plane and counted and self.plane is not None:
            found["plane"] = list(self.plane)
        return found


def uses(block: Mapping[str, Any] | None, vault: str) -> bool:
    return bool(block and block.get("enabled") and str(block.get("keyVaultName")).lower() == vault)


def seen_by(played: Played, run: Run, until: float = NEVER) -> Seen:
    """What *run* had been told at the loop time *until*; of two answers the later one."""
    seen = Seen()
    for sent in of_run(played, run):
        if sent.heard_at is None or sent.heard_at > until:
            continue
        told = sent.told
        if not isinstance(told, dict):
            continue
        path, project = sent.request.path, sent.project_id or ""
        if sent.reads_encryption:
            seen.blocks[project] = told["azureKeyVault"]
        elif path.endswith("/ipAddresses"):
            rows = told["services"]["clusters"]
            seen.addresses[project] = {r["clusterName"]: [*r["outbound"], *r["futureOutbound"]] for r in rows}
        elif path.endswith("/clusters"):
            seen.clusters[project] = frozenset(row["name"] for row in told["results"])
        elif path.endswith("/controlPlaneIPAddresses"):
            regions = told["outbound"].values()
            seen.plane = tuple(a for region in regions for texts in region.values() for a in texts)
    return seen


@dataclass(frozen=True, slots=True)
class VaultRun:
    """A run of a vault's message, and what it was told in all."""

    run: Run
    vault: str
    seen: Seen

    @property
    def ended(self) -> bool:
        """Whether it came to its end undisturbed, so that all that it had to keep is kept."""
        return self.run.outcome == "ran" and self.run.ended_at is not None


def lets_plane_in(played: Played) -> bool:
    """Whether the policy lets the control plane in."""
    return played.history.firewall is not None and played.history.firewall.control_plane


@lru_cache(maxsize=1)
def vault_runs(played: Played) -> Sequence[VaultRun]:
    """Every run of a vault's message, in the order in which they began."""
    found = []
    scopes = scopes_of_runs(played)
    for run in played.host.runs:
        kind, _, vault = scopes.get(run.number, "").partition(":")
        if kind == "vault" and run.kind == "message":
            found.append(VaultRun(run, vault, seen_by(played, run)))
    return found


@lru_cache(maxsize=1)
def _blocks_told(played: Played) -> Sequence[tuple[float, str, Mapping[str, Any]]]:
    """When a run ended well, and a project's block as it was told, in the order of the ends."""
    reads = (s for s in played.wire.sent if s.reads_encryption and s.told is not None)
    told = [
        (s.run.ended_at, s.project_id or "", s.told["azureKeyVault"])
        for s in reads
        if s.run.kind == "message" and s.run.outcome == "ran" and s.run.ended_at is not None
    ]
    return sorted(told, key=lambda row: row[0])


def users_as_told(played: Played, found: VaultRun) -> set[str]:
    """Projects that use the vault as a run was told or, where it did not ask, as earlier runs were told."""
    last = {project: block for at, project, block in _blocks_told(played) if at <= found.run.began_at}
    last |= found.seen.blocks
    return {project for project, block in last.items() if uses(block, found.vault)}


def projects_in_settings(run: Run) -> frozenset[str]:
    """The projects that the settings of a run's process name."""
    return frozenset(run.process.app.settings.project_ids)


def syncs_ordered(played: Played) -> list[tuple[Order, bool]]:
    """Every sync that an operator ordered, by vault in place of the project, and whether it lets much go at once."""
    began: dict[str, tuple[float, dict[str, Any]]] = {}
    ended: dict[str, float] = {}
    for written in writes_to(played, "keystewardOperations"):
        if written.key not in began and written.run is not None and written.run.kind == "operator":
            began[written.key] = written.loop_at, record_of(written.values)
        if written.values["open"] == "no":
            ended.setdefault(written.key, written.loop_at)
    return [
        (Order(row["vault"], None, at, ended.get(key, NEVER)), bool(row.get("allowLargeRemoval")))
        for key, (at, row) in began.items()
        if row["kind"] == "sync"
    ]


def is_ordered(played: Played, write: Sent, *, large: bool = False) -> bool:
    """Whether an operator's sync of the vault explains a write (*large*: one that lets much go at once)."""
    return any(
        order.project == write.vault
        and order.begins <= write.asked_at
        and order.ends >= write.run.began_at
        and (lets_go or not large)
        for order, lets_go in syncs_ordered(played)
    )


@dataclass(frozen=True, slots=True)
class BecameOurs:
    """A rule that came into the list of a vault by a write of the app, or that an operator claimed."""

    vault: str
    span: Span
    at: float
    claimed: bool


@lru_cache(maxsize=1)
def became_ours(played: Played) -> Sequence[BecameOurs]:
    """Every rule that the app can have called its own, and since when."""
    found = [
        BecameOurs(write.vault or "", span, write.done_at or 0.0, claimed=False)
        for write in rules_writes(played)
        if write.rules is not None and write.changed
        for span in spans_of(write.rules[1]) - spans_of(write.rules[0])
    ]
    found += [
        BecameOurs(row["scope"].partition(":")[2], span, at, claimed=True)
        for at, row in _claims(played)
        for span in spans_of(row["after"].removeprefix("ours: ").split(", "))
    ]
    return found


def _claims(played: Played) -> Iterator[tuple[float, dict[str, Any]]]:
    seen: set[str] = set()
    for written in writes_to(played, "keystewardAudit"):
        row = record_of(written.values)
        if row["what"] == "claimIpRules" and written.key not in seen:
            seen.add(written.key)
            yield written.loop_at, row
