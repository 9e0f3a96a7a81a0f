"""
Event Grid triggers. They queue a hint and return: Event Grid waits 30 s, and drops for good on 400, 403 and 413.

No import of an SDK and no call: the hint leaves by an output binding, which the host writes.
"""

import json

import azure.functions as func

from keysteward.events import hint_of
from keysteward.logs import get_logger
from keysteward.messages import QUEUE, encode
from keysteward.vocabulary import InvalidNameError

bp = func.Blueprint()
log = get_logger("keysteward.events")


@bp.function_name("key_vault_events")
@bp.event_grid_trigger(arg_name="event")
@bp.queue_output(arg_name="work", queue_name=QUEUE, connection="AzureWebJobsStorage")
async def key_vault_events(event: func.EventGridEvent, work: func.Out[str]) -> None:
    """Queue a hint for an event of a key or of a vault's access policy; acknowledge everything else."""
    # The worker picks the class by payload, not by annotation: a CloudEvent calls its type ``type``.
    event_type = getattr(event, "event_type", None) or getattr(event, "type", None)
    try:
        hint = hint_of(event_type, event.get_json())
    except (InvalidNameError, ValueError, json.JSONDecodeError) as error:
        # A retry would bring the same event again; the timers look anyhow.
        log.warning("an event was not understood", extra={"event_id": event.id, "why": str(error)[:200]})
        return
    if hint is None:
        log.debug("an event of another kind was acknowledged", extra={"event_id": event.id})
        return
    work.set(encode(hint))
