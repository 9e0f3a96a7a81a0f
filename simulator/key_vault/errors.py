"""Key Vault's refusals: status, code and inner code. Clients branch on these, never on the text."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.wire import Refused, Response, json_response

KVD = "Key Vault documentation (REST error codes, logging)"
ISSUES = "public issues that quote live answers"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row: what the service answers and where that is known from."""

    status: int
    code: str
    inner: str | None
    meaning: str
    source: str


UNAUTHORIZED = Refusal(401, "Unauthorized", None, "no token, or none for this audience", KVD)
FIREWALL = Refusal(403, "Forbidden", "ForbiddenByFirewall", "the caller's address is not allowed", KVD)
CONNECTION = Refusal(403, "Forbidden", "ForbiddenByConnection", "public access is off", ISSUES)
RBAC = Refusal(403, "Forbidden", "ForbiddenByRbac", "no role grants the data action", KVD)
POLICY = Refusal(403, "Forbidden", "ForbiddenByPolicy", "the access policy lacks the permission", KVD)
KEY_NOT_FOUND = Refusal(404, "KeyNotFound", None, "no such key or version, or it is deleted", "tried with the real SDK")
BAD_PARAMETER = Refusal(400, "BadParameter", None, "a parameter is missing or impossible", KVD)
THROTTLED = Refusal(429, "Throttled", None, "too many requests (only on order)", KVD)
KEY_DISABLED = Refusal(403, "Forbidden", "KeyDisabled", "rotating a disabled key", "unverified, an inference")

REFUSALS = (
    UNAUTHORIZED,
    FIREWALL,
    CONNECTION,
    RBAC,
    POLICY,
    KEY_NOT_FOUND,
    BAD_PARAMETER,
    THROTTLED,
    KEY_DISABLED,
)


def error_response(
    status: int, code: str, text: str, inner: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return an error in Key Vault's form: ``{"error": {"code", "message", "innererror"}}``."""
    error: dict[str, object] = {"code": code, "message": text}
    if inner:
        error["innererror"] = {"code": inner}
    return json_response(status, {"error": error}, headers, "application/json; charset=utf-8")


def refused(refusal: Refusal, text: str, headers: dict[str, str] | None = None) -> Refused:
    """Return the refusal to raise."""
    response = error_response(refusal.status, refusal.code, text, refusal.inner, headers)
    return Refused(response, refusal.inner or refusal.code)
