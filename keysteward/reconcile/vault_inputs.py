"""
What a decision about a vault's firewall is made from, besides the facts: everything that the app remembers of it.

As for projects (``inputs``): whoever decides, a run or a look by the API, reads and turns it in the same way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network

from keysteward.decide.firewall.addresses import projects_named
from keysteward.decide.firewall.given import FirewallInput
from keysteward.facts import OperatorHold
from keysteward.network_facts import LedgerPart, LedgerRow, VaultNetworkFacts
from keysteward.observe.network import RecordedProject
from keysteward.policy import Policy
from keysteward.reconcile.inputs import operator_hold
from keysteward.store.records import LedgerPartRecord, LedgerRecord, ProjectRecord
from keysteward.store.state import State
from keysteward.vocabulary import Cloud, InvalidNameError, KeyIdentifier, NodeAddresses, Scope, VaultPlace


@dataclass(frozen=True, slots=True)
class RememberedVault:
    """
    A vault as the app remembers it.

    ``projects``: those of the settings that use it, or that rules of ours are there for. ``place`` is None where no
    record names it. ``addresses``: the last ones of every project that is remembered here, in the settings or not.
    """

    vault: str
    place: VaultPlace | None
    projects: Sequence[RecordedProject]
    ledger: Sequence[LedgerRow]
    addresses: Mapping[str, Sequence[NodeAddresses]]
    hold: OperatorHold | None


async def recall_vault(state: State, scope: Scope, members: Collection[str]) -> RememberedVault:
    """
    Read everything that is remembered of a vault.

    Args:
        state: the app's tables.
        scope: of the vault.
        members: the projects that the app looks after.
    """
    vault = scope.name
    users, rows, order = await asyncio.gather(state.projects_using(vault), state.ledger(vault), state.hold(scope))
    ledger = tuple(ledger_row(row.record) for row in rows)
    ids = sorted(projects_named(ledger).union(users))
    records = [stored.record for stored in await asyncio.gather(*(state.project(p) for p in ids))]
    return RememberedVault(
        vault,
        _place(vault, records),
        tuple(_recorded(vault, record) for record in records if record.project_id in members),
        ledger,
        {record.project_id: last_addresses(record) for record in records},
        operator_hold(order),
    )


def firewall_input(
    facts: VaultNetworkFacts, remembered: RememberedVault, policy: Policy, now: datetime, *, discovers: bool
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
    """
    return FirewallInput(
        vault=remembered.vault,
        facts=facts,
        policy=policy.vault_firewall(remembered.vault),
        now=now,
        ledger=remembered.ledger,
        remembered=remembered.addresses,
        hold=remembered.hold,
        may_change=not discovers or policy.names_vault(remembered.vault),
        default_extra_rules=policy.default_firewall.extra_ip_rules,
    )


def last_addresses(record: ProjectRecord) -> tuple[NodeAddresses, ...]:
    """The addresses of a project's clusters as they were seen last."""
    found = (record.addresses or {}).items()
    return tuple(NodeAddresses(name, tuple(seen.outbound), tuple(seen.announced)) for name, seen in sorted(found))


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


def _place(vault: str, records: Sequence[ProjectRecord]) -> VaultPlace | None:
    """
    Where the vault lies, as most of the projects on it say; of two that are named as often, the first by name.

    Its name is unique in its cloud, so that at most one of several is right; Resource Manager knows no other.
    """
    found = Counter(place for record in records if (place := _place_of(vault, record)) is not None)
    order = sorted(found, key=lambda p: (-found[p], str(p.cloud), p.subscription_id, p.resource_group.lower()))
    return order[0] if order else None


def _place_of(vault: str, record: ProjectRecord) -> VaultPlace | None:
    if record.vault != vault or record.cloud not in set(Cloud):
        return None
    key = KeyIdentifier(vault, Cloud(record.cloud), record.key or "", None)
    try:
        return VaultPlace.parse(key, record.subscription_id, record.resource_group)
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
