"""Atlas's refusals: each error code with its status, once. The docs page is made from this table."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from simulator.wire import Refused, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ERR = "Atlas error code page (a stored, older copy)"
OAS = "Admin API v2 specification"
LOGS = "vendor's CI logs"
DOC = "Atlas documentation"
WEB = "public code and issues"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row. ``detail`` is our own text: clients branch on the code, then on the status, never on the text."""

    status: int
    detail: str
    source: str


REFUSALS: Mapping[str, Refusal] = {
    "INVALID_VERSION_DATE": Refusal(
        406, "The version in the Accept header is missing or not one of this resource.", DOC
    ),
    "UNSUPPORTED_MEDIA_TYPE": Refusal(
        415, "Content-Type must name a version of this resource.", "unverified, an inference"
    ),
    "USER_UNAUTHORIZED": Refusal(401, "No valid token, or the role is missing.", ERR + "; for a bad token unverified"),
    "NOT_IN_GROUP": Refusal(401, "The project is not visible to this account.", ERR),
    "IP_ADDRESS_NOT_ON_ACCESS_LIST": Refusal(403, "The caller's address is not on the account's access list.", WEB),
    "GROUP_NOT_FOUND": Refusal(404, "There is no such project.", ERR),
    "INVALID_GROUP_ID": Refusal(404, "The project id is not 24 hexadecimal digits.", ERR),
    "CLUSTER_NOT_FOUND": Refusal(404, "There is no such cluster.", ERR),
    "RATE_LIMITED_TOKEN_BUCKET": Refusal(429, "Too many requests to this endpoint set.", DOC),
    "RATE_LIMITED": Refusal(429, "Too many requests.", OAS),
    "UNEXPECTED_ERROR": Refusal(500, "Something went wrong (only on order).", OAS),
    "SERVICE_UNAVAILABLE": Refusal(503, "Try later (only on order).", "unverified, an inference"),
    "INVALID_JSON": Refusal(400, "The body is no JSON object.", "unverified, an inference"),
    "INVALID_ATTRIBUTE": Refusal(400, "A member is unknown or of the wrong type.", "the name is unverified"),
    "MISSING_ATTRIBUTE": Refusal(
        400, "A member that is needed to switch encryption on is missing.", "the name is unverified"
    ),
    "INVALID_QUERY_PARAMETER": Refusal(400, "A query parameter has an impossible value.", "the name is unverified"),
    "INVALID_AZURE_CREDENTIALS": Refusal(
        400, "Atlas cannot sign in to Azure (now and then with good credentials).", ERR + "; " + LOGS
    ),
    "INVALID_AZURE_API_REQUEST": Refusal(
        400, "Azure rejects a parameter: subscription, group, or a key of the wrong kind.", ERR
    ),
    "AZURE_KEY_VAULT_KEY_IDENTIFIER_INVALID_FORMAT": Refusal(400, "The key identifier is not a versioned one.", ERR),
    "AZURE_KEY_VAULT_KEY_NOT_FOUND": Refusal(400, "There is no such key version in the configured vault.", ERR),
    "AZURE_KEY_VAULT_KEY_NOT_ENABLED": Refusal(400, "The key version is disabled.", ERR),
    "AZURE_KEY_VAULT_KEY_EXPIRED": Refusal(400, "The key version has expired.", ERR),
    "AZURE_KEY_VAULT_KEY_EXPIRING": Refusal(400, "The key version expires within 48 hours.", ERR),
    "AZURE_KEY_VAULT_KEY_NOT_ACTIVE": Refusal(400, "The key version is not valid yet.", ERR),
    "ENCRYPTION_AT_REST_SETTINGS_INVALID": Refusal(
        400, "The current key cannot be used, so it cannot be changed.", ERR
    ),
    "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED": Refusal(
        400,
        "The role is not authorized, or the project has no such role.",
        "vendor's Terraform provider; the latter unverified",
    ),
    "RESOURCE_NOT_FOUND": Refusal(404, "There is no such role.", ERR + "; for a role unverified"),
    "CANNOT_DISABLE_ENCRYPTION_AT_REST": Refusal(409, "Encryption at rest is still on for a cluster.", ERR),
    "CANNOT_UPDATE_PAUSED_CLUSTER": Refusal(409, "The cluster is paused or being paused.", ERR),
    "CANNOT_PAUSE_CLUSTER_WITH_PENDING_CHANGES": Refusal(409, "The cluster is being changed.", ERR),
}


def api_error(
    status: int,
    code: str,
    detail: str,
    parameters: Sequence[object] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an ``ApiError``, always ``application/json``, whatever the request accepted."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    body = {"error": status, "errorCode": code, "detail": detail, "reason": reason, "parameters": list(parameters)}
    return json_response(status, body, headers)


def refused(code: str, parameters: Sequence[object] = (), headers: Mapping[str, str] | None = None) -> Refused:
    """Return the refusal of that code to raise."""
    row = REFUSALS[code]
    return Refused(api_error(row.status, code, row.detail, parameters, headers), code)


def oauth_refused(status: int, error: str, description: str) -> Refused:
    """Return a refusal in the token endpoint's own form, where ``error`` is a word."""
    return Refused(json_response(status, {"error": error, "error_description": description}), error)
