"""The simulated world of the benchmarks: several projects and their vaults, each vault with a key, all healthy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from simulator.cloud import Cloud
from simulator.worlds import CLIENT_ID, CLIENT_SECRET, KEY_AGE

KEY = "atlas-cmk"
NEVER = "0 0 0 1 1 *"
"""A schedule that keeps the timers out of the measurements; they are run by hand where they are needed."""
LIFE = timedelta(days=730)


@dataclass(frozen=True, slots=True)
class Member:
    """A project and its vault."""

    project_id: str
    vault: str


def populate(cloud: Cloud, projects: int, clusters: int = 3, sharing: int = 1) -> list[Member]:
    """
    Add projects with encrypted clusters, vaults with one key version each, and the app's service account.

    *sharing*: how many projects use one vault, and its key.
    """
    cloud.atlas.add_service_account(CLIENT_ID, CLIENT_SECRET)
    members = [
        Member(f"64b0c1d2e3f4{number:012x}", f"kv-bench-{(number - 1) // sharing + 1:03}")
        for number in range(1, projects + 1)
    ]
    born = cloud.clock.now() - KEY_AGE
    identifiers: dict[str, str] = {}
    for member in members:
        if member.vault not in identifiers:
            vault = cloud.key_vault.add_vault(member.vault)
            identifiers[member.vault] = vault.create_key(KEY, created_at=born, expires_at=born + LIFE)
        identifier = identifiers[member.vault]
        cloud.atlas.add_project(member.project_id, member.vault, key_identifier=identifier, identifier_since=born)
        for number in range(clusters):
            cloud.atlas.add_cluster(member.project_id, f"cluster-{number}")
    return members


def close(cloud: Cloud, vault: str) -> None:
    """Let nobody into a vault but the app: whoever else needs it waits for a rule of ours."""
    cloud.vault_writers.set_network(vault, default_action="Deny", ip_rules=[f"{cloud.app_address}/32"])


def announce(cloud: Cloud, member: Member, *addresses: str) -> None:
    """Let Atlas announce that the first cluster of a project will use *addresses*, and no others."""
    cloud.atlas.readdress_cluster(member.project_id, "cluster-0", announced=addresses)


def new_version(cloud: Cloud, member: Member) -> str:
    """Make a new version of the member's key, as its owner would; returns its identifier."""
    vault = cloud.key_vault.vault(member.vault)
    return vault.new_version(KEY, expires_at=cloud.clock.now() + LIFE)


def app_settings(members: list[Member]) -> dict[str, str]:
    """Return the app's settings, all but its storage."""
    return {
        "ATLAS_PROJECT_IDS": ",".join(member.project_id for member in members),
        "ATLAS_CLIENT_ID": CLIENT_ID,
        "ATLAS_CLIENT_SECRET": CLIENT_SECRET,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "RECONCILE_SCHEDULE": NEVER,
        "FIREWALL_SCHEDULE": NEVER,
        "WATCH_SCHEDULE": NEVER,
        "DAILY_SCHEDULE": NEVER,
    }
