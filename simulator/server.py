"""
The simulated cloud behind sockets: real host names over TLS through a CONNECT proxy, on 127.0.0.1 alone.

An app runs against it unchanged: its environment names the proxy, the CA and the identity endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import trustme
import uvicorn

from simulator import identity
from simulator.asgi import cloud_app
from simulator.azure_clouds import CLOUDS
from simulator.control import control_app
from simulator.delivery import Deliverer
from simulator.relay import Relay
from simulator.sinks import TOPIC_REGIONS, WEBHOOK_HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from simulator.asgi import App
    from simulator.cloud import Cloud

NAMES = (
    "cloud.mongodb.com",
    "graph.microsoft.com",
    WEBHOOK_HOST,
    *(cloud.manager_host for cloud in CLOUDS.values()),
    *(cloud.authority for cloud in CLOUDS.values()),
)
"""Names that the proxy lets through besides vaults and topics; what is not simulated behind them answers 501."""
WILDCARDS = (
    *(f"*.{cloud.vault_suffix}" for cloud in CLOUDS.values()),
    # A wildcard stands for one label, so each region of topics needs its own.
    *(f"*.{region}-1.eventgrid.azure.net" for region in TOPIC_REGIONS),
)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A cloud that is being served."""

    cloud: Cloud
    control_url: str
    environment: Mapping[str, str]
    """What the app needs in its environment, and nothing else."""
    proxy: Relay
    deliverer: Deliverer
    """Delivers Event Grid's events; ``await deliverer.subscribe(endpoint, schema)`` does the handshake."""


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone and says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.asynccontextmanager
async def running(cloud: Cloud, *, control_port: int = 0, client_ip: str | None = None) -> AsyncIterator[RunningServer]:
    """
    Serve *cloud* until the block ends.

    Args:
        cloud: should be on a flowing clock: real clients compare its token times with the machine's.
        control_port: the port of the control routes, 0 for a free one.
        client_ip: where every caller seems to come from; as the cloud has it by default.
    """
    cloud.app_address = client_ip or cloud.app_address
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simulator-")))
        servers = _Servers()
        stack.push_async_callback(servers.end)
        proxy, pipe = await _front(stack, servers, cloud, _certificates(folder))
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        deliverer = Deliverer(cloud, client)
        delivery = asyncio.create_task(deliverer.run())
        stack.push_async_callback(_stopped, delivery)
        control = await servers.add(control_app(cloud, deliverer), control_port)
        environment = _environment(cloud, folder, proxy.port, pipe.port)
        yield RunningServer(cloud, f"http://127.0.0.1:{control}", environment, proxy, deliverer)


class _Servers:
    """The HTTP servers of one cloud, each on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self._running: list[tuple[_Server, asyncio.Task[None], socket.socket]] = []

    async def add(self, app: App, port: int = 0, certificate: Path | None = None) -> int:
        """Serve an ASGI app and return its port; ``OSError`` where the port is taken."""
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
            ws="none",
        )
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        # Accepted connections inherit this. asyncio sets it only where the listener was made with a protocol number;
        # without it an answer of two writes waits 40 ms for the other side's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        self._running.append((server, task, listener))
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            await task
        bound: int = listener.getsockname()[1]
        return bound

    async def end(self) -> None:
        """End them all at once: each takes a moment to notice."""
        for server, _, _ in self._running:
            server.should_exit = True
        await asyncio.gather(*(task for _, task, _ in self._running))
        for _, _, listener in self._running:
            listener.close()


async def _front(
    stack: contextlib.AsyncExitStack, servers: _Servers, cloud: Cloud, certificate: Path
) -> tuple[Relay, Relay]:
    relays: list[Relay] = []

    def cut(port: int) -> None:
        for relay in relays:
            relay.cut(port)

    def lets_through(name: str) -> bool:
        return name in NAMES or cloud.service_of(name) in {cloud.key_vault, cloud.sinks}

    tls_port = await servers.add(cloud_app(cloud, cut), 0, certificate)
    identity_port = await servers.add(cloud_app(cloud, cut, identity.HOST))
    relays.extend((Relay(tls_port, lets_through), Relay(identity_port)))
    for relay in relays:
        await relay.start()
        stack.push_async_callback(relay.stop)
    return relays[0], relays[1]


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _certificates(folder: Path) -> Path:
    """Write a CA and a certificate for the simulated names into *folder*; return the server's file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server = folder / "server.pem"
    authority.issue_cert(*NAMES, *WILDCARDS).private_key_and_cert_chain_pem.write_to_path(str(server))
    return server


def _environment(cloud: Cloud, folder: Path, proxy_port: int, identity_port: int) -> Mapping[str, str]:
    proxy, direct, authority = f"http://127.0.0.1:{proxy_port}", "127.0.0.1,localhost", str(folder / "ca.pem")
    return {
        "HTTPS_PROXY": proxy,
        "NO_PROXY": direct,
        # Clients prefer the lower-case names where a machine sets them, so these must not be left to it.
        "https_proxy": proxy,
        "no_proxy": direct,
        "SSL_CERT_FILE": authority,
        "REQUESTS_CA_BUNDLE": authority,
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{identity_port}{identity.PATH}",
        "IDENTITY_HEADER": cloud.identity.header_value,
    }
