"""Queue triggers: one message, one scope, at most one reconcile; and the messages that failed too often."""

from datetime import UTC, datetime

import azure.functions as func

from functions.runtime import MisconfiguredError, get_app
from keysteward.logs import get_logger
from keysteward.messages import QUEUE

bp = func.Blueprint()
log = get_logger("keysteward.work")


def _sent_at(msg: func.QueueMessage) -> datetime | None:
    """When the queue took the message, by the queue's clock."""
    at = msg.insertion_time
    if at is None:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@bp.function_name("work")
@bp.queue_trigger(arg_name="msg", queue_name=QUEUE, connection="AzureWebJobsStorage")
async def work(msg: func.QueueMessage) -> None:
    """Work on one message. An error leaves it in the queue, and too many errors move it to the poison queue."""
    app = await get_app()
    text = msg.get_body().decode("utf-8", errors="replace")
    answer = await app.handle_message(text, _sent_at(msg))
    log.debug(
        "a message was worked on", extra={"answer": answer, "message_id": msg.id, "dequeue_count": msg.dequeue_count}
    )


@bp.function_name("poisoned_work")
@bp.queue_trigger(arg_name="msg", queue_name=f"{QUEUE}-poison", connection="AzureWebJobsStorage")
async def poisoned_work(msg: func.QueueMessage) -> None:
    """Record a message that was given up. Where settings are wrong there is nothing to record it with but the log."""
    text = msg.get_body().decode("utf-8", errors="replace")
    try:
        app = await get_app()
    except MisconfiguredError:
        log.error("a message was given up while settings are wrong; the next timer repairs what it was for")  # noqa: TRY400
        return
    await app.record_poisoned(text)
