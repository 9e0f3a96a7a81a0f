"""
Where the app's storage is and how it signs in there, from the host's own settings.

Pure. All of these settings may hold secrets, so no problem and no repr ever quotes one.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTING = "AzureWebJobsStorage"
SERVICES = ("blob", "queue", "table")
_GOOD_STRING = "DefaultEndpointsProtocol=https;AccountName=<account>;AccountKey=<key>;EndpointSuffix=core.windows.net"
_UNRESOLVED = "@microsoft.keyvault("
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_SUFFIX = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?")
_CLIENT_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# The emulator's endpoints; its public account and key stand in the SDKs.
_DEVELOPMENT_TABLES = "http://127.0.0.1:10002/devstoreaccount1"
_DEVELOPMENT_QUEUES = "http://127.0.0.1:10001/devstoreaccount1"


class ConnectionProblem(NamedTuple):
    """One wrong or missing setting: its name, what is wrong (never its value), and what a good value looks like."""

    name: str
    what: str
    good_value: str


@dataclass(frozen=True, slots=True)
class AccountKey:
    account: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SharedAccessSignature:
    signature: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    client_id: str | None
    """The user-assigned identity; None: the system-assigned one."""


@dataclass(frozen=True, slots=True)
class StorageConnection:
    """Endpoints without query, and how to sign in; ``credential`` is None for the local emulator at its own ports."""

    table_endpoint: str
    queue_endpoint: str
    credential: AccountKey | SharedAccessSignature | ManagedIdentity | None

    @property
    def is_development(self) -> bool:
        """Say whether this is ``UseDevelopmentStorage=true``, whose account and key only the SDKs know."""
        return self.credential is None


def parse_storage_connection(environment: Mapping[str, str]) -> StorageConnection | tuple[ConnectionProblem, ...]:
    """
    Read ``AzureWebJobsStorage`` or, where that is absent or empty, its ``__`` forms for an identity.

    The Functions host looks in the same order. Returns every problem at once.
    """
    text = environment.get(SETTING, "").strip()
    if not text:
        return _parse_identity(environment)
    if _is_unresolved(text):
        return (_unresolved(SETTING, _GOOD_STRING),)
    return _parse_string(text)


def _parse_string(text: str) -> StorageConnection | tuple[ConnectionProblem, ...]:
    parts: dict[str, str] = {}
    for segment in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = segment.partition("=")
        if not equals or not name.strip():
            return (_string_problem("has a part that is not of the form name=value"),)
        if parts.setdefault(name.strip().lower(), value.strip()) != value.strip():
            return (_string_problem("names a part twice, with two values"),)
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        if len(parts) > 1:
            return (_string_problem("has UseDevelopmentStorage=true beside other parts"),)
        return StorageConnection(_DEVELOPMENT_TABLES, _DEVELOPMENT_QUEUES, None)
    return _from_parts(parts)


def _from_parts(parts: Mapping[str, str]) -> StorageConnection | tuple[ConnectionProblem, ...]:
    problems: list[ConnectionProblem] = []
    credential = _string_credential(parts, problems)
    endpoints = {service: _string_endpoint(parts, service, problems) for service in ("table", "queue")}
    if problems or credential is None:
        return tuple(dict.fromkeys(problems))
    return StorageConnection(endpoints["table"], endpoints["queue"], credential)


def _string_credential(
    parts: Mapping[str, str], problems: list[ConnectionProblem]
) -> AccountKey | SharedAccessSignature | None:
    account, key, signature = (parts.get(name, "") for name in ("accountname", "accountkey", "sharedaccesssignature"))
    if key:
        if not account:
            problems.append(_string_problem("has AccountKey but no AccountName"))
        if not _is_base64(key):
            problems.append(_string_problem("has an AccountKey that is not base64, so it is not whole"))
        return AccountKey(account, key)
    if signature:
        return SharedAccessSignature(signature.lstrip("?"))
    problems.append(_string_problem("has neither AccountKey nor SharedAccessSignature"))
    return None


def _string_endpoint(parts: Mapping[str, str], service: str, problems: list[ConnectionProblem]) -> str:
    name = f"{service.capitalize()}Endpoint"
    if given := parts.get(name.lower()):
        if wrong := _endpoint_fault(given, secure=False):
            problems.append(_string_problem(f"has a {name} that {wrong}"))
        return given.rstrip("/")
    account, suffix = parts.get("accountname", ""), parts.get("endpointsuffix", "core.windows.net").lower()
    protocol = parts.get("defaultendpointsprotocol", "https").lower()
    if protocol not in {"http", "https"}:
        problems.append(_string_problem("has a DefaultEndpointsProtocol other than https and http"))
    if not account:
        problems.append(_string_problem(f"has neither AccountName nor {name}"))
    elif not _ACCOUNT.fullmatch(account):
        problems.append(_string_problem("has an AccountName that is not 3 to 24 lower-case letters and digits"))
    if not _SUFFIX.fullmatch(suffix):
        problems.append(_string_problem("has an EndpointSuffix that is no host name"))
    return f"{protocol}://{account}.{service}.{suffix}"


def _parse_identity(environment: Mapping[str, str]) -> StorageConnection | tuple[ConnectionProblem, ...]:
    names = {service: f"{SETTING}__{service}ServiceUri" for service in SERVICES}
    account_name = f"{SETTING}__accountName"
    given = {name: environment.get(name, "").strip() for name in (*names.values(), account_name)}
    if not any(given.values()):
        what = "is missing: neither a connection string nor the settings for an identity are there"
        return (ConnectionProblem(SETTING, what, f"{_GOOD_STRING}, or {account_name}=<account> for an identity"),)
    problems: list[ConnectionProblem] = []
    endpoints = {
        service: _identity_endpoint(name, service, given[name], given[account_name], problems)
        for service, name in names.items()
    }
    if given[account_name]:
        _check_account(account_name, given[account_name], problems)
    credential = _identity(environment, problems)
    if problems:
        return tuple(problems)
    return StorageConnection(endpoints["table"], endpoints["queue"], credential)


def _identity_endpoint(name: str, service: str, uri: str, account: str, problems: list[ConnectionProblem]) -> str:
    good = f"https://<account>.{service}.core.windows.net"
    if not uri and account:
        # As the host does it: the account's name alone means the public cloud.
        return f"https://{account}.{service}.core.windows.net"
    if not uri:
        # The app itself needs no blobs, but the host does (keys, locks of timers) and starts badly without.
        problems.append(ConnectionProblem(name, "is missing; the other services are given one by one", good))
    elif _is_unresolved(uri):
        problems.append(_unresolved(name, good))
    elif wrong := _endpoint_fault(uri, secure=True):
        problems.append(ConnectionProblem(name, wrong, good))
    return uri.rstrip("/")


def _check_account(name: str, account: str, problems: list[ConnectionProblem]) -> None:
    if _is_unresolved(account):
        problems.append(_unresolved(name, "<account>"))
    elif not _ACCOUNT.fullmatch(account):
        what = "is no account name: 3 to 24 lower-case letters and digits"
        problems.append(ConnectionProblem(name, what, "mystorageaccount"))


def _identity(environment: Mapping[str, str], problems: list[ConnectionProblem]) -> ManagedIdentity:
    kind_name, client_name = f"{SETTING}__credential", f"{SETTING}__clientId"
    kind, client_id = (environment.get(name, "").strip() for name in (kind_name, client_name))
    if _is_unresolved(kind):
        problems.append(_unresolved(kind_name, "managedidentity"))
    elif kind and kind.lower() != "managedidentity":
        problems.append(
            ConnectionProblem(kind_name, "is a kind of credential that is not supported", "managedidentity")
        )
    good_client = "00000000-0000-0000-0000-000000000000"
    if _is_unresolved(client_id):
        problems.append(_unresolved(client_name, good_client))
    elif client_id and not _CLIENT_ID.fullmatch(client_id):
        problems.append(ConnectionProblem(client_name, "is no client id of a user-assigned identity", good_client))
    return ManagedIdentity(client_id or None)


def _endpoint_fault(uri: str, *, secure: bool) -> str:
    """Say what is wrong with an endpoint's address, or nothing."""
    try:
        parts = urlsplit(uri)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "is no address"
    if secure and parts.scheme != "https":
        return "does not start with https://, which signing in with an identity needs"
    if parts.scheme not in {"http", "https"} or not has_host or re.search(r"[\s\\]", uri):
        return "is no http or https address"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "carries more than scheme, host and path"
    return ""


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def _is_unresolved(text: str) -> bool:
    return _UNRESOLVED in text.lower()


def _unresolved(name: str, good_value: str) -> ConnectionProblem:
    what = (
        "is still a Key Vault reference: the platform could not resolve it "
        "(does the app's identity have access to that secret, and does the secret exist?)"
    )
    return ConnectionProblem(name, what, good_value)


def _string_problem(what: str) -> ConnectionProblem:
    return ConnectionProblem(SETTING, what, _GOOD_STRING)
