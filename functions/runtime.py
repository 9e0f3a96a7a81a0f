"""
The one app of this process, made on first use.

Nothing is imported or read at start beyond what the worker needs to index the functions: an import error there would
show as an app without functions, and every import delays a cold start.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keysteward.logs import get_logger, quiet_libraries

if TYPE_CHECKING:
    from keysteward.app import App
    from keysteward.problem import Problem

log = get_logger("keysteward.runtime")
ROOT = Path(__file__).resolve().parent.parent
UP_SINCE = datetime.now(UTC)

quiet_libraries()


class MisconfiguredError(Exception):
    """The settings are wrong; ``problems`` says all of it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("settings are wrong or missing: see /api/health")
        self.problems = problems


class _Process:
    app: App | None = None
    problems: tuple[Problem, ...] | None = None
    making = asyncio.Lock()


async def get_app() -> App:
    """
    Return the app, making it if need be.

    Raises:
        MisconfiguredError: settings are wrong. They are read once: changing one restarts the process.
    """
    async with _Process.making:
        if _Process.app is None and _Process.problems is None:
            _make()
    if _Process.app is None:
        raise MisconfiguredError(_Process.problems or ())
    return _Process.app


def _make() -> None:
    from keysteward.app import build  # noqa: PLC0415 - imported with the first call, not at a cold start
    from keysteward.settings import Settings, parse_settings  # noqa: PLC0415 - likewise

    parsed = parse_settings(os.environ, _read_file)
    if isinstance(parsed, Settings):
        _Process.app = build(parsed)
        return
    _Process.problems = parsed
    for problem in parsed:
        log.error(
            "a setting is wrong",
            extra={"setting": problem.name, "place": problem.place, "what": problem.what, "good": problem.good_value},
        )


def _read_file(name: str) -> str:
    """Read a policy file beside ``host.json``; the name has no path in it."""
    return (ROOT / name).read_text(encoding="utf-8-sig")
