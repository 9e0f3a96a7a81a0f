"""How plain settings are read: each function takes a text without white space around it, or raises."""

from __future__ import annotations

import re
from typing import Final, Literal

from keysteward.cron import CronError, Schedule, parse_schedule
from keysteward.secret import Secret
from keysteward.settings.setting import Fault, InvalidValueError
from keysteward.vocabulary import PROJECT_ID

type Auth = Literal["keys", "entra"]

ALL_PROJECTS: Final = ("*",)
"""What ``ATLAS_PROJECT_IDS=*`` reads as."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BASE_URL = re.compile(r"https://([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::([0-9]{1,5}))?/?", re.IGNORECASE)
_LARGEST_PORT = 65_535
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
# What can stand in an HTTP header; Atlas's own credentials are of these characters.
_CREDENTIAL = re.compile(r"[!-~]{1,1024}")
_PRINTABLE = re.compile(r"[ -~]{1,1024}")


def project_ids(text: str) -> tuple[str, ...]:
    """Read project ids, or ``*`` as ``ALL_PROJECTS``. An id that is there twice counts once."""
    items = [item.strip() for item in text.split(",")]
    if items == list(ALL_PROJECTS):
        return ALL_PROJECTS
    found = [_project_id_fault(item, number, len(items)) for number, item in enumerate(items, 1)]
    if faults := [fault for fault in found if fault is not None]:
        raise InvalidValueError(*faults)
    return tuple(dict.fromkeys(items))


def _project_id_fault(item: str, number: int, count: int) -> Fault | None:
    which = f"item {number} of {count}"
    if PROJECT_ID.fullmatch(item):
        return None
    if not item:
        return Fault(f"{which} is empty: there is a comma too many")
    if item in ALL_PROJECTS:
        return Fault(f"{which} is *, which stands alone or not at all")
    if PROJECT_ID.fullmatch(item.lower()):
        return Fault(f"{which} has capital letters: project ids are in lower case")
    return Fault(f"{which} is no project id: it has {len(item)} characters, not 24 of 0-9 and a-f")


def base_url(text: str) -> str:
    """Read scheme, host and port of an https address, and give it without a slash at its end."""
    match = _BASE_URL.fullmatch(text)
    if match is not None and int(match[2] or 443) in range(1, _LARGEST_PORT + 1):
        return text.lower().removesuffix("/")
    scheme, _, rest = text.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not rest or scheme.lower() != "https":
        raise InvalidValueError(Fault("does not begin with https://"))
    if "@" in authority:
        raise InvalidValueError(Fault("carries a user name, which does not belong there"))
    if rest.removeprefix(authority).removeprefix("/"):
        raise InvalidValueError(Fault("has a path or a query: scheme and host are enough"))
    raise InvalidValueError(Fault("is not an address of scheme, host and port"))


def flag(text: str) -> bool:
    """Read true, false, 1 or 0, in any case."""
    value = _FLAGS.get(text.lower())
    if value is None:
        raise InvalidValueError(Fault("is none of true, false, 1, 0"))
    return value


def uuid(text: str) -> str:
    """Read a client id, and give it in lower case."""
    if not _UUID.fullmatch(text.lower()):
        raise InvalidValueError(Fault("is not a client id (a UUID)"))
    return text.lower()


def schedule(text: str) -> Schedule:
    """Read the six fields of a timer."""
    try:
        return parse_schedule(text)
    except CronError as error:
        raise InvalidValueError(Fault(str(error))) from None


def auth(text: str) -> Auth:
    """Read who guards the operator routes."""
    match text:
        case "keys" | "entra":
            return text
        case _:
            raise InvalidValueError(Fault("is neither keys nor entra"))


def public_credential(text: str) -> str:
    """Read the part of a credential that is no secret. A colon would end it in a Basic header."""
    if not _CREDENTIAL.fullmatch(text) or ":" in text:
        raise InvalidValueError(Fault("has white space, a colon or other characters that no such id has"))
    return text


def secret_credential(text: str) -> Secret:
    """Read a secret that is sent in a header or a body."""
    if not _CREDENTIAL.fullmatch(text):
        raise InvalidValueError(Fault("has white space, characters that no such secret has, or too many"))
    return Secret(text)


def shared_secret(text: str) -> Secret:
    """Read a secret that two sides have agreed on to sign with."""
    if not _PRINTABLE.fullmatch(text):
        raise InvalidValueError(Fault("has characters beyond printable ASCII, or more than 1,024 of them"))
    return Secret(text)


def plain_text(text: str) -> str:
    """Take the text as it is, for settings that somebody else reads."""
    return text
