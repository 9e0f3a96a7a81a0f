"""
Facts: what one run saw of a vault's firewall and of the addresses that need it, and what is remembered of our rules.

A source that was not read, or not read whole, is ``Unknown``; an empty list is a list that was read and was empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Any, Literal

from keysteward.facts import EncryptionAtRest, Fact, Unknown
from keysteward.vocabulary import Cluster, InvalidNameError, KeyIdentifier, NodeAddresses, VaultPlace

NOT_ASKED = Unknown("notAsked", "not read in this run")
"""A source that this run had no need of. It is not whole, but nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class NetworkAcl:
    """
    A vault's firewall as Resource Manager showed it. Texts are as read.

    Source: Resource Manager ``vaults``, 2026-02-01: ``publicNetworkAccess``, ``networkAcls``, ``systemData``.
    """

    public_access: str | None
    default_action: str | None
    ip_rules: tuple[str, ...]
    raw: Mapping[str, Any] | None
    """``networkAcls`` exactly as read. None: absent, and the vault filters nothing."""
    modified_at: datetime | None
    modified_by: str | None
    read_at: datetime
    """From before the read was begun."""
    created_at: datetime | None = None
    """When the vault was made: of the same name, another time tells another vault."""


class Membership(StrEnum):
    """What a project's encryption block, read in this run, says of a vault."""

    NOT_READ = "notRead"
    COUNTS = "counts"
    """Encryption is on, and the block names this vault in all its members."""
    OFF = "off"
    """Encryption with Azure Key Vault is off."""
    ELSEWHERE = "elsewhere"
    """The block agrees with itself, and names another vault."""
    DISAGREES = "disagrees"
    """Its members do not name one vault, so that the project is on neither, and has not left either."""


def membership(encryption: Fact[EncryptionAtRest], place: VaultPlace) -> tuple[Membership, str]:
    """Say whether a project counts for the vault at *place*, and why. Names are compared without case."""
    if isinstance(encryption, Unknown):
        return Membership.NOT_READ, f"{encryption.code}: {encryption.why}"
    if not encryption.enabled:
        return Membership.OFF, "azureKeyVault.enabled is false"
    try:
        key = KeyIdentifier.parse(encryption.key_identifier)
        named = VaultPlace.parse(key, encryption.subscription_id, encryption.resource_group)
    except InvalidNameError as error:
        return Membership.DISAGREES, str(error)
    told = f"identifier {key.vault}, vault name {encryption.vault_name}, in {named.subscription_id}, "
    told += f"resource group {named.resource_group}"
    settings = ((encryption.vault_name or "").lower(), encryption.environment or "AZURE")
    if settings != (key.vault, str(key.cloud)):
        return Membership.DISAGREES, told
    if (key.vault, key.cloud) != (place.vault.lower(), place.cloud):
        return Membership.ELSEWHERE, told
    same_place = (named.subscription_id, named.resource_group.lower())
    if same_place != (place.subscription_id.lower(), place.resource_group.lower()):
        # A vault's name is unique in its cloud, so the project does use this vault; only where it lies is told wrongly.
        return Membership.DISAGREES, told
    return Membership.COUNTS, told


@dataclass(frozen=True, slots=True)
class ProjectAddresses:
    """
    A project that may use the vault, and what was read of it in this run.

    ``counts``: whether its block counts for this vault; from records where the block was not asked for in this run,
    None where it is not known. ``why`` says what that rests on.
    """

    project_id: str
    counts: bool | None
    why: str
    clusters: Fact[Sequence[Cluster]]
    addresses: Fact[Sequence[NodeAddresses]]
    membership: Membership = Membership.NOT_READ
    """What the block read in this run says; with NOT_READ nothing of the project is ever gone."""
    unread: Unknown | None = None
    """Why the block could not be read in this run."""

    @classmethod
    def read(
        cls,
        project_id: str,
        place: VaultPlace,
        encryption: Fact[EncryptionAtRest],
        clusters: Fact[Sequence[Cluster]],
        addresses: Fact[Sequence[NodeAddresses]],
    ) -> ProjectAddresses:
        """Join what was read of a project for the vault at *place*; an unread block counts neither way."""
        found, why = membership(encryption, place)
        counts = None if found is Membership.NOT_READ else found is Membership.COUNTS
        unread = encryption if isinstance(encryption, Unknown) else None
        return cls(project_id, counts, why, clusters, addresses, found, unread)


@dataclass(frozen=True, slots=True)
class ControlPlaneRange:
    """An outbound address or CIDR of Atlas's control plane, as published, with its ``<cloud>/<region>``."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class VaultNetworkFacts:
    """Everything that one run saw of a vault's firewall. ``projects``: those of the settings, and no others."""

    observed_at: datetime
    acl: Fact[NetworkAcl]
    projects: Sequence[ProjectAddresses]
    control_plane: Fact[tuple[ControlPlaneRange, ...]]
    """Outbound ranges of all clouds."""


type RowState = Literal["intended", "ours", "orphaned"]


@dataclass(frozen=True, slots=True)
class LedgerPart:
    """
    Addresses that a rule of ours is there for, and why.

    ``gone_since``: the first run in which they were gone (of an orphaned rule: in which nobody was left to ask).
    """

    network: IPv4Network
    reasons: tuple[str, ...]
    gone_since: datetime | None = None
    orphaned: bool = False


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """
    A rule that we added, or are about to add.

    ``intended``: written down before the write, and no proof of ownership. ``orphaned``: ours, but the project that
    asked for it left the settings or is invisible. A merged rule keeps what it was merged from in ``parts``; an
    unmerged one has none, and ``reasons`` and ``gone_since`` are its own. ``since``: when the youngest of its addresses
    was added.
    """

    network: IPv4Network
    state: RowState
    reasons: tuple[str, ...]
    since: datetime
    gone_since: datetime | None = None
    parts: tuple[LedgerPart, ...] = ()
    leaving: bool = False
    """A removal by us is under way: to find it absent is no loss."""

    @property
    def pieces(self) -> tuple[LedgerPart, ...]:
        """What the rule is there for, whether merged or not."""
        return self.parts or (LedgerPart(self.network, self.reasons, self.gone_since, self.state == "orphaned"),)

    @classmethod
    def of(
        cls,
        network: IPv4Network,
        state: RowState,
        since: datetime,
        pieces: Sequence[LedgerPart],
        *,
        leaving: bool = False,
    ) -> LedgerRow:
        """A rule for *pieces*, of which each lies within *network*. It is gone since the last of them is."""
        only = pieces[0] if len(pieces) == 1 else None
        if only is not None and only.network == network and only.orphaned is (state == "orphaned"):
            return cls(network, state, only.reasons, since, only.gone_since, (), leaving)
        reasons = tuple(sorted({reason for piece in pieces for reason in piece.reasons}))
        gone = [piece.gone_since for piece in pieces if piece.gone_since is not None]
        gone_since = max(gone) if gone and len(gone) == len(pieces) else None
        return cls(network, state, reasons, since, gone_since, tuple(pieces), leaving)
