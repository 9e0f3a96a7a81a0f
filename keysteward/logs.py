"""
Log lines: a constant message, and its fields behind it.

Microsoft's Python worker passes on the formatted message alone, so what stands in ``extra`` never reaches Application
Insights. The fields are therefore written into the message, as ``message | key=value key=value``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import MutableMapping
from typing import Any


class FieldLogger(logging.LoggerAdapter[logging.Logger]):
    """Takes fields as ``extra``, like any logger, and writes them where the worker keeps them."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:  # noqa: ANN401 - logging's own
        """Move the fields into the message."""
        fields = kwargs.pop("extra", None)
        if not fields:
            return msg, kwargs
        shown = " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
        return f"{msg} | {shown}", kwargs


def get_logger(name: str) -> FieldLogger:
    """Return the logger of a module, by the name that operators filter by."""
    return FieldLogger(logging.getLogger(name))


def quiet_libraries() -> None:
    """Let libraries speak up only where something is wrong: at info they write a line for every call that they make."""
    for name in ("azure", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _shown(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else json.dumps(text)
