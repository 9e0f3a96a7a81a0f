"""What stops the host before it serves. Each kind has its own exit code, so that a script can tell them apart."""

from __future__ import annotations


class HostError(Exception):
    """The host cannot serve. The message is for the person who started it."""

    exit_code = 1


class PortTakenError(HostError):
    """Someone else listens on the port."""

    exit_code = 2


class AppDoesNotIndexError(HostError):
    """The worker refused the app. The message carries the worker's own words and its stack trace."""

    exit_code = 3


class ConfigurationError(HostError):
    """``host.json``, ``local.settings.json`` or a setting that every function needs is missing or wrong."""

    exit_code = 4


class FunctionError(Exception):
    """One function cannot start (a wrong schedule, a missing setting); the others can. As the real host does it."""
