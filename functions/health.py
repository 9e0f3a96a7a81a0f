"""``GET /api/health``: open to anybody, so it names no project and no vault."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from functions.door import easy_auth_is_on
from functions.endpoint import Endpoint
from functions.http import Answered, Reply, Routes
from functions.runtime import UP_SINCE, MisconfiguredError, get_app
from keysteward.api.answers import Health

if TYPE_CHECKING:
    from keysteward.health import HealthCheck

routes = Routes()
bp = routes.bp


@routes.open_to_anybody(
    Endpoint(
        "health",
        "GET",
        "health",
        "Whether the app can do its work, and what to mend where it cannot. Names no project, vault or secret.",
        None,
        {200: (Health,), 503: (Health,)},
    )
)
async def health() -> Answered:
    from keysteward import health as rules  # noqa: PLC0415 - keeps a cold start light
    from keysteward.store.ports import StorageError  # noqa: PLC0415 - likewise

    try:
        app = await get_app()
    except MisconfiguredError as error:
        return _report(rules.settings_checks(error.problems))
    checks = [
        rules.HealthCheck("settings", "pass", "every setting is good"),
        rules.door_check(app.settings.auth, easy_auth=easy_auth_is_on(os.environ)),
    ]
    try:
        observed = await app.fleet.seen_at()
        period = app.settings.reconcile_period_seconds
        checks.append(rules.HealthCheck("storage", "pass", "the app's storage answers"))
        checks.append(rules.age_check(observed, app.clock.now(), period, UP_SINCE))
        if app.fleet.discovers:
            read_at = (await app.state.fleet()).record.read_at
            checks.append(rules.list_check(read_at, app.clock.now(), period, UP_SINCE))
        checks.append(rules.outbox_check(await app.outbox.oldest_open(app.clock.now())))
    except StorageError:
        checks.append(rules.HealthCheck("storage", "warn", "the app's storage does not answer; the log says more"))
    return _report(checks)


def _report(checks: "Sequence[HealthCheck]") -> Reply:
    from keysteward.health import report  # noqa: PLC0415 - keeps a cold start light

    status, body = report(checks)
    return Reply(msgspec.convert(body, Health), status)
