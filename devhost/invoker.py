"""One invocation from the host's point of view: run the function, and only if it succeeded write its outputs."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from devhost.errors import FunctionError, HostError
from devhost.payloads import plain_value
from devhost.settings import resolve
from devhost.worker import InvocationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devhost.queues import Queues
    from devhost.worker import Outcome, TypedData, Worker

_log = logging.getLogger("devhost.invocations")


class Invoker:
    """Runs functions of one worker and writes their queue outputs."""

    def __init__(self, worker: Worker, queues: Queues, settings: Mapping[str, str]) -> None:
        self.worker = worker
        self._queues = queues
        self._settings = settings

    async def run(self, name: str, trigger_data: TypedData, metadata: Mapping[str, TypedData] | None = None) -> Outcome:
        """
        Run the function *name* once.

        Raises:
            InvocationError: it failed, or its outputs could not be written: to the caller that is the same.
        """
        parameter = str(self.worker.functions[name].trigger["name"])
        begun = time.perf_counter()
        try:
            outcome = await self.worker.invoke(name, {parameter: trigger_data}, metadata)
            await self._write_outputs(name, outcome)
        except InvocationError as error:
            # The stack is the function's own; one of ours would only show this line.
            line = f"{error}\n{error.stack_trace}".rstrip()
            _log.error("%s failed: %s", name, line, extra={"ms": _milliseconds_since(begun)})
            raise
        _log.debug("%s succeeded", name, extra={"ms": _milliseconds_since(begun)})
        return outcome

    async def _write_outputs(self, name: str, outcome: Outcome) -> None:
        for binding in self.worker.functions[name].bindings:
            data = outcome.outputs.get(str(binding["name"]))
            if data is None or binding["type"] != "queue":
                continue
            try:
                queue = resolve(str(binding["queueName"]), self._settings)
                await self._queues.write_output(queue, str(binding.get("connection") or ""), plain_value(data))
            except (AzureError, FunctionError, HostError) as error:
                message = f"the output {binding['name']} could not be written: {error}"
                raise InvocationError(message) from error


def _milliseconds_since(begun: float) -> int:
    return round(1000 * (time.perf_counter() - begun))
