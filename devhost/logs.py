"""Log lines for people: time, level, logger, message, then the extra fields as ``key=value``."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# The worker tells every invocation at info; the SDKs tell every request.
_CHATTY = ("azure", "httpx", "httpcore", "aiohttp.access", "asyncio")


class ReadableFormatter(logging.Formatter):
    """One line a record, a stack trace below it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {k}={_shown(v)}" for k, v in vars(record).items() if k not in _KNOWN)
        # Fields stand on the first line, before what a message or an exception adds below.
        first, *rest = record.getMessage().split("\n", 1)
        if record.exc_info:
            rest.append(self.formatException(record.exc_info))
        return "\n".join([f"{at} {record.levelname:<7} {record.name}: {first}{fields}", *rest])


def set_up_logging(*, quiet: bool) -> None:
    """Send all records to stderr, warnings and worse only if *quiet*."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ReadableFormatter())
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _shown(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() or c == '"' for c in text) else text
