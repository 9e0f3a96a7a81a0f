"""Where the host gets its settings: ``local.settings.json``, which the environment overrides, and ``host.json``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from devhost.errors import ConfigurationError, FunctionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STORAGE_SETTING = "AzureWebJobsStorage"


@dataclass(frozen=True)
class QueueOptions:
    """
    ``extensions.queues`` of host.json, with the real host's defaults.

    Source: ``QueuesOptions`` of the storage extension: batchSize 16 (32 at most), newBatchThreshold half of it,
    maxPollingInterval one minute, visibilityTimeout zero, maxDequeueCount 5.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_polling_interval: timedelta = timedelta(minutes=1)
    visibility_timeout: timedelta = timedelta(0)
    max_dequeue_count: int = 5
    base64: bool = True


@dataclass(frozen=True)
class HostOptions:
    """The parts of host.json that this host knows."""

    route_prefix: str = "api"
    queues: QueueOptions = field(default_factory=QueueOptions)


def load_settings(app_dir: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """
    Give the app's settings: the ``Values`` of ``local.settings.json``, overridden by *environment*.

    Raises:
        ConfigurationError: the file is no such file. No value is quoted: they may be secrets.
    """
    path = app_dir / "local.settings.json"
    if not path.is_file():
        return dict(environment)
    content = _read_json(path)
    values = content.get("Values", {})
    if content.get("IsEncrypted"):
        message = (
            f"{path} is encrypted (IsEncrypted), which only Core Tools can read. Decrypt it, or use the environment."
        )
        raise ConfigurationError(message)
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        message = f"{path}: Values must be an object of strings."
        raise ConfigurationError(message)
    return {**values, **environment}


def load_host_options(app_dir: Path) -> HostOptions:
    """
    Read ``host.json``.

    Raises:
        ConfigurationError: it is missing, no JSON, of another version, or one of the values known here is wrong.
    """
    path = app_dir / "host.json"
    if not path.is_file():
        message = f"There is no host.json in {app_dir}. Start the host in the app's folder, or name it with --app."
        raise ConfigurationError(message)
    content = _read_json(path)
    if content.get("version") != "2.0":
        message = f'{path}: "version" must be "2.0".'
        raise ConfigurationError(message)
    extensions = content.get("extensions", {})
    try:
        prefix = str(extensions.get("http", {}).get("routePrefix", "api")).strip("/")
        return HostOptions(prefix, _queue_options(extensions.get("queues", {})))
    except (AttributeError, TypeError, ValueError) as error:
        message = f"{path}: {error}"
        raise ConfigurationError(message) from error


def time_span(text: str) -> timedelta:
    """Read a .NET time span, ``[d.]hh:mm:ss[.fff]``. Raises ValueError for anything else."""
    match = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d{1,7})?)", text)
    if match is None:
        message = f"{text!r} is not a time span (hh:mm:ss)"
        raise ValueError(message)
    days, hours, minutes, seconds = match.groups()
    return timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=float(seconds))


def resolve(text: str, settings: Mapping[str, str]) -> str:
    """
    Replace each ``%NAME%`` by that setting, as the host does in binding properties.

    Raises:
        FunctionError: a setting is missing or empty. The real host reports that function as in error and goes on.
    """

    def value(match: re.Match[str]) -> str:
        if not (found := settings.get(match[1])):
            message = f"'%{match[1]}%' does not resolve to a value: the setting {match[1]} is missing or empty"
            raise FunctionError(message)
        return found

    return re.sub(r"%([^%]+)%", value, text)


def _queue_options(content: Mapping[str, Any]) -> QueueOptions:
    defaults = QueueOptions()
    batch_size = _whole(content, "batchSize", defaults.batch_size, 1, 32)
    encoding = str(content.get("messageEncoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        message = f"messageEncoding must be base64 or none, not {encoding!r}"
        raise ValueError(message)
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=_whole(content, "newBatchThreshold", batch_size // 2, 0, 10_000),
        max_polling_interval=_span(content, "maxPollingInterval", defaults.max_polling_interval),
        visibility_timeout=_span(content, "visibilityTimeout", defaults.visibility_timeout),
        max_dequeue_count=_whole(content, "maxDequeueCount", defaults.max_dequeue_count, 1, 10_000),
        base64=encoding == "base64",
    )


def _whole(content: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = content.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        message = f"{name} must be a whole number from {least} to {most}"
        raise ValueError(message)
    return value


def _span(content: Mapping[str, Any], name: str, default: timedelta) -> timedelta:
    return time_span(str(content[name])) if name in content else default


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        # The parser's own message would quote the file's text, which may be a secret.
        position = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        message = f"{path} cannot be read as JSON{position}."
        raise ConfigurationError(message) from None
    if not isinstance(content, dict):
        message = f"{path} must hold a JSON object."
        raise ConfigurationError(message)
    return content
