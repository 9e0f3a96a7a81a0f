"""``GET /api/health``: open to anybody, so it names no project and no vault."""

import azure.functions as func

from functions.http import json_response
from functions.runtime import UP_SINCE, MisconfiguredError, get_app

bp = func.Blueprint()


@bp.function_name("health")
@bp.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the trigger has it
    """Say whether the app can do its work, and what to mend where it cannot."""
    from keysteward import health as rules  # noqa: PLC0415 - keeps a cold start light
    from keysteward.store.ports import StorageError  # noqa: PLC0415 - likewise

    try:
        app = await get_app()
    except MisconfiguredError as error:
        status, body = rules.report(rules.settings_checks(error.problems))
        return json_response(body, status)
    checks = [rules.HealthCheck("settings", "pass", "every setting is good")]
    try:
        seen = {record.project_id: record.observed_at for record in await app.state.projects()}
        observed = [seen.get(project_id) for project_id in app.settings.project_ids]
        period = app.settings.reconcile_period_seconds
        checks.append(rules.HealthCheck("storage", "pass", "the app's storage answers"))
        checks.append(rules.age_check(observed, app.clock.now(), period, UP_SINCE))
    except StorageError:
        checks.append(rules.HealthCheck("storage", "warn", "the app's storage does not answer; the log says more"))
    status, body = rules.report(checks)
    return json_response(body, status)
