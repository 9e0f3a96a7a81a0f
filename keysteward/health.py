"""What ``GET /api/health`` says: whether the settings are good, storage answers, and reconciles run. Nothing secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keysteward import __version__
from keysteward.problem import Problem

SLACK = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One line: what was looked at, ``pass``, ``warn`` or ``fail``, and a sentence."""

    id: str
    result: str
    detail: str


def settings_checks(problems: Sequence[Problem]) -> list[HealthCheck]:
    """Show each wrong setting with what is wrong and a good value; project ids and vault names are left out."""
    found = []
    for problem in (p.public for p in problems):
        place = f" at {problem.place}" if problem.place else ""
        detail = f"{problem.name}{place} {problem.what}. A good value: {problem.good_value}"
        found.append(HealthCheck(problem.name, "fail", detail))
    return found


def age_check(
    observed: Sequence[datetime | None], now: datetime, period_seconds: int, up_since: datetime
) -> HealthCheck:
    """
    Say how long ago the project that was seen longest ago was seen.

    Two missed runs of the timer are too many. A project never seen counts from the start of this process.
    """
    if not observed:
        return HealthCheck("lastReconcile", "pass", "there is no project to look at")
    oldest = min(at or up_since for at in observed)
    late = now - oldest > timedelta(seconds=2 * period_seconds) + SLACK
    never = sum(at is None for at in observed)
    seen = f"{len(observed) - never} of {len(observed)} projects seen; oldest look {_minutes(now - oldest)} min ago"
    if late:
        remedy = "two timer runs were missed: look at the log of reconcile_projects and work"
        return HealthCheck("lastReconcile", "warn", f"{seen}; {remedy}")
    return HealthCheck("lastReconcile", "pass", seen)


def list_check(read_at: datetime | None, now: datetime, period_seconds: int, up_since: datetime) -> HealthCheck:
    """Say how old the list of projects is that the credential sees (``ATLAS_PROJECT_IDS=*``)."""
    age = now - (read_at or up_since)
    if age > timedelta(seconds=2 * period_seconds) + SLACK:
        told = f"the list of projects was last read {_minutes(age)} min ago"
        return HealthCheck("projectList", "warn", f"{told}; the log of keysteward.fleet says why")
    return HealthCheck("projectList", "pass", f"the list of projects is {_minutes(age)} min old")


def door_check(auth: str, *, easy_auth: bool) -> HealthCheck:
    """Say whether callers can be let in at all."""
    if auth == "entra" and not easy_auth:
        detail = "KEYSTEWARD_AUTH is entra, and the platform does not say that it checks sign-ins"
        return HealthCheck("callers", "warn", f"{detail}: every call is refused. Switch App Service authentication on")
    return HealthCheck("callers", "pass", f"let in by {auth}")


def outbox_check(oldest: timedelta | None) -> HealthCheck:
    """Say whether notifications go out. One that has waited for an hour has been tried often."""
    if oldest is None:
        return HealthCheck("notifications", "pass", "nothing waits to be told")
    waits = f"the oldest notification has waited for {_minutes(oldest)} min"
    if oldest > LONGEST_WAIT:
        remedy = "read the log of keysteward.voice for the target that does not take it"
        return HealthCheck("notifications", "warn", f"{waits}; {remedy}")
    return HealthCheck("notifications", "pass", waits)


def report(checks: Sequence[HealthCheck]) -> tuple[int, dict[str, Any]]:
    """Build the answer: its HTTP status and its body."""
    results = {check.result for check in checks}
    status = "misconfigured" if "fail" in results else "degraded" if "warn" in results else "ok"
    body = {
        "status": status,
        "version": __version__,
        "checks": [{"id": c.id, "result": c.result, "detail": c.detail} for c in checks],
    }
    return (503 if status == "misconfigured" else 200), body


def _minutes(span: timedelta) -> int:
    return int(span.total_seconds() // 60)
