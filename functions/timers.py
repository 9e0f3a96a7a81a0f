"""Timers: they only fan out messages, one a project, and never wait for what follows."""

import logging

import azure.functions as func

from functions.runtime import MisconfiguredError, get_app

bp = func.Blueprint()
log = logging.getLogger("keysteward.timers")


@bp.function_name("reconcile_projects")
@bp.timer_trigger(arg_name="timer", schedule="%RECONCILE_SCHEDULE%", run_on_startup=False, use_monitor=True)
async def reconcile_projects(timer: func.TimerRequest) -> None:
    """Ask for a reconcile of every project."""
    try:
        app = await get_app()
    except MisconfiguredError:
        log.error("settings are wrong: nothing is reconciled; see /api/health")  # noqa: TRY400 - the problems were logged
        return
    count = await app.fleet.fan_out("timer")
    log.info("reconciles asked for", extra={"count": count, "past_due": timer.past_due})
