"""
The host as a whole: one worker, the web server, the listeners of queues and timers.

Tests and benchmarks: ``async with Host.start(app_dir, settings) as host: host.url``. People: ``python -m devhost``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from devhost import admin, event_grid
from devhost.admin import Admin
from devhost.errors import FunctionError, PortTakenError
from devhost.event_grid import EventGridWebhook
from devhost.http_functions import HttpFunctions
from devhost.invoker import Invoker
from devhost.keys import Keys
from devhost.protocol import PROTOS_FOLDER
from devhost.queue_trigger import QueueListener
from devhost.queues import Queues
from devhost.settings import load_host_options
from devhost.timers import Timer
from devhost.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader
    from aiohttp.web_protocol import RequestHandler

    from devhost.settings import HostOptions
    from devhost.worker import Function

_log = logging.getLogger("devhost.host")

# The real host's limit for a request body.
_LARGEST_BODY = 100 * 1024 * 1024


class Host:
    """A running host. Make it with ``Host.start``; one per process, because the worker's state is process-wide."""

    def __init__(self, worker: Worker, options: HostOptions, settings: Mapping[str, str], keys: Keys) -> None:
        self._options, self._settings = options, settings
        self._queues = Queues(settings, base64_encoded=options.queues.base64)
        self._invoker = Invoker(worker, self._queues, settings)
        self._http = HttpFunctions(self._invoker, keys, options.route_prefix)
        self._event_grid = EventGridWebhook(self._invoker, keys)
        self._timers: dict[str, Timer] = {}
        self._listeners: list[QueueListener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken: dict[str, str] = {}
        self._admin = Admin(self._invoker, keys, self._timers, self.broken, self._keep)
        self.worker = worker
        self.url = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls,
        app_dir: str | Path,
        settings: Mapping[str, str],
        port: int = 0,
        function_key: str | None = None,
        protos: Path = PROTOS_FOLDER,
    ) -> AsyncIterator[Host]:
        """
        Run the app in *app_dir* until the block ends.

        Args:
            app_dir: the folder with ``host.json`` and ``function_app.py``.
            settings: the app's settings. They are put into this process's environment, where the app reads them.
            port: of 127.0.0.1; 0 chooses a free one (see ``url``).
            function_key: the key that every call must carry, None for open calls.
            protos: where the worker's message classes are.

        Raises:
            HostError: it cannot serve (port taken, app refused, settings missing).
        """
        folder = _absolute(app_dir)
        options = load_host_options(folder)
        os.environ.update(settings)
        # The port is taken before the app is indexed: a taken one is the commonest mistake and should show at once.
        with _bound(port) as listening:
            worker = await Worker.start(folder, protos)
            host = cls(worker, options, settings, Keys(function_key))
            runner = web.ServerRunner(web.Server(host._handle, request_factory=_request), shutdown_timeout=0.5)
            await runner.setup()
            try:
                host._begin()
                await web.SockSite(runner, listening).start()
                host.url = "http://{}:{}".format(*listening.getsockname())
                yield host
            finally:
                await host._end(runner)

    def _begin(self) -> None:
        for function in self.worker.functions.values():
            try:
                self._serve(function)
            except FunctionError as error:
                self.broken[function.name] = str(error)
                _log.error("The function %s is in error and will not run: %s", function.name, error)
        for listener in self._listeners:
            self._keep(listener.run_forever())
        for timer in self._timers.values():
            self._keep(timer.run_forever())

    def _serve(self, function: Function) -> None:
        kind = function.trigger_kind
        if kind == "httpTrigger":
            self._http.add(function)
        elif kind == "queueTrigger":
            options = self._options.queues
            self._listeners.append(QueueListener(function, self._invoker, self._queues, options, self._settings))
        elif kind == "timerTrigger":
            self._timers[function.name] = Timer(function, self._invoker, self._settings)
        elif kind != "eventGridTrigger":
            message = f"this host does not know the trigger {kind}"
            raise FunctionError(message)

    def _keep(self, run: Awaitable[None]) -> None:
        task = asyncio.ensure_future(run)
        self._tasks.add(task)
        task.add_done_callback(self._dismiss)

    def _dismiss(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the host ended: %s", error, exc_info=error)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.lower()
        try:
            if path.rstrip("/") == event_grid.PATH:
                return await self._event_grid.handle(request)
            if path.startswith(admin.PREFIX):
                return await self._admin.handle(request)
            return await self._http.handle(request)
        except web.HTTPException as error:
            return web.Response(status=error.status)

    async def _end(self, runner: web.ServerRunner) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(listener.drain() for listener in self._listeners), runner.cleanup())
        await self._queues.close()
        self.worker.stop()


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    # aiohttp's own factory, but for the limit.
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY)


def _absolute(folder: str | Path) -> Path:
    return Path(folder).absolute()  # reads the working directory only; nothing that could block the loop


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        bound.close()
        if error.errno != errno.EADDRINUSE:
            raise
        message = f"Port {port} is taken. Stop what listens there, or choose another with --port (0: any free one)."
        raise PortTakenError(message) from error
    return bound
