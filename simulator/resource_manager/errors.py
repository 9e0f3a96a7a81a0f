"""Resource Manager's refusals. Clients branch on the status and the code, never on the text."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.wire import Refused, Response, json_response

DOC = "Key Vault and Resource Manager documentation (common error codes, request limits)"
CONTENT_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row: what the service answers and where that is known from."""

    status: int
    code: str
    meaning: str
    source: str


NO_TOKEN = Refusal(401, "AuthenticationFailed", "no Authorization header", "the name is unverified")
BAD_TOKEN = Refusal(
    401, "InvalidAuthenticationToken", "a token for another audience, or one that has ended", "the name is unverified"
)
NO_VERSION = Refusal(400, "MissingApiVersionParameter", "no api-version", "the name is unverified")
BAD_VERSION = Refusal(400, "InvalidApiVersionParameter", "an api-version that is not served", "the name is unverified")
BAD_CURSOR = Refusal(400, "BadRequest", "a $skiptoken that is not one of ours", DOC)
NO_SUBSCRIPTION = Refusal(404, "SubscriptionNotFound", "no such subscription", "the name is unverified")
NO_GROUP = Refusal(404, "ResourceGroupNotFound", "no such resource group in the subscription", DOC)
NO_VAULT = Refusal(404, "ResourceNotFound", "no such vault in the group, or the key is gone", DOC)
NOT_ALLOWED = Refusal(403, "AuthorizationFailed", "no role of the app grants the action", DOC)
LOCKED = Refusal(409, "ScopeLocked", "a write while a read-only lock stands on the vault", "the answer is unverified")
DENIED = Refusal(403, "RequestDisallowedByPolicy", "an Azure Policy denies the write", "the name is unverified")
LINKED = Refusal(
    403,
    "LinkedAuthorizationFailed",
    "a write names a subnet that the writer may not join: a new one, or on order any",
    "Key Vault documentation; for unchanged subnets unverified",
)
BAD_BODY = Refusal(400, "InvalidRequestContent", "a body of another shape", "the name is unverified")
BAD_RULE = Refusal(
    400,
    "BadRequest",
    "a rule or another member has an impossible value: IPv6, bits set behind the prefix, a range that is private",
    f"{DOC}; Azure/azure-powershell issue 11471; for other ranges, IPv6 and bits behind the prefix unverified",
)
TOO_MANY = Refusal(400, "BadRequest", "more than 1,000 address rules or 200 network rules", "the code is unverified")
CONFLICT = Refusal(409, "ConflictError", "several writes of a vault at once (on order, and in the background)", DOC)
THROTTLED = Refusal(
    429, "TooManyRequests", "the bucket of reads or of writes is empty", DOC + "; the name is unverified"
)

REFUSALS = (
    NO_TOKEN,
    BAD_TOKEN,
    NO_VERSION,
    BAD_VERSION,
    BAD_CURSOR,
    NO_SUBSCRIPTION,
    NO_GROUP,
    NO_VAULT,
    NOT_ALLOWED,
    LOCKED,
    DENIED,
    LINKED,
    BAD_BODY,
    BAD_RULE,
    TOO_MANY,
    CONFLICT,
    THROTTLED,
)


def error_response(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> Response:
    """Return a ``CloudError``."""
    return json_response(status, {"error": {"code": code, "message": text}}, headers, CONTENT_TYPE)


def refused(refusal: Refusal, text: str, headers: dict[str, str] | None = None) -> Refused:
    """Return the refusal to raise."""
    return Refused(error_response(refusal.status, refusal.code, text, headers), refusal.code)
