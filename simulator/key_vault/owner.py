"""What the owner of a vault does, outside any request: make versions, disable, delete, recover, change access."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from simulator.key_vault.lifetime import Lifetimes
from simulator.key_vault.rotation_policy import actions_of, as_policy
from simulator.key_vault.state import (
    ALL_OPERATIONS,
    ALL_PERMISSIONS,
    APP_ROLES,
    MANAGER_ACTIONS,
    AtlasAccess,
    Key,
    Posture,
    Vault,
    Version,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from simulator.clock import SimulatedClock
    from simulator.event_grid import EventGrid


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
        reach_changed: Callable[[datetime], None],
    ) -> None:
        self.state = state
        self._clock = clock
        self._random = random
        self._before_change = before_change
        self._reach_changed = reach_changed
        self._lifetimes = Lifetimes(state, event_grid, self._rotate)
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
        self._reach_changed(self._clock.now())

    @property
    def permissions(self) -> frozenset[str]:
        """What the app may do on the data plane (``get``, ``list``, ``rotate``, ``getrotationpolicy``, ..)."""
        return self.state.permissions

    @permissions.setter
    def permissions(self, permissions: Iterable[str]) -> None:
        self._before_change()
        self.state.permissions = _known(permissions, ALL_PERMISSIONS)

    @property
    def manager_actions(self) -> frozenset[str]:
        """
        What the app may do with the vault through Resource Manager (``Microsoft.KeyVault/vaults/read``, ..).

        Set, it takes away what is not named. It gives nothing that the app's roles do not grant.
        """
        return self.state.manager_actions

    @manager_actions.setter
    def manager_actions(self, actions: Iterable[str]) -> None:
        self._before_change()
        self.state.withheld_actions = MANAGER_ACTIONS - _known(actions, MANAGER_ACTIONS)

    @property
    def app_roles(self) -> frozenset[str]:
        """The custom roles that the app has at the vault, by the names of their files."""
        return self.state.app_roles

    @app_roles.setter
    def app_roles(self, roles: Iterable[str]) -> None:
        self._before_change()
        self.state.app_roles = _known(roles, APP_ROLES)

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
        version = self._drawn(created_at or now, enabled, kty, ALL_OPERATIONS if key_ops is None else key_ops)
        version.not_before, version.expires_at = not_before, expires_at
        return self._add(self.key(key), version, now)

    def rotate(self, key: str) -> str:
        """Make a version like the newest one, with the policy's expiry, and return its identifier."""
        self._before_change()
        return self._rotate(self.key(key), self._clock.now())

    def set_rotation_policy(self, key: str, document: dict[str, object]) -> None:
        """
        Set a key's rotation policy, as a whole.

        Raises:
            PolicyNotAllowed: the service would refuse it.
        """
        as_policy(document)
        self._before_change()
        now, owned = self._clock.now(), self.key(key)
        sent, before = document.get("attributes"), (owned.rotation_policy or {}).get("attributes")
        created = before.get("created") if isinstance(before, dict) else None
        attributes = {
            **(sent if isinstance(sent, dict) else {}),
            "created": created or int(now.timestamp()),
            "updated": int(now.timestamp()),
        }
        owned.rotation_policy = {"lifetimeActions": actions_of(document), "attributes": attributes}
        self._lifetimes.policy_changed(owned, now)

    def set_enabled(self, key: str, version: str, *, enabled: bool) -> None:
        """Enable or disable one version. Raises no event, as in the real service."""
        self._change(key, version).enabled = enabled

    def set_expiry(self, key: str, version: str, expires_at: datetime | None) -> None:
        """Move or remove the end of one version. Raises no event."""
        changed = self._change(key, version)
        changed.expires_at = expires_at
        self._lifetimes.end_moved(self.key(key), changed, self._clock.now())

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

    def _rotate(self, key: Key, at: datetime) -> str:
        like = key.newest
        version = self._drawn(at, True, like.kty, like.key_ops)
        expiry = key.policy.expiry
        version.expires_at = None if expiry is None else at + expiry
        return self._add(key, version, at)

    def _drawn(self, born: datetime, enabled: bool, kty: str, key_ops: tuple[str, ...]) -> Version:  # noqa: FBT001 - a column
        self._created += 1
        return Version(
            version=self._random.randbytes(16).hex(),
            number=self._created,
            created_at=born,
            updated_at=born,
            enabled=enabled,
            not_before=None,
            expires_at=None,
            kty=kty,
            key_ops=key_ops,
            rank=self._random.random(),
        )

    def _add(self, key: Key, version: Version, now: datetime) -> str:
        key.versions[version.version] = version
        self._lifetimes.begin(key, version, now)
        return self.state.identifier(key, version)


def _known(names: Iterable[str], known: frozenset[str]) -> frozenset[str]:
    given = frozenset(names)
    if not given <= known:
        raise ValueError(f"{', '.join(sorted(given - known))}: not one of {', '.join(sorted(known))}")
    return given
