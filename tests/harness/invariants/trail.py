"""What was written down: audit, operations, history. It must be true, whole, and in order."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.harness.evidence import (
    loop_seconds,
    moment,
    pushes,
    record_of,
    rows_of,
    runs_of_projects,
    scopes_of_runs,
    target_of,
    writes_to,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played
    from tests.harness.processes import Run
    from tests.harness.wire import Sent

SETTLES_SECONDS = 400.0
ENDS = {"succeeded", "held", "failed"}


def pushes_are_intended_first(played: Played) -> Iterator[str]:
    """An audit record says what is about to be done before Atlas is called."""
    intents = [(w.loop_at, record_of(w.values)) for w in writes_to(played, "keystewardAudit") if w.values["scope"]]
    for push in pushes(played):
        scope = f"project:{push.project_id}"
        if not any(
            at <= push.asked_at
            and row["scope"] == scope
            and row["what"] == "pushKeyIdentifier"
            and row["result"] == "intended"
            and row["after"] == target_of(push)
            for at, row in intents
        ):
            yield f"{push.run}: pushed ..{target_of(push)[-6:]} without an intent in the audit trail"


def intents_are_closed(played: Played) -> Iterator[str]:
    """At the end no push stands as intended, and none that was cut short before its push hides one."""
    for row in rows_of(played, "keystewardAudit"):
        if row["what"] != "pushKeyIdentifier" or row["result"] != "intended":
            continue
        if row["scope"].partition(":")[2] in played.networks.out_of_settings:
            continue  # nobody looks at it any more
        if loop_seconds(played, moment(row["at"])) > played.ended_at - SETTLES_SECONDS:
            continue  # a lost push may still be carried out, and the look at it is yet to come
        if _push_of(played, row) is not None:
            yield f"the audit of the push of ..{row['after'][-6:]} at {row['at']} is still open"
        elif not _was_cut_short(played, row):
            yield f"the audit of ..{row['after'][-6:]} at {row['at']} is open, and its run was not cut short"


def done_is_true(played: Played) -> Iterator[str]:
    """What the trail calls done was so at that time."""
    for row in rows_of(played, "keystewardAudit"):
        if row["what"] not in {"pushKeyIdentifier", "rotationCompleted"} or row["result"] != "done":
            continue
        project = row["scope"].partition(":")[2]
        at = loop_seconds(played, moment(row["at"]))
        held = played.identifiers[project]
        spans = zip(held, [*(since for since, _ in held[1:]), played.ended_at], strict=True)
        # A completion is judged by what its run read, which is a little older than its record.
        if not any(what == row["after"] and end >= at - 60 for (_, what), end in spans):
            yield f"the trail says {row['what']} ..{row['after'][-6:]} at {row['at']}, but Atlas did not hold it"


def ended_operations_stay_ended(played: Played) -> Iterator[str]:
    """Nothing takes an operation up again, and its steps only grow, in order of time."""
    before: dict[str, dict[str, Any]] = {}
    for written in writes_to(played, "keystewardOperations"):
        operation = record_of(written.values)
        name, steps = f"operation {written.key[-6:]}", operation.get("steps", [])
        earlier = before.get(written.key)
        if earlier is not None:
            if earlier["state"] in ENDS and operation["state"] != earlier["state"]:
                yield f"{written.run}: {name} went from {earlier['state']} to {operation['state']}"
            if steps[: len(earlier.get("steps", []))] != earlier.get("steps", []):
                yield f"{written.run}: {name} lost steps"
        for one, other in pairwise(steps):
            if moment(other["at"]) < moment(one["at"]):
                yield f"{name}: the step at {other['at']} stands after the one at {one['at']}"
        before[written.key] = operation


def identifiers_are_in_the_history(played: Played) -> Iterator[str]:
    """Whatever identifier a run that came to its end was told of is the history's latest at that time."""
    for project, runs in runs_of_projects(played).items():
        # In the order in which they stand: a run that stood still writes late what it saw early.
        rows = [w for w in writes_to(played, "keystewardHistory") if w.partition == project]
        rows = sorted((w for w in rows if w.key.startswith("identifier.")), key=lambda w: w.key)
        noted = [(w.loop_at, str(w.values["identifier"])) for w in rows]
        for run in runs:
            if run.outcome != "ran" or run.ended_at is None:
                continue
            for identifier in _told(played, run, project):
                in_run = [what for at, what in noted if run.began_at <= at <= run.ended_at]
                before = [what for at, what in noted if at < run.began_at]
                if identifier not in [*before[-1:], *in_run]:
                    yield f"{run}: was told of ..{identifier[-6:]}, which the history does not have"


def addresses_are_in_the_history(played: Played) -> Iterator[str]:
    """Whatever addresses a vault's run that came to its end was told of are the history's latest."""
    scopes = scopes_of_runs(played)
    for sent in played.wire.sent:
        run, project = sent.run, sent.project_id or ""
        if not sent.request.path.endswith("/ipAddresses") or sent.heard_at is None or sent.told is None:
            continue
        kind, _, vault = scopes.get(run.number, "").partition(":")
        if (run.kind, kind, run.outcome) != ("message", "vault", "ran") or not _was_on(played, run, project, vault):
            continue
        assert run.ended_at is not None, "it ran"
        noted = [
            w for w in writes_to(played, "keystewardHistory") if w.partition == project and w.loop_at <= run.ended_at
        ]
        noted = sorted((w for w in noted if w.key.startswith("addresses.")), key=lambda w: w.key)
        latest = "".join(str(v) for n, v in sorted(noted[-1].values.items()) if n.startswith("json")) if noted else ""
        wanted = {a for row in sent.told["services"]["clusters"] for a in row["outbound"]}
        if any(f'"{address}"' not in latest for address in wanted):
            yield f"{run}: was told of addresses that the history does not have"


def _was_on(played: Played, run: Run, project: str, vault: str) -> bool:
    """Whether the project counted for the vault by its record, and by its block where the run read that."""
    before = [w for w in writes_to(played, "keystewardRecords", project) if w.loop_at < run.began_at]
    if not before or record_of(before[-1].values).get("vault") != vault:
        return False
    asked = any(s.reads_encryption and s.project_id == project for s in played.wire.sent if s.run is run)
    told = [identifier for identifier in _told(played, run, project) if identifier.startswith(f"https://{vault}.")]
    return bool(told) or not asked


def history_is_in_order(played: Played) -> Iterator[str]:
    """
    Rows of one kind were seen in the order in which they were written.

    A run that stood still writes late what it saw early: true, and in its place, as rows stand by when they were seen.
    """
    last: dict[tuple[str, str], Any] = {}
    for written in writes_to(played, "keystewardHistory"):
        kind = (written.partition, written.key.partition(".")[0])
        seen_at = written.values["seenAt"]
        if kind in last and seen_at < last[kind] and not (written.run is not None and written.run.frozen):
            yield f"{written.run}: wrote into the history what was seen before its last row"
        last[kind] = seen_at


def _push_of(played: Played, row: dict[str, Any]) -> Sent | None:
    """The push that an intent announced: the first of the run that wrote it."""
    run = _writer(played, row)
    return next((p for p in pushes(played) if p.run is run and target_of(p) == row["after"]), None)


def _writer(played: Played, row: dict[str, Any]) -> Run | None:
    return next((w.run for w in writes_to(played, "keystewardAudit", row["rowKey"])), None)


def _was_cut_short(played: Played, row: dict[str, Any]) -> bool:
    run = _writer(played, row)
    return run is not None and (run.outcome != "ran" or bool(run.struck) or bool(run.frozen))


def _heard(played: Played, run: Run) -> list[Sent]:
    return [s for s in played.wire.sent if s.run is run and s.heard_at is not None]


def _told(played: Played, run: Run, project: str) -> list[str]:
    blocks = [
        s.told["azureKeyVault"]
        for s in _heard(played, run)
        if s.reads_encryption and s.told and s.project_id == project
    ]
    return [block["keyIdentifier"] for block in blocks if block.get("enabled") and block.get("keyIdentifier")][:1]
