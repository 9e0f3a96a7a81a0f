"""What a PATCH may be: newer, usable, of the same key, on fresh ground, and nothing else changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.harness.evidence import pushes, refused_for_good, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.key_vault.state import Version
    from tests.harness.player import Played
    from tests.harness.wire import Sent

FRESH_SECONDS = 2.0
ROUNDING = 0.001
MINIMUM_REMAINING = timedelta(hours=72)
MOST_REFUSED_A_DAY = 2
DAY = 86_400.0


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
    """The run itself was told by the vault that the target can be used."""
    for push in pushes(played):
        target = target_of(push)
        told = [s for s in _of_run_before(played, push) if (s.told or {}).get("key", {}).get("kid") == target]
        if not told:
            yield f"{push.run}: pushed ..{target[-6:]} without having looked at it"
            continue
        at = played.began + timedelta(seconds=told[-1].heard_at or 0.0)
        pushed_at = played.began + timedelta(seconds=push.asked_at)
        if lacks := _lacks(told[-1].told, at, pushed_at):
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
        if push.request.json() != {"azureKeyVault": wanted}:
            yield f"{push.run}: the body differs from the block as read: {push.request.json()}"
        if block.get("enabled") is not True:
            yield f"{push.run}: pushed where encryption is off"


def pushes_only_where_allowed(played: Played) -> Iterator[str]:
    """Never under dry run; in modes off and approve only by an operator's order."""
    history = played.history
    for push in pushes(played):
        if history.dry_run:
            yield f"{push.run}: pushed under dry run"
        ordered = [o for o in played.orders if o[1] == push.project_id and o[0] <= push.asked_at]
        if history.mode != "auto" and not any(wanted in {None, target_of(push)} for _, _, wanted in ordered):
            yield f"{push.run}: pushed in mode {history.mode} without an order"


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


def _lacks(told: dict[str, Any], at: datetime, pushed_at: datetime) -> str | None:
    """Say what made a version unusable. One that was to begin when it was read may have begun before it was pushed."""
    attributes, key = told["attributes"], told["key"]
    begins, ends = attributes.get("nbf"), attributes.get("exp")
    if attributes.get("enabled") is not True:
        return "was disabled"
    if begins is not None and datetime.fromtimestamp(begins, UTC) > pushed_at:
        return "had not begun"
    if ends is not None and datetime.fromtimestamp(ends, UTC) - at < MINIMUM_REMAINING - timedelta(minutes=1):
        return "was about to end"
    if key["kty"] not in {"RSA", "RSA-HSM"} or not {"encrypt", "decrypt"} <= set(key["key_ops"]):
        return "was of the wrong kind"
    return None
