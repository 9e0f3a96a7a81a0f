"""Facts: which clusters could be paused, which pauses we asked for, and what their return needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from keysteward.vocabulary import Cluster


class Tier(StrEnum):
    """What kind of cluster it is, as far as pausing is concerned."""

    DEDICATED = "dedicated"
    NVME = "nvme"
    """Cannot be paused."""
    SHARED = "shared"
    """M0, M2, M5: neither encrypted with the project's key nor paused by the API."""
    FLEX = "flex"


@dataclass(frozen=True, slots=True)
class PausableCluster:
    """A cluster with its tier. Where a tier could not be told it is DEDICATED: Atlas refuses what cannot be."""

    cluster: Cluster
    tier: Tier = Tier.DEDICATED


type PauseCause = Literal["revocation", "operator"]


@dataclass(frozen=True, slots=True)
class Pause:
    """
    A pause of a cluster that we asked for, at ``at``.

    It is ours where our own request was answered 200 on a cluster that was read as running just before. ``unproven``:
    Atlas said that it was paused already, or its answer was lost.
    """

    cluster: str
    cause: PauseCause
    at: datetime
    unproven: bool = False


@dataclass(frozen=True, slots=True)
class PauseTry:
    """A pause that could not be made, with Atlas's code and the time of the next try."""

    cluster: str
    code: str
    not_before: datetime


@dataclass(frozen=True, slots=True)
class FirewallReadiness:
    """
    How the vault's firewall stands for this project.

    ``written_by_us``: the policy lets us write it. ``missing``: wanted addresses of this project that no rule allows or
    that a hold keeps out, after the sync at ``synced_at``.
    """

    written_by_us: bool
    filters: bool
    synced_at: datetime | None
    missing: int
