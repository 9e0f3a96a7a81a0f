"""What the owner of a vault does, outside any request: make versions, disable, delete, recover, change access."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from simulator.key_vault.state import ALL_OPERATIONS, AtlasAccess, Key, Posture, Vault, Version

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from simulator.clock import SimulatedClock
    from simulator.event_grid import EventGrid

NEAR_EXPIRY = timedelta(days=30)
_EVENT = "Microsoft.KeyVault.Key"


class VaultOwner:
    """
    The owner's hand on one vault.

    Every change first brings the cloud up to date: what Atlas saw at a check before the change must not see it.
    """

    def __init__(
        self,
        state: Vault,
        clock: SimulatedClock,
        random: Random,
        event_grid: EventGrid,
        before_change: Callable[[], None],
    ) -> None:
        self.state = state
        self._clock = clock
        self._random = random
        self._event_grid = event_grid
        self._before_change = before_change
        self._created = 0

    @property
    def posture(self) -> Posture:
        """How the vault stands towards the app (``open``, ``firewall``, ``connection``, ``rbac``, ``policy``)."""
        return self.state.posture

    @posture.setter
    def posture(self, posture: Posture | str) -> None:
        self._before_change()
        self.state.posture = Posture(posture)

    @property
    def atlas_access(self) -> AtlasAccess:
        """How the vault stands towards Atlas (``granted``, ``revoked``, ``unreachable``)."""
        return self.state.atlas_access

    @atlas_access.setter
    def atlas_access(self, access: AtlasAccess | str) -> None:
        self._before_change()
        self.state.atlas_access = AtlasAccess(access)

    def key(self, name: str) -> Key:
        """Return a key, deleted or not; ``KeyError`` where there is none."""
        return self.state.keys[name.lower()]

    def create_key(
        self,
        key: str,
        *,
        enabled: bool = True,
        expires_at: datetime | None = None,
        not_before: datetime | None = None,
        kty: str = "RSA",
        key_ops: tuple[str, ...] | None = None,
        created_at: datetime | None = None,
    ) -> str:
        """Create a key with its first version and return that version's identifier."""
        if key.lower() in self.state.keys:
            raise ValueError(f"vault {self.state.name} already has a key {key}")
        self.state.keys[key.lower()] = Key(key)
        return self.new_version(
            key,
            enabled=enabled,
            expires_at=expires_at,
            not_before=not_before,
            kty=kty,
            key_ops=key_ops,
            created_at=created_at,
        )

    def new_version(
        self,
        key: str,
        *,
        enabled: bool = True,
        expires_at: datetime | None = None,
        not_before: datetime | None = None,
        kty: str = "RSA",
        key_ops: tuple[str, ...] | None = None,
        created_at: datetime | None = None,
    ) -> str:
        """Add a version, raise its event, and return its identifier. ``created_at`` in the past is history."""
        self._before_change()
        now = self._clock.now()
        born = created_at or now
        self._created += 1
        version = Version(
            version=self._random.randbytes(16).hex(),
            number=self._created,
            created_at=born,
            updated_at=born,
            enabled=enabled,
            not_before=not_before,
            expires_at=expires_at,
            kty=kty,
            key_ops=ALL_OPERATIONS if key_ops is None else key_ops,
            rank=self._random.random(),
        )
        owner = self.key(key)
        owner.versions[version.version] = version
        self._publish(owner, version, "NewVersionCreated")
        self._schedule_expiry(owner, version)
        return self.state.identifier(owner, version)

    def set_enabled(self, key: str, version: str, *, enabled: bool) -> None:
        """Enable or disable one version. Raises no event, as in the real service."""
        self._change(key, version).enabled = enabled

    def set_expiry(self, key: str, version: str, expires_at: datetime | None) -> None:
        """Move or remove the end of one version. Raises no event."""
        changed = self._change(key, version)
        changed.expires_at = expires_at
        self._schedule_expiry(self.key(key), changed)

    def delete_key(self, key: str) -> None:
        """Delete a key softly: it answers 404, and ``deletedkeys`` shows it."""
        self._before_change()
        self.key(key).deleted_at = self._clock.now()

    def recover_key(self, key: str) -> None:
        """Bring a deleted key back with all its versions."""
        self._before_change()
        self.key(key).deleted_at = None

    def _change(self, key: str, version: str) -> Version:
        self._before_change()
        changed = self.key(key).versions[version.rsplit("/", 1)[-1]]
        changed.updated_at = self._clock.now()
        return changed

    def _schedule_expiry(self, key: Key, version: Version) -> None:
        end = version.expires_at
        if end is None:
            return

        def publish_if_current(kind: str) -> None:
            # Only the newest version raises these, and only for the end that it still has.
            if key.newest is version and version.expires_at == end and key.deleted_at is None:
                self._publish(key, version, kind)

        now = self._clock.now()
        if end > now:
            agenda = self._event_grid.agenda
            agenda.add(max(now, end - NEAR_EXPIRY), lambda _: publish_if_current("NearExpiry"))
            agenda.add(end, lambda _: publish_if_current("Expired"))

    def _publish(self, key: Key, version: Version, kind: str) -> None:
        data: dict[str, object] = {
            "Id": self.state.identifier(key, version),
            "VaultName": self.state.name,
            "ObjectType": "Key",
            "ObjectName": key.name,
            "Version": version.version,
            "NBF": int(version.not_before.timestamp()) if version.not_before else None,
            "EXP": int(version.expires_at.timestamp()) if version.expires_at else None,
        }
        self._event_grid.publish(self.state.resource_id, key.name, f"{_EVENT}{kind}", data)
