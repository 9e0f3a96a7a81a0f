"""How things stand once it is quiet: Atlas has what it should have, and nothing is left hanging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.harness.evidence import (
    loop_seconds,
    moment,
    projects_recorded,
    record_of,
    rows_of,
    scopes_of_runs,
    waits_to_retry,
)
from tests.harness.invariants.expected import expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played

OF_KEYS = "Microsoft.KeyVault."
"""Types of events that begin so ask for a look at projects."""


def atlas_has_the_newest_usable_version(played: Played) -> Iterator[str]:
    """Or a hold is on record that the world explains."""
    records = {row["projectId"]: row for row in projects_recorded(played)}
    for project_id in played.world.project_ids:
        project, record = played.world.cloud.atlas.project(project_id), records.get(project_id)
        if record is None:
            if not _is_out_of_sight(played, project_id):
                yield f"project {project_id[-2:]} was never recorded"
            continue
        held = (record.get("hold") or {}).get("code")
        wanted = expected(played, project, record)
        if held not in wanted.holds:
            explained = " or ".join(str(code) for code in wanted.holds)
            yield f"project {project_id[-2:]}: the hold is {held}, the world explains {explained}"
        elif held is None and wanted.identifiers is not None and project.key_identifier not in wanted.identifiers:
            yield f"project {project_id[-2:]}: Atlas has {project.key_identifier}, not {wanted.identifiers}"


def no_rotation_is_left_open(played: Played) -> Iterator[str]:
    """Once every cluster has settled under a valid identifier nothing is followed any more."""
    for record in projects_recorded(played):
        project = played.world.cloud.atlas.project(record["projectId"])
        rotation = record.get("rotation")
        if rotation is not None and not _cannot_go_on(played, project.id):
            yield f"project {project.id[-2:]}: rotation to {rotation['toIdentifier'][-6:]} is still {rotation['state']}"


def _cannot_go_on(played: Played, project_id: str) -> bool:
    """Whether a rotation cannot come to its end now: the key cannot be used, or the project not be seen."""
    atlas = played.world.cloud.atlas
    project = atlas.project(project_id)
    # While a vault keeps a node out its cluster takes no key.
    kept_out = any(cluster is project.clusters.get(cluster.name) for cluster in atlas.gate)
    waits = kept_out or waits_to_retry(played, project_id)
    return not project.valid or waits or _is_out_of_sight(played, project_id)


def _is_out_of_sight(played: Played, project_id: str) -> bool:
    """Whether the app cannot look at a project now, or must not: its settings do not name it."""
    return project_id in played.world.hidden or project_id in played.networks.out_of_settings


def _waits_for_the_vault(played: Played, vault: str) -> bool:
    """Whether no run comes to a vault any more: no member was seen to use it, and nothing there is ours."""
    rules_left = any(row.partition == vault for row in played.tables.rows("keystewardLedger"))
    users = [r["projectId"] for r in projects_recorded(played) if r.get("vault") == vault]
    return not rules_left and all(project_id in played.networks.out_of_settings for project_id in users)


def no_operation_is_left_open(played: Played) -> Iterator[str]:
    """An operation is open only where the world shows a rotation whose key cannot be used now; it is it, or in line."""
    stuck = {
        record["projectId"]: record["rotation"]["operationId"]
        for record in projects_recorded(played)
        if record.get("rotation") is not None and _cannot_go_on(played, record["projectId"])
    }
    for operation in rows_of(played, "keystewardOperations"):
        if operation["state"] in {"succeeded", "held", "failed"}:
            continue
        if operation["projectId"] is not None and _is_out_of_sight(played, operation["projectId"]):
            continue
        if operation["kind"] == "sync" and _waits_for_the_vault(played, operation["vault"]):
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
    scopes, ended = scopes_of_runs(played), _came_to_their_end(played)
    looked = [
        (sent.project_id, sent.asked_at)
        for sent in played.wire.sent
        if sent.reads_encryption
        and scopes.get(sent.run.number) == f"project:{sent.project_id}"
        and sent.run.number in ended
        and sent.asked_at <= until
    ]
    for project_id in played.world.project_ids:
        if project_id in played.world.once_hidden:
            continue
        last = max((at for project, at in looked if project == project_id), default=-1.0)
        for event in played.host.events:
            if not event.type.startswith(OF_KEYS):
                continue
            if event.at > last and event.at <= played.quiet_at:
                yield f"no run of {project_id[-2:]} followed the {event.type.rpartition('.')[2]} of {event.at:.1f} s"


def _came_to_their_end(played: Played) -> set[int]:
    """Numbers of the runs that gave their lease back as done, also where they were killed just after it."""
    return {
        w.run.number
        for w in played.tables.journal
        if w.table == "keystewardScopes" and w.key == "lease" and w.run is not None
        if not w.values["holder"] and w.values.get("coveredAt") == w.values.get("startedAt")
    }


def _had_it_already(played: Played, operation: dict[str, Any], ended_at: float) -> Iterator[str]:
    """An operation without a push is true where Atlas held what was asked for since it was asked for."""
    wanted = operation.get("keyIdentifier")
    asked_at = loop_seconds(played, moment(operation["createdAt"]))
    held = played.identifiers[operation["projectId"]]
    spans = zip(held, [*(at for at, _ in held[1:]), ended_at], strict=True)
    since = [what for (at, what), end in spans if end >= asked_at and at <= ended_at]
    if wanted is not None and wanted not in since:
        yield f"operation {operation['operationId'][-6:]} succeeded, but Atlas never held ..{wanted[-6:]}"
