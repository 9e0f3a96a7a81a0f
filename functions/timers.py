"""Timers: they only fan out messages, one a project, and never wait for what follows."""

import os

import azure.functions as func

from functions.runtime import MisconfiguredError, get_app
from keysteward.logs import get_logger
from keysteward.schedules import schedule_of

bp = func.Blueprint()
log = get_logger("keysteward.timers")

# Not "%RECONCILE_SCHEDULE%": the host knows no defaults, and a timer whose setting is absent would never fire.
RECONCILE_SCHEDULE = schedule_of("RECONCILE_SCHEDULE", os.environ)


@bp.function_name("reconcile_projects")
@bp.timer_trigger(arg_name="timer", schedule=RECONCILE_SCHEDULE, run_on_startup=False, use_monitor=True)
async def reconcile_projects(timer: func.TimerRequest) -> None:
    """Ask for a reconcile of every project."""
    try:
        app = await get_app()
    except MisconfiguredError:
        log.error("settings are wrong: nothing is reconciled; see /api/health")  # noqa: TRY400 - the problems were logged
        return
    count = await app.fleet.fan_out("timer")
    log.info("reconciles asked for", extra={"count": count, "past_due": timer.past_due})
