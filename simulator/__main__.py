"""``python -m simulator``: serve a simulated cloud until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys

from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.latencies import TABLES
from simulator.server import running
from simulator.worlds import PRESETS


def main() -> int:
    """Parse the arguments and serve. Prints one line of JSON (environment, control URL) and then ``ready``."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description="The cloud in a box, on 127.0.0.1.")
    parser.add_argument("--port-control", type=int, default=0, metavar="N", help="port of the control routes (0: free)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every random choice")
    parser.add_argument("--latencies", choices=list(TABLES), default="none", help="how long answers take")
    parser.add_argument("--world", choices=("empty", *PRESETS), default="empty", help="what is there at the start")
    options = parser.parse_args()
    cloud = Cloud(SimulatedClock.flowing(), options.seed, TABLES[options.latencies])
    if options.world in PRESETS:
        PRESETS[options.world](cloud)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(cloud, options.port_control))
    except OSError as error:
        sys.stderr.write(f"cannot serve the control routes on port {options.port_control}: {error}\n")
        return 1
    return 0


async def _serve(cloud: Cloud, control_port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(cloud, control_port=control_port) as server:
        line = {"environment": dict(server.environment), "control": server.control_url}
        sys.stdout.write(f"{json.dumps(line)}\nready\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
