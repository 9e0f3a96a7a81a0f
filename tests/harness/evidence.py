"""Questions that several invariants ask of what was seen: answered from the wire, the journal and the world only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from keysteward.messages import AccessHint, VaultHint, decode
from keysteward.vocabulary import InvalidNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from keysteward.store.ports import Value
    from tests.harness.journal import Written
    from tests.harness.player import Played
    from tests.harness.processes import Run
    from tests.harness.wire import Sent

NEVER = float("inf")
PASSING_CODES = frozenset(
    {
        "INVALID_AZURE_CREDENTIALS",
        "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED",
        "CANNOT_ASSUME_ROLE",
        "ENCRYPTION_AT_REST_SETTINGS_INVALID",
        "RATE_LIMITED",
        "RATE_LIMITED_TOKEN_BUCKET",
    }
)


def pushes(played: Played) -> list[Sent]:
    """Every PATCH that reached Atlas, in the order in which it did."""
    return sorted((s for s in played.wire.sent if s.is_push and s.done_at is not None), key=lambda s: s.done_at or 0.0)


def created_at(played: Played, identifier: str | None) -> int:
    """The second in which a version was made; -1 where the identifier names none that exists."""
    version = played.world.key.versions.get((identifier or "").rpartition("/")[2])
    return int(version.created_at.timestamp()) if version is not None else -1


def target_of(push: Sent) -> str:
    body = push.request.json()
    return str(body["azureKeyVault"]["keyIdentifier"])


def refused_for_good(push: Sent) -> bool:
    """Whether Atlas answered with a refusal that waiting does not mend."""
    response = push.response
    if response is None or not 400 <= response.status < 500 or response.status in {408, 425, 429}:
        return False
    return push.exchange is not None and push.exchange.error_code not in {*PASSING_CODES, None, ""}


def record_of(values: Mapping[str, Value]) -> dict[str, Any]:
    """The JSON of a record's row."""
    text = "".join(str(values[name]) for name in sorted(values) if name.startswith("json"))
    found = msgspec.json.decode(text)
    assert isinstance(found, dict)
    return found


def rows_of(played: Played, table: str) -> list[dict[str, Any]]:
    """Every record of a table as it is at the end."""
    return [{**record_of(row.values), "rowKey": row.key} for row in played.tables.rows(table)]


def projects_recorded(played: Played) -> list[dict[str, Any]]:
    """The record of every project that the app has seen."""
    rows = played.tables.rows("keystewardRecords")
    return [record_of(row.values) for row in rows if row.partition == "project"]


def waits_to_retry(played: Played, project_id: str) -> bool:
    """Whether the next try of a push that Atlas refused for a passing reason has its time yet to come."""
    record = next((row for row in projects_recorded(played) if row["projectId"] == project_id), {})
    attempt = record.get("attempt") or {}
    return not attempt.get("permanent") and "notBefore" in attempt and moment(attempt["notBefore"]) > played.world.now


def writes_to(played: Played, table: str, key: str | None = None) -> Iterator[Written]:
    return (w for w in played.tables.journal if w.table == table and key in {None, w.key})


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def loop_seconds(played: Played, at: datetime) -> float:
    return float((at - played.began).total_seconds())


def runs_of_projects(played: Played) -> dict[str, list[Run]]:
    """Runs of messages that looked at a project, by project, in the order in which they began."""
    found: dict[str, dict[int, Run]] = {}
    scopes = scopes_of_runs(played)
    for sent in played.wire.sent:
        if sent.run.kind == "message" and scopes.get(sent.run.number) == f"project:{sent.project_id}":
            found.setdefault(sent.project_id or "", {})[sent.run.number] = sent.run
    return {project: sorted(runs.values(), key=lambda r: r.number) for project, runs in found.items()}


def is_hinted(run: Run) -> bool:
    """Whether an event asked for the run, or a wake-up for one."""
    try:
        message = decode(run.text)
    except InvalidNameError:
        return False
    return isinstance(message, VaultHint | AccessHint) or message.hinted


def scopes_of_runs(played: Played) -> dict[int, str]:
    """The scope whose lease each run has had, by the number of the run."""
    taken = (w for w in played.tables.journal if w.table == "keystewardScopes" and w.key == "lease" and w.run)
    return {written.run.number: written.partition for written in taken if written.run is not None}


def lease_writes(played: Played, scope: str) -> list[Written]:
    return [
        w for w in played.tables.journal if w.table == "keystewardScopes" and w.partition == scope and w.key == "lease"
    ]


def holder_at(leases: list[Written], at: float) -> Written | None:
    """The last lease row that was written by the loop time *at*."""
    found = None
    for written in leases:
        if written.loop_at > at:
            break
        found = written
    return found


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's rotation, from when it was written down until it ended."""

    project: str
    identifier: str | None
    begins: float
    ends: float


def orders(played: Played) -> list[Order]:
    """
    Every rotation that an operator ordered.

    What the app calls an order is one only if an operator's call wrote it down. It ends as the trail of operations says
    (``no_operation_is_left_open`` sees to it that it does).
    """
    began: dict[str, tuple[float, dict[str, Any]]] = {}
    ended: dict[str, float] = {}
    for written in writes_to(played, "keystewardOperations"):
        if written.key not in began and written.run is not None and written.run.kind == "operator":
            began[written.key] = written.loop_at, record_of(written.values)
        if written.values["open"] == "no":
            ended.setdefault(written.key, written.loop_at)
    return [
        Order(row["projectId"], row.get("keyIdentifier"), at, ended.get(key, NEVER))
        for key, (at, row) in began.items()
        if row["kind"] == "rotate"
    ]


def is_ordered(push: Sent, found: Iterable[Order]) -> bool:
    """Whether an order explains a push: it stood when the run that pushed began, or was given since."""
    return any(
        order.project == push.project_id
        and order.identifier in {None, target_of(push)}
        and order.begins <= push.asked_at
        and order.ends >= push.run.began_at
        for order in found
    )
