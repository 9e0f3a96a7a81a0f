"""Ready-made worlds. A test starts from one and changes only what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.cloud import Cloud

PROJECT_ID = "64b0c1d2e3f405162738495a"
CLIENT_ID = "mdb_sa_id_64b0c1d2e3f4051627384900"
CLIENT_SECRET = "mdb_sa_sk_simulated-not-a-secret"  # noqa: S105 - invented, opens nothing
VAULT = "kv-acme-cmk"
KEY = "atlas-cmk"
CLUSTERS = ("payments", "ledger", "search")
KEY_AGE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class World:
    """The names in a healthy world; ``identifier`` is the key version in use."""

    project_id: str
    vault: str
    key: str
    identifier: str
    clusters: tuple[str, ...]
    client_id: str
    client_secret: str


def a_healthy_world(cloud: Cloud) -> World:
    """One project with three encrypted clusters, one vault, one key with one version, one service account."""
    vault = cloud.key_vault.add_vault(VAULT)
    born = cloud.clock.now() - KEY_AGE
    identifier = vault.create_key(KEY, created_at=born, expires_at=born + timedelta(days=730))
    cloud.atlas.add_service_account(CLIENT_ID, CLIENT_SECRET)
    cloud.atlas.add_project(PROJECT_ID, "payments-prod", key_identifier=identifier, identifier_since=born)
    for name in CLUSTERS:
        cloud.atlas.add_cluster(PROJECT_ID, name)
    return World(PROJECT_ID, VAULT, KEY, identifier, CLUSTERS, CLIENT_ID, CLIENT_SECRET)
