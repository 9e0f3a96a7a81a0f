"""
What a decision about a vault's firewall is made from, besides the facts: everything that the app remembers of it.

As for projects (``inputs``): whoever decides, a run or a look by the API, reads and turns it in the same way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network

import msgspec

from keysteward.clock import Clock
from keysteward.decide.firewall.addresses import projects_named
from keysteward.decide.firewall.given import FirewallInput, SyncRequest, WriteAttempt
from keysteward.decide.firewall.reverts import Reverts
from keysteward.facts import Fact, OperatorHold, Unknown
from keysteward.logs import get_logger
from keysteward.network_facts import LedgerPart, LedgerRow, NetworkAcl, VaultNetworkFacts
from keysteward.observe.network import RecordedProject
from keysteward.policy import Policy
from keysteward.reconcile.inputs import operator_hold
from keysteward.store.records import (
    AddressesRecord,
    AddressRecord,
    AttemptRecord,
    LedgerPartRecord,
    LedgerRecord,
    OperationRecord,
    PlaceRecord,
    ProjectRecord,
    RevertsRecord,
    VaultRecord,
)
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Cloud, InvalidNameError, KeyIdentifier, NodeAddresses, Scope, VaultPlace

log = get_logger("keysteward.reconcile.vault")


@dataclass(frozen=True, slots=True)
class RememberedVault:
    """
    A vault as the app remembers it.

    ``projects``: those of the settings that use it, or that rules or addresses of ours are there for. ``place`` is None
    where no record names it. ``addresses``: the last ones of every project that is remembered here, in the settings or
    not. ``stored_ledger`` is by network, ``stored_addresses`` by project id; ``operations`` are the open ones by id,
    oldest first; ``holds_read_at`` is from before the holds were read.
    """

    vault: str
    place: VaultPlace | None
    projects: Sequence[RecordedProject]
    ledger: Sequence[LedgerRow]
    addresses: Mapping[str, Sequence[NodeAddresses]]
    hold: OperatorHold | None
    stored: Stored[VaultRecord]
    stored_ledger: dict[str, Stored[LedgerRecord]]
    stored_addresses: dict[str, Stored[AddressesRecord]]
    operations: dict[str, Stored[OperationRecord]]
    holds_read_at: datetime


async def recall_vault(state: State, clock: Clock, scope: Scope, members: Collection[str]) -> RememberedVault:
    """
    Read everything that is remembered of a vault.

    Args:
        state: the app's tables.
        clock: for ``holds_read_at``.
        scope: of the vault.
        members: the projects that the app looks after.
    """
    vault, read_at = scope.name, clock.now()
    stored, users, rows, seen, order, found = await asyncio.gather(
        state.vault(vault),
        state.projects_using(vault),
        state.ledger(vault),
        state.addresses(vault),
        state.hold(scope),
        state.open_operations(scope),
    )
    rows = [row for row in rows if _names_a_network(row.record)]
    ledger = tuple(ledger_row(row.record) for row in rows)
    last = {each.record.project_id: last_addresses(each.record) for each in seen}
    ids = sorted(projects_named(ledger).union(users, last))
    records = await asyncio.gather(*(_project(state, p) for p in ids))
    return RememberedVault(
        vault=vault,
        place=_place(vault, records, place_of(vault, stored.record.firewall.place)),
        projects=tuple(_recorded(vault, record) for record in records if record.project_id in members),
        ledger=ledger,
        # Also of a project whose addresses no sync has seen: while it is remembered, the vault is not left.
        addresses={project_id: last.get(project_id, ()) for project_id in ids},
        hold=operator_hold(order),
        stored=stored,
        stored_ledger={row.record.network: row for row in rows},
        stored_addresses={each.record.project_id: each for each in seen},
        operations={operation.record.operation_id: operation for operation in found},
        holds_read_at=read_at,
    )


def _names_a_network(record: LedgerRecord) -> bool:
    try:
        ledger_row(record)
    except ValueError:
        log.exception("a row of the ledger names no network and is left out", extra={"row": record.network})
        return False
    return True


async def _project(state: State, project_id: str) -> ProjectRecord:
    """What is remembered of a project; of one whose row nobody can read nothing, so that the others have their run."""
    try:
        return (await state.project(project_id)).record
    except msgspec.MsgspecError:
        log.exception("a project's record cannot be read", extra={"project": project_id})
        return ProjectRecord(project_id=project_id)


def firewall_input(
    facts: VaultNetworkFacts,
    remembered: RememberedVault,
    policy: Policy,
    now: datetime,
    *,
    discovers: bool,
    request: SyncRequest | None = None,
) -> FirewallInput:
    """
    Build what the decision on a firewall looks at.

    Args:
        facts: what this run saw.
        remembered: what the app remembers.
        policy: the whole document: of the vault's block and of the defaults.
        now: aware, UTC.
        discovers: whether Atlas says which projects there are (``ATLAS_PROJECT_IDS=*``). A vault that came here by
            that alone is changed only where the policy names it.
        request: an operator's wish; None: the oldest one among the open operations, if there is one.
    """
    record = remembered.stored.record.firewall
    return FirewallInput(
        vault=remembered.vault,
        facts=facts,
        policy=policy.vault_firewall(remembered.vault),
        now=now,
        ledger=remembered.ledger,
        remembered=remembered.addresses,
        reverts=reverts_of(record.reverts),
        attempt=attempt_of(record.refused),
        hold=remembered.hold,
        request=request or _request_of(remembered),
        may_change=not discovers or policy.names_vault(remembered.vault),
        default_extra_rules=policy.default_firewall.extra_ip_rules,
    )


def _request_of(remembered: RememberedVault) -> SyncRequest | None:
    orders = (stored.record for stored in remembered.operations.values())
    order = next((order for order in orders if order.kind == "sync" and not order.ended), None)
    return SyncRequest(order.operation_id, order.created_at, order.allow_large_removal) if order is not None else None


def is_another_vault(remembered: RememberedVault, acl: Fact[NetworkAcl]) -> bool:
    """Whether the vault that was read is not the one that is remembered: it was deleted, and one of its name made."""
    known = remembered.stored.record.firewall.vault_created_at
    found = None if isinstance(acl, Unknown) else acl.created_at
    return known is not None and found is not None and found != known


def last_addresses(record: AddressesRecord) -> tuple[NodeAddresses, ...]:
    """The addresses of a project's clusters as they were seen last, in the order of the clusters' names."""
    found = sorted(record.clusters.items())
    return tuple(NodeAddresses(name, tuple(seen.outbound), tuple(seen.announced)) for name, seen in found)


def addresses_record(project_id: str, addresses: Iterable[NodeAddresses]) -> AddressesRecord:
    """Turn the last addresses of a project, of each cluster once, into what is kept of them."""
    clusters = {a.cluster: AddressRecord(outbound=list(a.outbound), announced=list(a.announced)) for a in addresses}
    return AddressesRecord(project_id=project_id, clusters=clusters)


def attempt_of(record: AttemptRecord | None) -> WriteAttempt | None:
    """Turn what is remembered of a write that did not go through into what the decision looks at."""
    if record is None:
        return None
    return WriteAttempt(record.target, record.code, record.at, record.not_before, record.permanent, record.count)


def reverts_of(record: RevertsRecord) -> Reverts:
    """Read back what is remembered of writes that did not last."""
    return Reverts(record.count, record.write_at, record.seen_at, record.by)


def reverts_record(found: Reverts) -> RevertsRecord:
    """Turn what is to be remembered of writes that did not last into what is kept of it."""
    return RevertsRecord(count=found.count, write_at=found.write_at, seen_at=found.seen_at, by=found.by)


def place_of(vault: str, record: PlaceRecord | None) -> VaultPlace | None:
    """Read back where a vault lay; None where nothing is kept, or nothing that names a place."""
    if record is None:
        return None
    return _parsed(vault, record.cloud, record.subscription_id, record.resource_group)


def place_record(place: VaultPlace) -> PlaceRecord:
    """Turn where a vault lies into what is kept of it."""
    return PlaceRecord(
        cloud=str(place.cloud), subscription_id=place.subscription_id, resource_group=place.resource_group
    )


def ledger_row(record: LedgerRecord) -> LedgerRow:
    """
    Read back a rule of ours.

    Raises:
        ValueError: the record names no IPv4 network. It is none of ours: every one was written by ``ledger_record``.
    """
    parts = (LedgerPart(IPv4Network(p.network), tuple(p.reasons), p.gone_since, p.orphaned) for p in record.parts)
    network, reasons = IPv4Network(record.network), tuple(record.reasons)
    return LedgerRow(network, record.state, reasons, record.since, record.gone_since, tuple(parts), record.leaving)


def ledger_record(row: LedgerRow) -> LedgerRecord:
    """Turn a rule of ours into what is kept of it."""
    parts = [
        LedgerPartRecord(network=str(p.network), reasons=list(p.reasons), gone_since=p.gone_since, orphaned=p.orphaned)
        for p in row.parts
    ]
    return LedgerRecord(
        network=str(row.network),
        state=row.state,
        reasons=list(row.reasons),
        since=row.since,
        gone_since=row.gone_since,
        parts=parts,
        leaving=row.leaving,
    )


def _place(vault: str, records: Sequence[ProjectRecord], last: VaultPlace | None) -> VaultPlace | None:
    """
    Where the vault lies, as most of the projects on it say; of two that are named as often, *last*, where it was read.

    Its name is unique in its cloud, so that at most one of several is right; Resource Manager knows no other.
    """
    found = Counter(place for record in records if (place := _place_of(vault, record)) is not None)
    order = sorted(
        found, key=lambda p: (-found[p], p != last, str(p.cloud), p.subscription_id, p.resource_group.lower())
    )
    return order[0] if order else last


def _place_of(vault: str, record: ProjectRecord) -> VaultPlace | None:
    if record.vault != vault:
        return None
    return _parsed(vault, record.cloud, record.subscription_id, record.resource_group)


def _parsed(vault: str, cloud: str | None, subscription_id: str | None, group: str | None) -> VaultPlace | None:
    if cloud not in set(Cloud):
        return None
    try:
        # Of a key only its vault and cloud count here.
        return VaultPlace.parse(KeyIdentifier(vault, Cloud(cloud), "", None), subscription_id, group)
    except InvalidNameError:
        return None


def _recorded(vault: str, record: ProjectRecord) -> RecordedProject:
    if record.observed_at is None:
        return RecordedProject(record.project_id, counts=None, why="it was not seen yet")
    seen = f"as seen at {record.observed_at:%Y-%m-%d %H:%M} UTC"
    if record.rotation_reason == "encryptionOff":
        return RecordedProject(record.project_id, counts=False, why=f"encryption at rest is off, {seen}")
    if record.vault != vault:
        return RecordedProject(record.project_id, counts=False, why=f"it uses {record.vault or 'no vault'}, {seen}")
    return RecordedProject(record.project_id, counts=True, why=f"it uses {vault}, {seen}")
