"""What a PATCH may be: newer, usable, of the same key, on fresh ground, and nothing else changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from simulator.worlds import APPLICATION_SECRET
from tests.harness.evidence import pushes, refused_for_good, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from simulator.key_vault.state import Version
    from tests.harness.player import Played
    from tests.harness.wire import Sent

FRESH_SECONDS = 2.0
ROUNDING = 0.001
MINIMUM_REMAINING = timedelta(hours=72)
MOST_REFUSED_A_DAY = 2
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A key version as an answer told of it."""

    attributes: Mapping[str, Any]
    kind: str
    operations: Sequence[str]


def pushes_only_forwards(played: Played) -> Iterator[str]:
    """The target was created after the version in use as the run read it: a later second, the same key and vault."""
    for push in pushes(played):
        block = _block_that_it_rests_on(played, push)
        if block is None:
            yield f"{push.run}: a push without a good read of the settings before it"
            continue
        current, target = str(block.get("keyIdentifier")), target_of(push)
        if _key_of(current) != _key_of(target):
            yield f"{push.run}: pushed {target} over another key, {current}"
            continue
        newer, old = _version(played, target), _version(played, current)
        if newer is None:
            yield f"{push.run}: pushed {target}, which does not exist"
        elif old is not None and int(newer.created_at.timestamp()) <= int(old.created_at.timestamp()):
            yield f"{push.run}: pushed ..{target[-6:]}, which is not newer than ..{current[-6:]}"


def pushes_only_what_it_saw_usable(played: Played) -> Iterator[str]:
    """The run itself was told by the vault, or by Resource Manager, that the target can be used."""
    for push in pushes(played):
        target = target_of(push)
        told = [(s, seen) for s in _of_run_before(played, push) if (seen := _seen(s.told, target)) is not None]
        if not told:
            yield f"{push.run}: pushed ..{target[-6:]} without having looked at it"
            continue
        sent, seen = told[-1]
        at = played.began + timedelta(seconds=sent.heard_at or 0.0)
        pushed_at = played.began + timedelta(seconds=push.asked_at)
        if lacks := _lacks(seen, at, pushed_at):
            yield f"{push.run}: pushed ..{target[-6:]}, which {lacks}"


def pushes_on_fresh_ground(played: Played) -> Iterator[str]:
    """The settings were read at most two seconds before the push was sent."""
    for push in pushes(played):
        read = _read_before(played, push)
        if read is None or read.heard_at is None:
            continue
        age = push.asked_at - read.heard_at
        if age > FRESH_SECONDS + ROUNDING:
            yield f"{push.run}: pushed on settings that were {age:.1f} s old"


def pushes_change_nothing_else(played: Played) -> Iterator[str]:
    """The body is the block as read, less ``valid``, with the identifier changed."""
    for push in pushes(played):
        block = _block_that_it_rests_on(played, push)
        if block is None:
            continue
        wanted = {name: value for name, value in block.items() if name != "valid"} | {"keyIdentifier": target_of(push)}
        if played.history.application:
            wanted["secret"] = APPLICATION_SECRET
        if push.request.json() != {"azureKeyVault": wanted}:
            yield f"{push.run}: the body differs from the block as read: {push.request.json()}"
        if block.get("enabled") is not True:
            yield f"{push.run}: pushed where encryption is off"


def does_not_storm_refusals(played: Played) -> Iterator[str]:
    """While Atlas refuses for good a target is tried at most twice a day, unless an operator asks or a fact changes."""
    refused: dict[tuple[str, str], list[float]] = {}
    for push in pushes(played):
        if not refused_for_good(push) or push.heard_at is None:
            continue
        seen = refused.setdefault((push.project_id or "", target_of(push)), [])
        news = [at for at, project, _ in played.orders if project == push.project_id]
        news += [(at - played.began).total_seconds() for at, _ in played.world.changes]
        last = max((at for at in news if at <= push.asked_at), default=0.0)
        seen.append(push.asked_at)
        lately = [at for at in seen if at >= max(last, push.asked_at - DAY)]
        if len(lately) > MOST_REFUSED_A_DAY:
            yield f"{push.run}: Atlas refused ..{target_of(push)[-6:]} {len(lately)} times, and nothing had changed"


def _of_run_before(played: Played, push: Sent) -> list[Sent]:
    return [
        s
        for s in played.wire.sent[: push.number]
        if s.run is push.run and s.heard_at is not None and s.heard_at <= push.asked_at
    ]


def _read_before(played: Played, push: Sent) -> Sent | None:
    """The last read of the settings whose answer the run had."""
    reads = [s for s in _of_run_before(played, push) if s.reads_encryption and s.project_id == push.project_id]
    return reads[-1] if reads else None


def _block_that_it_rests_on(played: Played, push: Sent) -> dict[str, Any] | None:
    read = _read_before(played, push)
    told = read.told if read is not None else None
    block = told.get("azureKeyVault") if isinstance(told, dict) else None
    return block if isinstance(block, dict) else None


def _version(played: Played, identifier: str) -> Version | None:
    return played.world.key.versions.get(identifier.rpartition("/")[2])


def _key_of(identifier: str) -> str:
    """Vault and key of an identifier, with or without a version."""
    return "/".join(identifier.lower().split("/")[:5])


def _seen(told: Any, identifier: str) -> _Seen | None:
    """What an answer of a vault, or of Resource Manager, says of one version; None where it is about something else."""
    if not isinstance(told, dict):
        return None
    if told.get("key", {}).get("kid") == identifier:
        return _Seen(told["attributes"], told["key"]["kty"], told["key"]["key_ops"])
    properties = told.get("properties")
    if isinstance(properties, dict) and "kty" in properties:
        # Resource Manager writes the port into its identifiers.
        named = str(properties["keyUriWithVersion"]).replace(":443/", "/")
        if named == identifier:
            return _Seen(properties["attributes"], properties["kty"], properties["keyOps"])
    return None


def _lacks(told: _Seen, at: datetime, pushed_at: datetime) -> str | None:
    """Say what made a version unusable. One that was to begin when it was read may have begun before it was pushed."""
    begins, ends = told.attributes.get("nbf"), told.attributes.get("exp")
    if told.attributes.get("enabled") is not True:
        return "was disabled"
    if begins is not None and datetime.fromtimestamp(begins, UTC) > pushed_at:
        return "had not begun"
    if ends is not None and datetime.fromtimestamp(ends, UTC) - at < MINIMUM_REMAINING - timedelta(minutes=1):
        return "was about to end"
    if told.kind not in {"RSA", "RSA-HSM"} or not {"encrypt", "decrypt"} <= set(told.operations):
        return "was of the wrong kind"
    return None
