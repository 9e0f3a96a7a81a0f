"""What is told, and how often: at least once to everybody, under one id for each change of state."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from simulator.sinks import WEBHOOK_HOST
from tests.harness.evidence import created_at, loop_seconds, moment, pushes, record_of, rows_of, target_of
from tests.harness.instances import TOPIC_HOST, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played
    from tests.harness.wire import Sent

_HOSTS = (WEBHOOK_HOST, TOPIC_HOST)


def everybody_is_told(played: Played) -> Iterator[str]:
    """Once it is calm, every announcement has been taken by every target, and was always the same event."""
    if not played.history.targets:
        return
    announced = {row["eventId"]: row for row in rows_of(played, "keystewardOutbox")}
    for host in _HOSTS[: played.history.targets]:
        told = {event["id"] for event in played.world.cloud.sinks.events(host)}
        yield from (f"{host} was never told of {name}" for name in announced.keys() - told)
        yield from (f"{host} was told of {name}, which nobody announced" for name in told - announced.keys())
        contents: dict[str, Any] = {}
        for event in played.world.cloud.sinks.events(host):
            if contents.setdefault(event["id"], event) != event:
                yield f"two events for {host} are called {event['id']}"


def deliveries_are_true(played: Played) -> Iterator[str]:
    """What the outbox calls delivered was taken, and nothing that has targets to tell is left open."""
    count = played.history.targets
    taken: Counter[str] = Counter()
    for host in _HOSTS[:count]:
        taken.update({event["id"] for event in played.world.cloud.sinks.events(host)})
    for row in rows_of(played, "keystewardOutbox"):
        states = [one.get("state", "waiting") for one in row.get("deliveries", {}).values()]
        if len(states) != count:
            yield f"{row['eventId']} is kept for {len(states)} targets, there are {count}"
        if states.count("delivered") > taken[row["eventId"]]:
            yield f"{row['eventId']} is called delivered, and was not taken"
        if "waiting" in states or "givenUp" in states:
            yield f"{row['eventId']} is {', '.join(states)} at the end"


def webhooks_are_signed(played: Played) -> Iterator[str]:
    """Whoever receives a webhook can tell that it is ours, and when it was sent."""
    for one in played.world.cloud.sinks.received:
        if one.host != WEBHOOK_HOST:
            continue
        stamp = one.headers.get("x-keysteward-timestamp", "")
        signed = hmac.new(WEBHOOK_SECRET.encode(), f"{stamp}.".encode() + one.body, hashlib.sha256).hexdigest()
        if one.headers.get("x-keysteward-signature") != f"sha256={signed}":
            yield f"the webhook at {one.at} is not signed with the secret"
        if not stamp.isdecimal() or not -30 <= one.at.timestamp() - int(stamp) <= 130:
            yield f"the webhook at {one.at} says that it was sent at {stamp}"


def rotations_are_told_once(played: Played) -> Iterator[str]:
    """One ``RotationStarted`` for a push that was taken, none more; and a completion only of what was started."""
    started, completed = _ids(played, "RotationStarted"), _ids(played, "RotationCompleted")
    sent: Counter[tuple[str, str]] = Counter()
    heard: Counter[tuple[str, str]] = Counter()
    for push in pushes(played):
        what = push.project_id or "", target_of(push)
        sent[what] += _may_have_been_taken(push)
        heard[what] += push.told is not None and push.run.outcome == "ran"
    for what in {*sent, *started}:
        count = len(started.get(what, ()))
        # Atlas may also have been given by somebody else what a push that never reached it was to bring.
        most = sent[what] + _given_by_others(played, *what)
        if not heard[what] <= count <= most:
            yield (
                f"RotationStarted to ..{what[1][-6:]} was told {count} times, "
                f"for {heard[what]} pushes that were answered of {most} that may have been taken"
            )
    for what, ids in completed.items():
        begun = {name.rpartition("-RotationStarted-")[2] for name in started.get(what, ())}
        if strange := {name.rpartition("-RotationCompleted-")[2] for name in ids} - begun:
            yield f"RotationCompleted to ..{what[1][-6:]} of {', '.join(strange)}, which was never told as started"


def the_limit_is_told_once(played: Played) -> Iterator[str]:
    """``ReversalLimitReached`` is told only where as much was put back, and once until something else is the matter."""
    for project in played.world.project_ids:
        rows = [r for r in rows_of(played, "keystewardOutbox") if r["subject"] == f"project:{project}"]
        rows.sort(key=lambda row: moment(row["at"]))
        told = [loop_seconds(played, moment(r["at"])) for r in rows if r["kind"] == "ReversalLimitReached"]
        back = steps_back(played, project)
        for at in told:
            count = sum(1 for step in back if step <= at)
            if count < played.history.max_reversals:
                yield f"{project[-2:]}: told that the limit is reached at {at:.0f} s, after {count} steps back"
        news = [*back, *(p.done_at or 0.0 for p in pushes(played) if p.project_id == project)]
        news += [w.loop_at for w in played.tables.journal if _holds_otherwise(w, project)]
        for before, after in pairwise(told):
            if not any(before < at <= after for at in news):
                yield f"{project[-2:]}: the limit was told at {before:.0f} s, again at {after:.0f} s: for nothing new"


def steps_back(played: Played, project: str) -> list[float]:
    """When Atlas went back to an older identifier: never by the app, which ``pushes_only_forwards`` sees to."""
    # Encryption that was off in between changes nothing of it.
    held = [(at, identifier) for at, identifier in played.identifiers.get(project, ()) if identifier is not None]
    return [at for (_, before), (at, after) in pairwise(held) if created_at(played, after) < created_at(played, before)]


def _holds_otherwise(written: Any, project: str) -> bool:
    """Whether a write of the project's record says that something else holds it, or nothing."""
    if written.table != "keystewardRecords" or written.key != project:
        return False
    return (record_of(written.values).get("hold") or {}).get("code") != "reversalLimitReached"


def _given_by_others(played: Played, project: str, identifier: str) -> int:
    """How often Atlas came to hold an identifier by no push of the app."""
    came = [at for at, held in played.identifiers.get(project, ())[1:] if held == identifier]
    own = [p for p in pushes(played) if p.project_id == project and p.changed and target_of(p) == identifier]
    return max(0, len(came) - len(own))


def _ids(played: Played, kind: str) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows_of(played, "keystewardOutbox"):
        if row["kind"] == kind:
            found.setdefault((row["data"]["projectId"], row["data"]["to"]), set()).add(row["eventId"])
    return found


def _may_have_been_taken(push: Sent) -> bool:
    """Whether Atlas did what was asked, or had it already; the app need not have heard of it."""
    if push.exchange is None:
        return False
    return push.changed or push.exchange.status == 200
