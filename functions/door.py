"""
Who may come in, and who that is: every operator route asks ``admit`` before it looks at anything else.

Two modes (``KEYSTEWARD_AUTH``). ``keys``: the Functions host has checked a key before our code runs, and a key opens
all that its route does. ``entra``: App Service authentication ("Easy Auth") stands in front and has checked a token;
the host lets everybody through to us, and what the token grants is checked here. Whatever is neither is refused.

Facts that this rests on:

- ``X-MS-CLIENT-PRINCIPAL`` holds the caller's claims as base64 of ``{"auth_typ", "claims": [{"typ", "val"}],
  "name_typ", "role_typ"}``; claims may have been renamed by a default mapping; the platform sets the header and takes
  none from outside. Source: "Work with user identities in Azure App Service authentication", learn.microsoft.com.
- That holds only where the platform is in front. It says so in ``WEBSITE_AUTH_ENABLED`` (read-only, injected into
  Windows and Linux apps). Source: "Environment variables and app settings in Azure App Service", learn.microsoft.com.
  Where it is not true, anybody could have written the header, so nobody's is believed.
- App roles of an Entra token are in its ``roles`` claim, for users, groups and applications alike; the object id is
  ``oid``. Source: "Access token claims reference", Microsoft identity platform.

Unverified: whether the platform strips the header on ``excludedPaths`` too; so exclude no operator route there.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

import azure.functions as func

from keysteward.errors import RequestError
from keysteward.logs import get_logger

log = get_logger("keysteward.door")

PRINCIPAL_HEADER = "X-MS-CLIENT-PRINCIPAL"
LONGEST_PRINCIPAL = 65_536
"""Characters of the header. A token with its most groups (200) stays far below; the host takes 32 KiB of headers."""

SIGNED_IN = "entra:"
"""What the name of a caller begins with whose sign-in the platform has checked, perhaps by a browser's cookie."""
READER_ROLE, OPERATOR_ROLE = "Keysteward.Reader", "Keysteward.Operator"
_ROLE_CLAIMS = frozenset({"roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})
_OBJECT_ID_CLAIMS = frozenset({"oid", "http://schemas.microsoft.com/identity/claims/objectidentifier"})
_APPLICATION_CLAIMS = frozenset({"appid", "azp"})
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Need(StrEnum):
    """What a route asks of its caller. An operator may do all that a reader may."""

    READER = "reader"
    OPERATOR = "operator"


_OPENS: Mapping[Need, frozenset[str]] = {
    Need.READER: frozenset({READER_ROLE, OPERATOR_ROLE}),
    Need.OPERATOR: frozenset({OPERATOR_ROLE}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whose token the platform has checked."""

    object_id: str
    """Of the user or the service principal, in lower case; an application's client id where there is no other."""
    roles: frozenset[str]


def _mode(environment: Mapping[str, str]) -> str:
    # As the settings read it: trimmed, in exactly this spelling, and blank means the default.
    return environment.get("KEYSTEWARD_AUTH", "").strip() or "keys"


def level_of(environment: Mapping[str, str]) -> func.AuthLevel:
    """Say what the host has to ask for at every operator route: a key, unless tokens are what opens them."""
    return func.AuthLevel.ANONYMOUS if _mode(environment) == "entra" else func.AuthLevel.FUNCTION


AUTH_LEVEL = level_of(os.environ)
"""Of this process. The host indexes the routes once, so it is decided at import."""


def admit(req: func.HttpRequest, need: Need, *, environment: Mapping[str, str] = os.environ) -> str:
    """
    Let a caller in, and say who it is.

    Returns:
        ``entra:<object id>``, ``key:<first 8 hex digits of the key's SHA-256>``, or ``anonymous`` where the host asks
        for no key (a local one).

    Raises:
        RequestError: ``notSignedIn`` (401), ``roleMissing`` (403); ``easyAuthOff``, ``misconfigured`` (503) where
            nobody can be let in; ``internalError`` (500) where it cannot be told.
    """
    try:
        return _admitted(req, need, environment)
    except RequestError:
        raise
    except Exception as error:
        log.exception("the door failed, and stayed shut")
        raise RequestError("internalError", "Who called could not be told; the log has it.") from error


def _admitted(req: func.HttpRequest, need: Need, environment: Mapping[str, str]) -> str:
    match _mode(environment):
        case "keys" if AUTH_LEVEL is func.AuthLevel.FUNCTION:
            return _key_holder(req, environment)
        case "entra" if easy_auth_is_on(environment):
            principal = read_principal(req.headers.get(PRINCIPAL_HEADER))
            if not principal.roles & _OPENS[need]:
                raise RequestError("roleMissing", f"This route needs the app role {_named(need)}.")
            return f"{SIGNED_IN}{principal.object_id}"
        case "entra":
            raise RequestError("easyAuthOff", "The platform does not say that it checks tokens in front of this app.")
        case _:
            # Also "keys" in a process whose routes were registered without: the host has checked nothing.
            detail = "KEYSTEWARD_AUTH is not good, so nobody is let in. GET /api/health says what would be."
            raise RequestError("misconfigured", detail)


def _named(need: Need) -> str:
    return OPERATOR_ROLE if need is Need.OPERATOR else f"{READER_ROLE} or {OPERATOR_ROLE}"


def easy_auth_is_on(environment: Mapping[str, str]) -> bool:
    """Whether the platform says that it checks sign-ins in front of this app."""
    return environment.get("WEBSITE_AUTH_ENABLED", "").strip().lower() == "true"


def _key_holder(req: func.HttpRequest, environment: Mapping[str, str]) -> str:
    """Name the caller whom a key has let in: by a sign-in, where the platform checked one as well, else by the key."""
    header = req.headers.get(PRINCIPAL_HEADER)
    if header is not None and easy_auth_is_on(environment):
        # One that cannot be read, or is no Entra principal's, takes nothing from a caller who holds the key.
        with contextlib.suppress(RequestError):
            return f"{SIGNED_IN}{read_principal(header).object_id}"
    key = req.headers.get("x-functions-key") or req.params.get("code")
    if not key:
        return "anonymous"
    return f"key:{hashlib.sha256(key.encode(errors='backslashreplace')).hexdigest()[:8]}"


def read_principal(header: str | None) -> Principal:
    """
    Read the header that the platform has set.

    Raises:
        RequestError: ``notSignedIn``: there is none, it is malformed or too long, or it is no Entra principal's. The
            text never quotes it: claims are personal data.
    """
    if not header:
        _refuse("No sign-in reached this app.")
    content = _decoded(header)
    if content.get("auth_typ") != "aad":
        _refuse("The sign-in is not Microsoft Entra's.")
    claims = _claims(content)
    role_type = content.get("role_typ")
    role_claims = _ROLE_CLAIMS | {role_type} if isinstance(role_type, str) and role_type else _ROLE_CLAIMS
    return Principal(_object_id(claims), frozenset(value for name, value in claims if name in role_claims))


def _decoded(header: str) -> dict[str, object]:
    if len(header) > LONGEST_PRINCIPAL:
        _refuse(f"The sign-in has more than {LONGEST_PRINCIPAL} characters.")
    try:
        content = json.loads(base64.b64decode(header, validate=True).decode(), object_pairs_hook=_members)
    except (ValueError, RecursionError):
        # The parser's message may quote the claims, so the chain is cut.
        content = None
    return content if isinstance(content, dict) else _refuse("The sign-in is not in the platform's form.")


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member is there twice")
    return found


def _claims(content: Mapping[str, object]) -> list[tuple[str, str]]:
    claims = content.get("claims")
    if not isinstance(claims, list):
        _refuse("The sign-in has no claims.")
    return [_claim(one) for one in claims]


def _claim(one: object) -> tuple[str, str]:
    name, value = (one.get("typ"), one.get("val")) if isinstance(one, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(value, str):
        _refuse("A claim of the sign-in is not in the platform's form.")
    return name, value


def _object_id(claims: list[tuple[str, str]]) -> str:
    found = _values(claims, _OBJECT_ID_CLAIMS) or _values(claims, _APPLICATION_CLAIMS)
    # Of two ids, or of one of another form, nobody could say afterwards who it was.
    if len(found) != 1 or not _UUID.fullmatch(only := found.pop()):
        _refuse("The sign-in does not say, once, whose it is.")
    return only


def _values(claims: list[tuple[str, str]], names: frozenset[str]) -> set[str]:
    return {value.lower() for name, value in claims if name in names}


def _refuse(detail: str) -> NoReturn:
    raise RequestError("notSignedIn", detail)
