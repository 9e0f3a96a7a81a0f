"""Timers: they send messages, one a scope, and never wait for what follows. The watch alone reads something first."""

import os

import azure.functions as func

from functions.runtime import MisconfiguredError, get_app
from keysteward.logs import get_logger
from keysteward.schedules import schedule_of

bp = func.Blueprint()
log = get_logger("keysteward.timers")

# Not "%RECONCILE_SCHEDULE%": the host knows no defaults, and a timer whose setting is absent would never fire.
RECONCILE_SCHEDULE = schedule_of("RECONCILE_SCHEDULE", os.environ)
FIREWALL_SCHEDULE = schedule_of("FIREWALL_SCHEDULE", os.environ)
WATCH_SCHEDULE = schedule_of("WATCH_SCHEDULE", os.environ)
DAILY_SCHEDULE = schedule_of("DAILY_SCHEDULE", os.environ)


@bp.function_name("reconcile_projects")
@bp.timer_trigger(arg_name="timer", schedule=RECONCILE_SCHEDULE, run_on_startup=False, use_monitor=True)
async def reconcile_projects(timer: func.TimerRequest) -> None:
    """Ask for a reconcile of every project."""
    try:
        app = await get_app()
    except MisconfiguredError:
        log.error("settings are wrong: nothing is reconciled; see /api/health")  # noqa: TRY400 - the problems were logged
        return
    count = await app.fleet.fan_out()
    log.info("reconciles asked for", extra={"count": count, "past_due": timer.past_due})


@bp.function_name("sync_firewalls")
@bp.timer_trigger(arg_name="timer", schedule=FIREWALL_SCHEDULE, run_on_startup=False, use_monitor=True)
async def sync_firewalls(timer: func.TimerRequest) -> None:
    """Ask for a sync of the firewall of every vault."""
    try:
        app = await get_app()
    except MisconfiguredError:
        log.error("settings are wrong: no firewall is synced; see /api/health")  # noqa: TRY400 - the problems were logged
        return
    count = await app.fleet.fan_out_vaults()
    log.info("syncs asked for", extra={"count": count, "past_due": timer.past_due})


# The monitor writes a blob at every run to make up for one that was missed, and the next run is a minute away anyhow.
@bp.function_name("watch_keys")
@bp.timer_trigger(arg_name="timer", schedule=WATCH_SCHEDULE, run_on_startup=False, use_monitor=False)
async def watch_keys(timer: func.TimerRequest) -> None:
    """Read the newest version of every key in use, and hint where one is otherwise than it was seen."""
    try:
        app = await get_app()
    except MisconfiguredError:
        log.error("settings are wrong: no key is watched; see /api/health")  # noqa: TRY400 - the problems were logged
        return
    watched = await app.watcher()
    fields = {"count": watched.keys, "left": watched.left, "hints": watched.hints, "past_due": timer.past_due}
    if watched.hints or watched.left:
        log.info("keys were watched", extra=fields)
    else:
        log.debug("keys were watched", extra=fields)


@bp.function_name("daily_report")
@bp.timer_trigger(arg_name="timer", schedule=DAILY_SCHEDULE, run_on_startup=False, use_monitor=True)
async def daily_report(timer: func.TimerRequest) -> None:
    """Ask for a look at everything that is looked after, however seldom it is looked at otherwise."""
    try:
        app = await get_app()
    except MisconfiguredError:
        log.error("settings are wrong: there is no daily look; see /api/health")  # noqa: TRY400 - the problems were logged
        return
    count = await app.fleet.fan_out_daily()
    log.info("the daily look was asked for", extra={"count": count, "past_due": timer.past_due})
