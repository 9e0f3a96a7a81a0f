"""Ready-made worlds. A test starts from one and changes only what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from simulator.azure_clouds import CHINA, PUBLIC, US_GOVERNMENT
from simulator.key_vault.for_atlas import named
from simulator.key_vault.network import as_stored, range_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.cloud import Cloud

PROJECT_ID = "64b0c1d2e3f405162738495a"
CLIENT_ID = "mdb_sa_id_64b0c1d2e3f4051627384900"
CLIENT_SECRET = "mdb_sa_sk_simulated-not-a-secret"  # noqa: S105 - invented, opens nothing
VAULT = "kv-acme-cmk"
KEY = "atlas-cmk"
PUBLIC_KEY = "simulatd"
PRIVATE_KEY = "00000000-0000-4000-8000-00simulated0"
APPLICATION_ID = "7d3c9c1e-52a4-4c4e-9f0a-000000000001"
APPLICATION_SECRET = "simulated~application~secret"  # noqa: S105 - invented, opens nothing
OFFICE = "198.51.100.0/24"
CLUSTERS = ("payments", "ledger", "search")
KEY_AGE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class World:
    """
    The names in a healthy world; ``identifier`` is the key version in use.

    ``environment`` is the cloud as Atlas names it. ``application_secret`` is None where Atlas signs in with a role.
    """

    project_id: str
    vault: str
    key: str
    identifier: str
    clusters: tuple[str, ...]
    client_id: str
    client_secret: str
    public_key: str = PUBLIC_KEY
    private_key: str = PRIVATE_KEY
    environment: str = PUBLIC.environment
    application_secret: str | None = None


def a_healthy_world(
    cloud: Cloud, environment: str = PUBLIC.environment, *, application_secret: str | None = None
) -> World:
    """
    One project with three encrypted clusters, one vault, one key with one version, a service account, an API key.

    Args:
        cloud: an empty one.
        environment: the Azure cloud of the vault, as Atlas names it.
        application_secret: Atlas signs in with an application and this secret; None: with an authorized role.
    """
    vault = cloud.key_vault.add_vault(VAULT, environment=environment)
    born = cloud.clock.now() - KEY_AGE
    identifier = vault.create_key(KEY, created_at=born, expires_at=born + timedelta(days=730))
    cloud.atlas.add_service_account(CLIENT_ID, CLIENT_SECRET)
    cloud.atlas.add_api_key(PUBLIC_KEY, PRIVATE_KEY)
    cloud.atlas.add_project(
        PROJECT_ID,
        "payments-prod",
        key_identifier=identifier,
        identifier_since=born,
        client_id=None if application_secret is None else APPLICATION_ID,
        secret=application_secret,
    )
    for name in CLUSTERS:
        cloud.atlas.add_cluster(PROJECT_ID, name)
    return World(
        PROJECT_ID,
        VAULT,
        KEY,
        identifier,
        CLUSTERS,
        CLIENT_ID,
        CLIENT_SECRET,
        environment=environment,
        application_secret=application_secret,
    )


def needed_rules(cloud: Cloud, vault_name: str) -> list[str]:
    """Return the rules that let in the app, Atlas, and every node, present and announced, of clusters on a vault."""
    host = cloud.key_vault.vault(vault_name).state.host
    found = [cloud.app_address, *cloud.atlas.control_plane.outbound]
    for project in cloud.atlas.projects.values():
        parts = named(project.key_identifier or "")
        if parts is not None and parts.host == host:
            for cluster in project.clusters.values():
                found += [*cluster.outbound, *cluster.future_outbound]
    return list(dict.fromkeys(as_stored(text) for text in found if range_of(text) is not None))


def a_filtering_world(cloud: Cloud) -> World:
    """A healthy world whose vault lets in what it must, by rules of its owner's, an office, and nothing else."""
    world = a_healthy_world(cloud)
    rules = [OFFICE, *needed_rules(cloud, world.vault)]
    cloud.vault_writers.set_network(world.vault, default_action="Deny", ip_rules=rules)
    return world


PRESETS: Mapping[str, Callable[[Cloud], World]] = {
    "healthy": a_healthy_world,
    "government": lambda cloud: a_healthy_world(cloud, US_GOVERNMENT.environment),
    "china": lambda cloud: a_healthy_world(cloud, CHINA.environment),
    "filtering": a_filtering_world,
    "application": lambda cloud: a_healthy_world(cloud, application_secret=APPLICATION_SECRET),
}
"""Ready-made worlds by the name that ``--world`` and the control routes know. ``application``: not secretless;
``filtering``: the vault has network rules.
"""
