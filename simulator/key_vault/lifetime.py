"""
What becomes due by itself in a vault: near expiry, expiry, and rotation by a key's policy.

All of it stands in Event Grid's agenda, so that it also happens when time is skipped, in the order of its times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator.event_grid import EventGrid
    from simulator.key_vault.state import Key, Vault, Version

_EVENT = "Microsoft.KeyVault.Key"


class Lifetimes:
    """The due times of one vault's keys. ``rotate`` makes the version that a policy asks for."""

    def __init__(self, vault: Vault, event_grid: EventGrid, rotate: Callable[[Key, datetime], object]) -> None:
        self._vault = vault
        self._event_grid = event_grid
        self._rotate = rotate

    def begin(self, key: Key, version: Version, now: datetime) -> None:
        """Tell of a new version, and schedule what will become of it."""
        self._publish(key, version, "NewVersionCreated")
        self.end_moved(key, version, now)
        self._schedule_rotation(key, version, now)

    def end_moved(self, key: Key, version: Version, now: datetime) -> None:
        """Schedule the events about the end of a version. What was scheduled for an earlier end finds it moved."""
        end = version.expires_at
        if end is not None and end > now:
            self._schedule_notice(key, version, now)
            self._event_grid.agenda.add(end, lambda _: self._end(key, version, end))

    def policy_changed(self, key: Key, now: datetime) -> None:
        """Schedule what a new policy asks for the newest version."""
        version = key.newest
        if version.expires_at is not None and version.expires_at > now:
            self._schedule_notice(key, version, now)
        self._schedule_rotation(key, version, now)

    def _schedule_notice(self, key: Key, version: Version, now: datetime) -> None:
        notice, end = key.policy.notice, version.expires_at
        if notice is not None and end is not None:
            self._event_grid.agenda.add(max(now, end - notice), lambda at: self._near(key, version, at))

    def _near(self, key: Key, version: Version, at: datetime) -> None:
        # The end or the policy may have changed since this was scheduled: another entry stands for the change.
        notice, end = key.policy.notice, version.expires_at
        due = notice is not None and end is not None and end - notice <= at
        if due and _is_current(key, version) and version.near_expiry_told != end:
            version.near_expiry_told = end
            self._publish(key, version, "NearExpiry")

    def _end(self, key: Key, version: Version, end: datetime) -> None:
        if _is_current(key, version) and version.expires_at == end:
            self._publish(key, version, "Expired")

    def _schedule_rotation(self, key: Key, version: Version, now: datetime) -> None:
        due = key.policy.rotation_due(version.created_at, version.expires_at)
        if due is not None:
            self._event_grid.agenda.add(max(now, due), lambda at: self._rotate_if_due(key, version, at))

    def _rotate_if_due(self, key: Key, version: Version, at: datetime) -> None:
        due = key.policy.rotation_due(version.created_at, version.expires_at)
        # Unverified: that a disabled newest version is not rotated by the policy, as it is not on request.
        if due is not None and due <= at and _is_current(key, version) and version.enabled:
            self._rotate(key, at)

    def _publish(self, key: Key, version: Version, kind: str) -> None:
        data: dict[str, object] = {
            "Id": self._vault.identifier(key, version),
            "VaultName": self._vault.name,
            "ObjectType": "Key",
            "ObjectName": key.name,
            "Version": version.version,
            "NBF": int(version.not_before.timestamp()) if version.not_before else None,
            "EXP": int(version.expires_at.timestamp()) if version.expires_at else None,
        }
        self._event_grid.publish(self._vault.resource_id, key.name, f"{_EVENT}{kind}", data)


def _is_current(key: Key, version: Version) -> bool:
    return key.newest is version and key.deleted_at is None
