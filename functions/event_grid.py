"""
Event Grid triggers. They queue a hint and return: Event Grid waits 30 s, and drops for good on 400, 403 and 413.

No import of an SDK and no call: the hint leaves by an output binding, which the host writes.
"""

import json
from collections.abc import Callable

import azure.functions as func

from keysteward.events import hint_of
from keysteward.logs import get_logger
from keysteward.messages import QUEUE, Hint, encode
from keysteward.resource_events import resource_hint_of
from keysteward.vocabulary import InvalidNameError

bp = func.Blueprint()
log = get_logger("keysteward.events")


@bp.function_name("key_vault_events")
@bp.event_grid_trigger(arg_name="event")
@bp.queue_output(arg_name="work", queue_name=QUEUE, connection="AzureWebJobsStorage")
async def key_vault_events(event: func.EventGridEvent, work: func.Out[str]) -> None:
    """Queue a hint for an event of a key or of a vault's access policy; acknowledge everything else."""
    _queue(event, work, lambda: hint_of(_type_of(event), event.get_json()))


@bp.function_name("resource_events")
@bp.event_grid_trigger(arg_name="event")
@bp.queue_output(arg_name="work", queue_name=QUEUE, connection="AzureWebJobsStorage")
async def resource_events(event: func.EventGridEvent, work: func.Out[str]) -> None:
    """Queue a hint for a change of a vault itself or of who may use one; acknowledge everything else."""
    _queue(event, work, lambda: resource_hint_of(_type_of(event), event.subject, event.get_json(), _time_of(event)))


def _type_of(event: func.EventGridEvent) -> object:
    # The worker picks the class by payload, not by annotation: a CloudEvent calls its type ``type``.
    return getattr(event, "event_type", None) or getattr(event, "type", None)


def _time_of(event: func.EventGridEvent) -> object:
    return getattr(event, "event_time", None) or getattr(event, "time", None)


def _queue(event: func.EventGridEvent, work: func.Out[str], read: Callable[[], Hint | None]) -> None:
    try:
        hint = read()
    except (InvalidNameError, ValueError, json.JSONDecodeError) as error:
        # A retry would bring the same event again; the timers look anyhow.
        log.warning("an event was not understood", extra={"event_id": event.id, "why": str(error)[:200]})
        return
    if hint is None:
        log.debug("an event of another kind was acknowledged", extra={"event_id": event.id})
        return
    work.set(encode(hint))
