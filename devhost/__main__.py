"""``python -m devhost``: run the Functions app of a folder until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from devhost.errors import HostError
from devhost.host import Host
from devhost.logs import set_up_logging
from devhost.settings import load_settings

# After this, what still runs (a function's thread) is left behind: the host's end must not hang on it.
_END_SECONDS = 1.8


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    set_up_logging(quiet=options.quiet)
    try:
        asyncio.run(_serve(options))
    except HostError as error:
        sys.stderr.write(f"devhost: {error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devhost", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="port of 127.0.0.1; 0 chooses a free one (7071)")
    parser.add_argument("--function-key", metavar="K", help="refuse calls that do not carry this key")
    parser.add_argument("--app", type=Path, default=Path(), metavar="DIR", help="folder of the app (the current one)")
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    app_dir = options.app.resolve()
    # The app finds its files beside host.json, as in Azure, where that folder is the working directory.
    os.chdir(app_dir)
    settings = load_settings(app_dir, os.environ)
    async with Host.start(app_dir, settings, options.port, options.function_key) as host:
        sys.stdout.write(f"ready {host.url}\n")
        sys.stdout.flush()
        await stop.wait()
        loop.call_later(_END_SECONDS, _leave)
    _leave()


def _leave() -> None:
    # A sync function's thread cannot be cancelled, and the interpreter would wait for it at exit.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
