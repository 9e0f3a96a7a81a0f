"""How things stand once it is quiet: Atlas has what it should have, and nothing is left hanging."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.harness.evidence import loop_seconds, moment, pushes, record_of, refused_for_good, rows_of, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.atlas.state import Project
    from tests.harness.player import Played

MINIMUM_REMAINING = timedelta(hours=72)


def atlas_has_the_newest_usable_version(played: Played) -> Iterator[str]:
    """Or a hold is on record that the world explains."""
    records = {row["projectId"]: row for row in rows_of(played, "keystewardRecords")}
    for project_id in played.world.project_ids:
        project, record = played.world.cloud.atlas.project(project_id), records.get(project_id)
        if record is None:
            yield f"project {project_id[-2:]} was never recorded"
            continue
        held = (record.get("hold") or {}).get("code")
        wanted, explained = _expected(played, project)
        if explained:
            if held != explained:
                yield f"project {project_id[-2:]}: the hold is {held}, the world explains {explained}"
        elif held is not None:
            yield f"project {project_id[-2:]}: held by {held}, and the world does not explain it"
        elif wanted != project.key_identifier:
            yield f"project {project_id[-2:]}: Atlas has {project.key_identifier}, not {wanted}"


def no_rotation_is_left_open(played: Played) -> Iterator[str]:
    """Once every cluster has settled under a valid identifier nothing is followed any more."""
    for record in rows_of(played, "keystewardRecords"):
        project = played.world.cloud.atlas.project(record["projectId"])
        rotation = record.get("rotation")
        if rotation is not None and project.valid:
            yield f"project {project.id[-2:]}: rotation to {rotation['toIdentifier'][-6:]} is still {rotation['state']}"


def no_operation_is_left_open(played: Played) -> Iterator[str]:
    """An operation is open only where the world shows a rotation whose key cannot be used now; it is it, or in line."""
    stuck = {
        record["projectId"]: record["rotation"]["operationId"]
        for record in rows_of(played, "keystewardRecords")
        if record.get("rotation") is not None and not played.world.cloud.atlas.project(record["projectId"]).valid
    }
    for operation in rows_of(played, "keystewardOperations"):
        if operation["state"] in {"succeeded", "held", "failed"}:
            continue
        followed = stuck.get(operation["projectId"])
        in_line = followed is not None and operation["who"] != "keysteward"
        if operation["operationId"] != followed and not in_line:
            last = (operation.get("steps") or [{}])[-1]
            name = f"operation {operation['operationId'][-6:]} ({operation['kind']})"
            yield f"{name} is still {operation['state']}: {last}"


def successes_are_true(played: Played) -> Iterator[str]:
    """A rotation that succeeded had reached every encrypted running cluster, as the cloud itself knows."""
    ended: set[str] = set()
    for written in played.tables.journal:
        if written.table != "keystewardOperations" or written.values["open"] != "no" or written.key in ended:
            continue
        ended.add(written.key)
        operation = record_of(written.values)
        if operation["kind"] != "rotate" or operation["state"] != "succeeded":
            continue
        assert written.world is not None, "looked up at each write of an operation"
        state = written.world[operation["projectId"]]
        if state.identifier is None:
            yield f"{written.run}: called a rotation done where encryption is off"
            continue
        target = next((s["what"].rpartition(" ")[2] for s in operation["steps"] if "Atlas holds" in s["what"]), None)
        if target is None:
            yield from _had_it_already(played, operation, written.loop_at)
            continue
        if state.identifier != target:
            continue  # somebody else pushed between the look and the write
        behind = [name for name, used in state.clusters.items() if used != target]
        if behind:
            yield f"{written.run}: called the rotation to ..{target[-6:]} complete before {', '.join(behind)} had it"


def every_hint_was_looked_at(played: Played) -> Iterator[str]:
    """After each event that reached the queue a run of each project on its vault began and came to its end."""
    until = played.timers_back_at if not played.history.timers else played.ended_at
    switched = {what for _, what in played.world.changes if "encryption" in what}
    if switched or played.host.poisoned:
        return  # which project uses the vault changed; or the host gave a message up, which the timers repair
    looked = [
        (sent.project_id, sent.asked_at)
        for sent in played.wire.sent
        if sent.reads_encryption and sent.run.kind == "message" and sent.run.outcome == "ran" and sent.asked_at <= until
    ]
    for project_id in played.world.project_ids:
        last = max((at for project, at in looked if project == project_id), default=-1.0)
        for event in played.host.events:
            if event.at > last and event.at <= played.quiet_at:
                yield f"no run of {project_id[-2:]} followed the {event.type.rpartition('.')[2]} of {event.at:.1f} s"


def _expected(played: Played, project: Project) -> tuple[str | None, str | None]:
    """The identifier that Atlas should have, or the code of the hold that the world explains."""
    if project.block is None:
        return None, None
    if played.world.vault.posture != "open":
        return None, "keyVersionsUnknown"
    target = _newest_usable(played, project)
    if target is None:
        return project.key_identifier, None
    if played.history.mode == "off":
        return project.key_identifier, None
    if played.history.mode == "approve":
        return None, "approvalMissing"
    if not project.valid:
        return None, "currentKeyInvalid"
    if _was_refused(played, project.id, target):
        return None, "atlasRefusedTarget"
    return (project.key_identifier if played.history.dry_run else target), None


def _newest_usable(played: Played, project: Project) -> str | None:
    """The version to push, None where the one in use is the newest usable."""
    world, now = played.world, played.world.now
    current = world.key.versions.get((project.key_identifier or "").rpartition("/")[2])
    born = int(current.created_at.timestamp()) if current is not None else -1
    usable = [
        version
        for version in world.key.versions.values()
        if int(version.created_at.timestamp()) > born
        and version.enabled
        and (version.not_before is None or version.not_before <= now)
        and (version.expires_at is None or version.expires_at - now >= MINIMUM_REMAINING)
        and version.kty.startswith("RSA")
        and {"encrypt", "decrypt"} <= set(version.key_ops)
    ]
    if not usable:
        return None
    # Of two versions of one second the app takes the greater name, so that every instance takes the same.
    newest = max(usable, key=lambda version: (int(version.created_at.timestamp()), version.version))
    return world.vault.state.identifier(world.key, newest)


def _was_refused(played: Played, project_id: str, target: str) -> bool:
    return any(
        p.project_id == project_id and target_of(p) == target and refused_for_good(p) and p.heard_at is not None
        for p in pushes(played)
    )


def _had_it_already(played: Played, operation: dict[str, Any], ended_at: float) -> Iterator[str]:
    """An operation without a push is true where Atlas held what was asked for since it was asked for."""
    wanted = operation.get("keyIdentifier")
    asked_at = loop_seconds(played, moment(operation["createdAt"]))
    held = played.identifiers[operation["projectId"]]
    spans = zip(held, [*(at for at, _ in held[1:]), ended_at], strict=True)
    since = [what for (at, what), end in spans if end >= asked_at and at <= ended_at]
    if wanted is not None and wanted not in since:
        yield f"operation {operation['operationId'][-6:]} succeeded, but Atlas never held ..{wanted[-6:]}"
