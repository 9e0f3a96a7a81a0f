"""
Settings that are JSON: who is told, when secrets end, and the secrets by project.

These may all hold secrets, so a fault names the place by position, and by name only where the name is the format's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

from keysteward.secret import Secret
from keysteward.settings.setting import Fault, InvalidValueError
from keysteward.settings.values import secret_credential, shared_secret
from keysteward.strict_json import JsonError, kind_of, parse_json
from keysteward.vocabulary import PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keysteward.problem import Path

type NotifyKind = Literal["teams", "slack", "webhook", "eventgrid"]

ATLAS_SERVICE_ACCOUNT = "atlasServiceAccount"
AZURE_APPLICATION = "azureApplication:"

_NOTIFY_MEMBERS: dict[str, tuple[str, ...]] = {
    "teams": ("url",),
    "slack": ("url",),
    "webhook": ("url", "secret"),
    "eventgrid": ("endpoint",),
}
_GOOD_URL = "https://hooks.example.com/keysteward"
_URL = re.compile(r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?][!-~]{0,4096})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_APPLICATION = re.compile(AZURE_APPLICATION + r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """Where outcomes go. The address is a secret too: who knows it can write there."""

    kind: NotifyKind
    url: Secret
    signing_secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class AzureClientSecrets:
    """Secrets of the Azure applications that Atlas signs in with: one for every project, or one a project."""

    for_all: Secret | None = None
    by_project: Mapping[str, Secret] = MappingProxyType({})

    def for_project(self, project_id: str) -> Secret | None:
        """Give the secret to send for this project; None: send none."""
        return self.for_all or self.by_project.get(project_id)


def azure_client_secrets(text: str) -> AzureClientSecrets:
    """Read one secret, or a JSON object of project id to secret."""
    if not text.startswith("{"):
        return AzureClientSecrets(for_all=secret_credential(text))
    faults: list[Fault] = []
    found: dict[str, Secret] = {}
    for position, (project_id, secret) in enumerate(_object(_json(text)).items(), 1):
        path = (f"#{position}",)
        if not PROJECT_ID.fullmatch(project_id):
            faults.append(Fault("is under a name that is no project id", path))
        elif not isinstance(secret, str):
            faults.append(Fault(f"is {kind_of(secret)}, not a text", path))
        elif (value := _checked(secret, path, faults)) is not None:
            found[project_id] = value
    if not found and not faults:
        faults.append(Fault("is an empty object: leave the setting out instead"))
    _raise_if_any(faults)
    return AzureClientSecrets(by_project=MappingProxyType(found))


def _checked(secret: str, path: Path, faults: list[Fault]) -> Secret | None:
    try:
        return secret_credential(secret)
    except InvalidValueError as error:
        faults.extend(fault._replace(path=path) for fault in error.faults)
        return None


def secret_expiry(text: str) -> Mapping[str, date]:
    """Read end dates by ``atlasServiceAccount`` and ``azureApplication:<client id>`` (in lower case)."""
    faults: list[Fault] = []
    found: dict[str, date] = {}
    for position, (name, end) in enumerate(_object(_json(text)).items(), 1):
        path = (name if name == ATLAS_SERVICE_ACCOUNT else f"#{position}",)
        folded = (
            name
            if name == ATLAS_SERVICE_ACCOUNT
            else AZURE_APPLICATION + name.lower().removeprefix(AZURE_APPLICATION.lower())
        )
        if name != ATLAS_SERVICE_ACCOUNT and not _APPLICATION.fullmatch(folded):
            what = f"is under a name that is neither {ATLAS_SERVICE_ACCOUNT} nor {AZURE_APPLICATION}<client id>"
            faults.append(Fault(what, path))
        elif folded in found:
            faults.append(Fault("is there twice: client ids are compared without case", path))
        elif (day := _date(end)) is None:
            faults.append(Fault("is not a date", path, '"2027-03-01"'))
        else:
            found[folded] = day
    _raise_if_any(faults)
    return MappingProxyType(found)


def _date(value: object) -> date | None:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def notify_targets(text: str) -> tuple[NotifyTarget, ...]:
    """Read the list of who is told."""
    value = _json(text)
    if not isinstance(value, list):
        raise InvalidValueError(Fault(f"is {kind_of(value)}, not a list"))
    faults: list[Fault] = []
    targets = [_target(item, (index,), faults) for index, item in enumerate(value)]
    _raise_if_any(faults)
    return tuple(target for target in targets if target is not None)


def _target(value: object, path: Path, faults: list[Fault]) -> NotifyTarget | None:
    if not isinstance(value, dict):
        faults.append(Fault(f"is {kind_of(value)}, not an object", path))
        return None
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _NOTIFY_MEMBERS:
        faults.append(Fault("is none of " + ", ".join(_NOTIFY_MEMBERS), (*path, "kind"), '"webhook"'))
        return None
    members = _NOTIFY_MEMBERS[kind]
    for position, name in enumerate(value, 1):
        if name not in {"kind", *members}:
            what = f"is not a member of a target of kind {kind}"
            faults.append(Fault(what, (*path, f"#{position}"), "only kind, " + ", ".join(members)))
    url = _url(value.get(members[0]), (*path, members[0]), faults)
    secret = _signing_secret(value.get("secret"), (*path, "secret"), faults) if "secret" in members else None
    return None if url is None else NotifyTarget(cast("NotifyKind", kind), url, secret)


def _url(value: object, path: Path, faults: list[Fault]) -> Secret | None:
    if isinstance(value, str) and _URL.fullmatch(value):
        return Secret(value)
    faults.append(Fault("is missing" if value is None else "is not an https address", path, f'"{_GOOD_URL}"'))
    return None


def _signing_secret(value: object, path: Path, faults: list[Fault]) -> Secret | None:
    if isinstance(value, str) and value.strip():
        try:
            return shared_secret(value)
        except InvalidValueError as error:
            faults.extend(fault._replace(path=path) for fault in error.faults)
            return None
    faults.append(Fault("is missing: the receiver checks the signature with it", path, '"a long random text"'))
    return None


def _json(text: str) -> object:
    try:
        return parse_json(text)
    except JsonError as error:
        raise InvalidValueError(Fault(str(error))) from None


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidValueError(Fault(f"is {kind_of(value)}, not an object"))
    return value


def _raise_if_any(faults: list[Fault]) -> None:
    if faults:
        raise InvalidValueError(*faults)
