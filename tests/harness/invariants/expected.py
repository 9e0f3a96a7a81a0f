"""What should be so at the end, by the world alone: the identifier that Atlas should have, or why it has another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.harness.evidence import moment, pushes, record_of, refused_for_good, rows_of, target_of, waits_to_retry
from tests.harness.invariants.voice import steps_back
from tests.harness.invariants.window_oracle import is_open_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.atlas.state import Project
    from simulator.key_vault.state import Version
    from tests.harness.player import Played

MINIMUM_REMAINING = timedelta(hours=72)
CREATION_HOLDS = frozenset(
    {"heldByOperator", "versionCreationRefused", "keyVersionsNotFresh", "waitingToRetry", "versionCreationDelayed"}
)


@dataclass(frozen=True, slots=True)
class Expected:
    """
    What should be so.

    ``holds`` are the codes of which one has to be on record (None among them: no hold). ``identifiers`` are those of
    which Atlas should have one; None: whatever it has.
    """

    holds: frozenset[str | None]
    identifiers: frozenset[str | None] | None = None


@dataclass(frozen=True, slots=True)
class _Given:
    """A project, as it is and as the app remembers it. ``usable`` are versions that could be pushed, best first."""

    played: Played
    project: Project
    record: Mapping[str, Any]
    usable: Sequence[Version]

    @property
    def held(self) -> str | None:
        return (self.record.get("hold") or {}).get("code")

    @property
    def allowed(self) -> Sequence[Version]:
        """Of the usable versions those that nobody still has to approve."""
        if self.played.history.mode != "approve":
            return self.usable
        return [one for one in self.usable if _is_approved(self.played, self.project.id, one, self.record)]


def expected(played: Played, project: Project, record: Mapping[str, Any]) -> Expected:
    """Go through the reasons in the order in which the app has to; the first one that applies says what should be."""
    given = _Given(played, project, record, _newer_usable(played, project))
    found = (reason(given) for reason in _REASONS)
    return next((one for one in found if one is not None), None) or _pushed(given)


def _cannot_look(given: _Given) -> Expected | None:
    world, project = given.played.world, given.project
    if project.id in given.played.networks.out_of_settings or not _is_on_first_vault(given):
        # Nobody looks at the first; of the others' key there is nothing to rotate to, and no oracle here.
        return Expected(frozenset({given.held}))
    if project.id in world.hidden:
        return _held("encryptionUnknown")
    if project.block is None:
        return _nothing_to_do(given)
    return None if world.app_reads_key else _held("keyVersionsUnknown")


def _is_on_first_vault(given: _Given) -> bool:
    identifier = given.project.key_identifier
    return identifier is None or identifier.startswith(f"https://{given.played.world.vault.state.host}/")


def _has_no_target(given: _Given) -> Expected | None:
    return None if given.usable else _nothing_to_do(given)


def _is_held_by_operator(given: _Given) -> Expected | None:
    order = _operators_hold(given.played, given.project.id)
    stands = order is not None and (order.get("until") is None or moment(order["until"]) > given.played.world.now)
    return _held("heldByOperator") if stands else None


def _is_stopped_by_mode(given: _Given) -> Expected | None:
    if given.played.history.mode == "off":
        return _nothing_to_do(given)
    return None if given.allowed else _held("approvalMissing")


def _gave_way(given: _Given) -> Expected | None:
    """Whether the app sees every step back is its own affair, but it gives way only where there were enough of them."""
    enough = len(steps_back(given.played, given.project.id)) >= given.played.history.max_reversals
    return _held(given.held) if enough and given.held == "reversalLimitReached" else None


def _waits_for_window(given: _Given) -> Expected | None:
    windows, now = given.played.history.windows, given.played.world.now
    return None if is_open_within(windows, now - _last_look(given), now) else _held("windowClosed")


def _last_look(given: _Given) -> timedelta:
    """How old the app's last look may be: nothing wakes it when a window closes."""
    return timedelta(seconds=given.played.history.timer_seconds + 200)


def _waits_to_retry(given: _Given) -> Expected | None:
    """While a vault's firewall kept Atlas out, tries failed for a passing reason; the next one may be long after."""
    waits = given.held == "waitingToRetry" and waits_to_retry(given.played, given.project.id)
    return _held(given.held) if waits else None


def _is_refused(given: _Given) -> Expected | None:
    refused = _was_refused(given.played, given.project.id, _target(given))
    code = "currentKeyInvalid" if not given.project.valid else "atlasRefusedTarget" if refused else None
    if code is None:
        return None
    return Expected(frozenset({code, *_window_closed(given)}))


_REASONS = (
    _cannot_look,
    _has_no_target,
    _is_held_by_operator,
    _is_stopped_by_mode,
    _gave_way,
    _waits_for_window,
    _waits_to_retry,
    _is_refused,
)


def _pushed(given: _Given) -> Expected:
    current = given.project.key_identifier
    if _window_closed(given):
        # Perhaps it did before anything was due.
        return Expected(frozenset({None, "windowClosed"}), frozenset({current, _target(given)}))
    return Expected(frozenset({None}), frozenset({current if given.played.history.dry_run else _target(given)}))


def _window_closed(given: _Given) -> set[str]:
    """The hold of a window that has closed lately, where there are windows."""
    windows, now = given.played.history.windows, given.played.world.now
    return set() if is_open_within(windows, now, now) else {"windowClosed"}


def _target(given: _Given) -> str:
    world = given.played.world
    return world.vault.state.identifier(world.key, given.allowed[0])


def _held(code: str | None) -> Expected:
    return Expected(frozenset({code}))


def _nothing_to_do(given: _Given) -> Expected:
    holds: frozenset[str | None] = frozenset({None})
    if given.played.history.creates is not None:
        holds |= CREATION_HOLDS
    return Expected(holds, frozenset({given.project.key_identifier}))


def _newer_usable(played: Played, project: Project) -> Sequence[Version]:
    """The versions that could be pushed, best first; none where the one in use is the newest usable."""
    world, now = played.world, played.world.now
    current = world.key.versions.get((project.key_identifier or "").rpartition("/")[2])
    born = _second(current.created_at) if current is not None else -1
    usable = [
        version
        for version in world.key.versions.values()
        if _second(version.created_at) > born
        and version.enabled
        and (version.not_before is None or version.not_before <= now)
        and (version.expires_at is None or version.expires_at - now >= MINIMUM_REMAINING)
        and version.kty.startswith("RSA")
        and {"encrypt", "decrypt"} <= set(version.key_ops)
    ]
    # Of two versions of one second the app takes the greater name, so that every instance takes the same.
    return sorted(usable, key=lambda version: (_second(version.created_at), version.version), reverse=True)


def _second(at: datetime) -> int:
    return int(at.timestamp())


def _operators_hold(played: Played, project_id: str) -> dict[str, Any] | None:
    """The hold of the project's rotation, also one that has run out."""
    for row in played.tables.rows("keystewardHolds"):
        if (row.partition, row.key) == ("project", project_id):
            order = record_of(row.values)
            return order if "rotation" in order["jobs"] else None
    return None


def _is_approved(played: Played, project_id: str, version: Version, record: Mapping[str, Any]) -> bool:
    """Whether an approval can still be used for a version: unused, or for the repair of what was put back."""
    repaired = str((record.get("reversals") or {}).get("rotatedTo", "")).rpartition("/")[2]
    return any(
        row["projectId"] == project_id
        and row["identifier"].endswith(version.version)
        and (row.get("usedAt") is None or version.version == repaired)
        for row in rows_of(played, "keystewardApprovals")
    )


def _was_refused(played: Played, project_id: str, target: str) -> bool:
    return any(
        p.project_id == project_id and target_of(p) == target and refused_for_good(p) and p.heard_at is not None
        for p in pushes(played)
    )
