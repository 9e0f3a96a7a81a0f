"""
Microsoft's worker code, driven in process: the host's side of the conversation, without the socket.

The worker keeps its functions in process-wide state: one app per process, indexed once.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devhost.errors import AppDoesNotIndexError
from devhost.protocol import PROTOS_FOLDER, load_messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

type Binding = Mapping[str, Any]
type Messages = Any
type TypedData = Any

# The worker reads this app setting to find the file that it indexes.
_SCRIPT_SETTING = "PYTHON_SCRIPT_FILE_NAME"


class InvocationError(Exception):
    """A function failed. ``str()`` is the worker's message, ``stack_trace`` its own account of where."""

    def __init__(self, message: str, stack_trace: str = "") -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


@dataclass(frozen=True)
class Function:
    """One indexed function: its name, the worker's id for it and its bindings as in ``function.json``."""

    name: str
    function_id: str
    bindings: Sequence[Binding]

    @property
    def trigger(self) -> Binding:
        return next(b for b in self.bindings if str(b["type"]).lower().endswith("trigger"))

    @property
    def trigger_kind(self) -> str:
        return str(self.trigger["type"])


@dataclass(frozen=True)
class Outcome:
    """What a successful invocation gave back: the return value and the outputs by binding name, as sent on the wire."""

    return_value: TypedData
    outputs: Mapping[str, TypedData]


class Worker:
    """Indexes one app and invokes its functions."""

    def __init__(self, messages: Messages) -> None:
        self.messages = messages
        self.functions: dict[str, Function] = {}
        self._runtime = importlib.import_module("azure_functions_runtime")

    @classmethod
    async def start(cls, app_dir: Path, protos: Path = PROTOS_FOLDER) -> Worker:
        """
        Index the app in *app_dir* (absolute: the worker imports from there).

        Raises:
            AppDoesNotIndexError: the worker refused it, or there is nothing to index.
        """
        worker = cls(load_messages(protos))
        if str(app_dir) not in sys.path:
            sys.path.insert(0, str(app_dir))
        worker._runtime.start_threadpool_executor()  # sync functions run in its threads
        await worker._index(app_dir)
        return worker

    def stop(self) -> None:
        """Let go of the worker's threads without waiting: a function that still runs must not hold up the end."""
        if pool := self._runtime.get_threadpool_executor():
            pool.shutdown(wait=False, cancel_futures=True)

    async def _index(self, app_dir: Path) -> None:
        messages, script = self.messages, app_dir / os.environ.get(_SCRIPT_SETTING, "function_app.py")
        if not script.is_file():
            message = f"There is no {script.name} in {app_dir}, so there is no app to run."
            raise AppDoesNotIndexError(message)
        init = messages.WorkerInitRequest(host_version="4.1000.0", function_app_directory=str(app_dir))
        answer = await self._runtime.worker_init_request(self._request(worker_init_request=init))
        self._refuse_failure(answer, script)
        ask = messages.FunctionsMetadataRequest(function_app_directory=str(app_dir))
        answer = await self._runtime.functions_metadata_request(self._request(functions_metadata_request=ask))
        self._refuse_failure(answer, script)
        for found in self._wired(answer).function_metadata_results:
            load = messages.FunctionLoadRequest(function_id=found.function_id, metadata=found)
            answer = await self._runtime.function_load_request(self._request(function_load_request=load))
            self._refuse_failure(answer, script)
            bindings = [json.loads(text) for text in found.raw_bindings]
            self.functions[found.name] = Function(found.name, found.function_id, bindings)
        if not self.functions:
            message = f"{script} registers no function."
            raise AppDoesNotIndexError(message)

    async def invoke(
        self, name: str, inputs: Mapping[str, TypedData], metadata: Mapping[str, TypedData] | None = None
    ) -> Outcome:
        """
        Run one function once.

        Args:
            name: the function.
            inputs: typed data by parameter name.
            metadata: the trigger metadata, as the host sends it.

        Raises:
            InvocationError: the function, or the decoding or encoding around it, failed.
        """
        messages = self.messages
        ask = messages.InvocationRequest(
            invocation_id=str(uuid.uuid4()),
            function_id=self.functions[name].function_id,
            input_data=[messages.ParameterBinding(name=k, data=v) for k, v in inputs.items()],
            trigger_metadata=metadata or {},
        )
        answer = self._wired(await self._run_contained(self._request(invocation_request=ask)))
        if answer.result.status != messages.StatusResult.Success:
            raise InvocationError(answer.result.exception.message, answer.result.exception.stack_trace)
        return Outcome(answer.return_value, {out.name: out.data for out in answer.output_data})

    async def _run_contained(self, request: object) -> Any:  # noqa: ANN401 - generated classes have no types
        # The worker catches Exception only. What else a function lets out (SystemExit, a CancelledError of its own)
        # would end a worker process in Azure, which the host starts again; here it would end the host, loop and all.
        try:
            return await self._runtime.invocation_request(request)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            message = "CancelledError: the function was cancelled from within"
            raise InvocationError(message) from error
        except BaseException as error:
            message = f"{type(error).__name__}: {error} (in Azure this would end the worker process)"
            raise InvocationError(message) from error

    def _request(self, **content: object) -> object:
        message = self.messages.StreamingMessage(request_id=str(uuid.uuid4()), **content)
        return _Request(self._wired(message), {"protos": self.messages, "host": "127.0.0.1"})

    @staticmethod
    def _wired(message: Any) -> Any:  # noqa: ANN401 - generated classes have no types
        """Serialise and parse once, so that a value that would not survive gRPC fails here too."""
        return type(message).FromString(message.SerializeToString())

    def _refuse_failure(self, answer: Any, script: Path) -> None:  # noqa: ANN401 - generated classes have no types
        if answer.result.status != self.messages.StatusResult.Success:
            failure = answer.result.exception
            message = f"{script}: the worker refuses this app.\n{failure.message}\n{failure.stack_trace}"
            raise AppDoesNotIndexError(message)


@dataclass(frozen=True)
class _Request:
    """The form in which the worker's handlers take a message."""

    request: Any
    properties: Mapping[str, Any]
