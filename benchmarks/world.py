"""The simulated world of the benchmarks: several projects, each with a vault and a key of its own, all healthy."""

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


def populate(cloud: Cloud, projects: int, clusters: int = 3) -> list[Member]:
    """Add projects with encrypted clusters and one key version each, and the app's service account."""
    cloud.atlas.add_service_account(CLIENT_ID, CLIENT_SECRET)
    members = [Member(f"64b0c1d2e3f4{number:012x}", f"kv-bench-{number:03}") for number in range(1, projects + 1)]
    for member in members:
        born = cloud.clock.now() - KEY_AGE
        vault = cloud.key_vault.add_vault(member.vault)
        identifier = vault.create_key(KEY, created_at=born, expires_at=born + LIFE)
        cloud.atlas.add_project(member.project_id, member.vault, key_identifier=identifier, identifier_since=born)
        for number in range(clusters):
            cloud.atlas.add_cluster(member.project_id, f"cluster-{number}")
    return members


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
