"""
The queue trigger: fetch, hide, run, and then delete, give back or move to the poison queue.

Source: the storage extension's public source (QueueListener, QueueProcessor). A message is hidden for ten minutes while
its function runs, and renewed at half of that. ``batchSize`` messages are fetched at once, and the next batch once no
more than ``newBatchThreshold`` are running.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError, ResourceNotFoundError

from devhost.backoff import Backoff
from devhost.payloads import QueuedMessage, queue_input
from devhost.settings import resolve
from devhost.worker import InvocationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

    from devhost.invoker import Invoker
    from devhost.queues import Queues
    from devhost.settings import QueueOptions
    from devhost.worker import Function

_log = logging.getLogger("devhost.queues")

HIDDEN_SECONDS = 600
# The host's end waits this long for running functions; then their messages are given back at once.
_DRAIN_SECONDS = 1.0


class QueueListener:
    """Feeds one queue function. ``run_forever`` polls until it is cancelled; then call ``drain``."""

    def __init__(
        self,
        function: Function,
        invoker: Invoker,
        queues: Queues,
        options: QueueOptions,
        settings: Mapping[str, str],
    ) -> None:
        """
        Find the queue.

        Raises:
            ConfigurationError, FunctionError: its name or its storage account cannot be told from the settings.
        """
        trigger = function.trigger
        connection = str(trigger.get("connection") or "")
        name = resolve(str(trigger["queueName"]), settings)
        self._function = function
        self._invoker, self._queues, self._options = invoker, queues, options
        self._queue = queues.client(name, connection)
        self._poison_queue = queues.client(f"{name}-poison", connection)
        self._backoff = Backoff(options.max_polling_interval.total_seconds())
        self._running: dict[asyncio.Task[None], _Hold] = {}
        self._fetch: asyncio.Task[Sequence[QueueMessage]] | None = None
        self._woken = asyncio.Event()
        queues.watch(name, self._woken.set)

    async def run_forever(self) -> None:
        while True:
            self._woken.clear()
            # Shielded: the service hides what it hands out, so a fetch that is cut off would hide it for ten minutes.
            self._fetch = asyncio.create_task(self._receive())
            batch = await asyncio.shield(self._fetch)
            self._fetch = None
            for message in batch:
                hold = _Hold(self._queue, message)
                task = asyncio.create_task(self._process(hold))
                self._running[task] = hold
                task.add_done_callback(self._forget)
            if batch:
                self._backoff.reset()
                await self._until_there_is_room()
            else:
                await self._rest(self._backoff.next_seconds())

    async def drain(self) -> None:
        """Let running functions end for a moment; then cancel them and show their messages again at once."""
        holds = [_Hold(self._queue, message) for message in await self._fetched_too_late()]
        if self._running:
            _, unfinished = await asyncio.wait(set(self._running), timeout=_DRAIN_SECONDS)
            holds += [self._running[task] for task in unfinished]
            for task in unfinished:
                task.cancel()
        await asyncio.gather(*(hold.release(0) for hold in holds), return_exceptions=True)

    async def _fetched_too_late(self) -> Sequence[QueueMessage]:
        if self._fetch is None:
            return []
        done, _ = await asyncio.wait({self._fetch}, timeout=_DRAIN_SECONDS / 2)
        return self._fetch.result() if done else []

    async def _receive(self) -> Sequence[QueueMessage]:
        size = self._options.batch_size
        try:
            pages = self._queue.receive_messages(
                messages_per_page=size, max_messages=size, visibility_timeout=HIDDEN_SECONDS
            ).by_page()
            return [message async for message in await anext(pages)]
        except (ResourceNotFoundError, StopAsyncIteration):
            return []  # no queue yet: its first writer makes it
        except AzureError as error:
            _log.warning("queue %s cannot be read: %s", self._queue.queue_name, _first_line(error))
            return []

    async def _until_there_is_room(self) -> None:
        while len(self._running) > self._options.new_batch_threshold:
            await asyncio.wait(set(self._running), return_when=asyncio.FIRST_COMPLETED)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("queue %s: %s", self._queue.queue_name, _first_line(error), exc_info=error)

    async def _process(self, hold: _Hold) -> None:
        try:
            await self._run_and_settle(hold)
        except AzureError as error:
            # The message shows again when its time is up: what is lost is only this settlement.
            _log.warning("queue %s, message %s: %s", self._queue.queue_name, hold.message_id, _first_line(error))

    async def _run_and_settle(self, hold: _Hold) -> None:
        limit = self._options.max_dequeue_count
        body = self._queues.decode(hold.raw)
        if body is None or hold.dequeue_count > limit:
            await self._poison(hold)
            return
        data, metadata = queue_input(self._invoker.worker.messages, hold.described(body))
        renewal = asyncio.create_task(hold.renew_forever())
        try:
            await self._invoker.run(self._function.name, data, metadata)
        except InvocationError:
            await _ended(renewal)
            if hold.dequeue_count >= limit:
                await self._poison(hold)
            else:
                await hold.release(int(self._options.visibility_timeout.total_seconds()))
        else:
            await _ended(renewal)
            await hold.delete()
        finally:
            renewal.cancel()

    async def _poison(self, hold: _Hold) -> None:
        await self._queues.send(self._poison_queue, hold.raw)
        await hold.delete()
        _log.warning("message %s moved to %s", hold.message_id, self._poison_queue.queue_name)


class _Hold:
    """A message that this host holds: its pop receipt changes with every renewal."""

    def __init__(self, queue: QueueClient, message: QueueMessage) -> None:
        self._queue = queue
        self._message = message
        self._receipt = str(message.pop_receipt)
        self.message_id = str(message.id)
        self.raw = str(message.content)
        self.dequeue_count = int(message.dequeue_count or 0)

    def described(self, body: str) -> QueuedMessage:
        message = self._message
        assert message.inserted_on is not None
        assert message.expires_on is not None
        assert message.next_visible_on is not None
        return QueuedMessage(
            body,
            self.message_id,
            self.dequeue_count,
            self._receipt,
            message.inserted_on,
            message.expires_on,
            message.next_visible_on,
        )

    async def renew_forever(self) -> None:
        while True:
            await asyncio.sleep(HIDDEN_SECONDS / 2)
            try:
                await self.release(HIDDEN_SECONDS)
            except AzureError as error:
                _log.warning("message %s could not be kept hidden: %s", self.message_id, _first_line(error))

    async def release(self, seconds: int) -> None:
        """Show the message again in *seconds*."""
        updated = await self._queue.update_message(self.message_id, self._receipt, visibility_timeout=seconds)
        self._receipt = str(updated.pop_receipt)

    async def delete(self) -> None:
        await self._queue.delete_message(self.message_id, self._receipt)


async def _ended(task: asyncio.Task[None]) -> None:
    # Only once the renewal has ended is the pop receipt known for sure.
    task.cancel()
    await asyncio.wait({task})


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
