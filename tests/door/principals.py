"""Sign-ins as the platform passes them on, and calls that carry them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import azure.functions as func

if TYPE_CHECKING:
    from collections.abc import Mapping

READER, OPERATOR = "Keysteward.Reader", "Keysteward.Operator"
PERSON = "8f1f0a6e-3c1d-4b52-9a77-2f0c5d1e7b90"
CLIENT = "5b0c2a4d-77e1-4f0a-8d3b-6a9e1c2f3d40"
OBJECT_ID_URI = "http://schemas.microsoft.com/identity/claims/objectidentifier"
ROLE_URI = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
NAME_URI = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"


def claim(kind: str, value: object) -> dict[str, object]:
    return {"typ": kind, "val": value}


def signed_in(
    *roles: str,
    role_claim: str = "roles",
    ids: Mapping[str, str] | None = None,
    more: list[Any] | None = None,
    **members: object,
) -> dict[str, Any]:
    """The content of a person's sign-in with these app roles; *members* replace what stands there (None: left out)."""
    claims = [claim(kind, value) for kind, value in ({"oid": PERSON} if ids is None else ids).items()]
    claims += [claim(role_claim, role) for role in roles]
    claims += [claim(NAME_URI, "ada@example.com"), *(more or [])]
    content: dict[str, Any] = {"auth_typ": "aad", "claims": claims, "name_typ": NAME_URI, "role_typ": ROLE_URI}
    return {name: value for name, value in (content | members).items() if value is not None}


def header(content: object) -> str:
    """Write the header of a content, which need not be one that the platform would write."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.b64encode(raw).decode()


def request(principal: str | None = None, *, key: str | None = None, code: str | None = None) -> func.HttpRequest:
    headers = {"x-functions-key": key, "X-MS-CLIENT-PRINCIPAL": principal}
    return func.HttpRequest(
        "POST",
        "https://app.example.com/api/projects",
        headers={name: value for name, value in headers.items() if value is not None},
        params={} if code is None else {"code": code},
        body=b"",
    )
