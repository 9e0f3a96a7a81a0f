"""
Every problem code of the HTTP API: its status, its title, and what the caller does next.

A code that is not here cannot be raised; ``docs/api.md`` shows this table. Light to import: the guard of every route
needs it. A problem's ``detail`` says what is wrong in the request at hand, this table what the code means at all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemCode:
    """One code: ``status`` is the HTTP status, ``title`` the same in every answer (RFC 9457)."""

    code: str
    status: int
    title: str
    remedy: str


PROBLEM_CODES: dict[str, ProblemCode] = {
    found.code: found
    for found in (
        ProblemCode(
            "bodyMalformed",
            400,
            "The body is not as documented",
            "Send JSON with the members of the route and no others; the detail names the place.",
        ),
        ProblemCode("bodyTooLarge", 413, "The body is too large", "Send at most 65,536 bytes."),
        ProblemCode(
            "contentTypeUnsupported",
            415,
            "The body is not sent as JSON",
            "Send it with Content-Type: application/json.",
        ),
        ProblemCode(
            "parameterUnknown",
            400,
            "The query has a parameter that this route does not take",
            "Look for a slip in its name: the detail lists those that the route takes.",
        ),
        ProblemCode(
            "projectIdMalformed",
            400,
            "That is no project id",
            "Take the id from Atlas (the API's groupId): 24 lower-case hexadecimal digits.",
        ),
        ProblemCode(
            "projectNotFound",
            404,
            "Keysteward does not look after this project",
            "Look for a slip in the id; else add it to ATLAS_PROJECT_IDS.",
        ),
        ProblemCode(
            "operationIdMalformed",
            400,
            "That is no operation id",
            "Take it whole from the Location header or from an audit record.",
        ),
        ProblemCode(
            "operationNotFound", 404, "There is no such operation", "Look for a slip in the id, and for the right app."
        ),
        ProblemCode(
            "keyIdentifierMalformed",
            400,
            "That is no exact key identifier",
            "Write the URL with its version: https://<vault>.vault.azure.net/keys/<name>/<version>.",
        ),
        ProblemCode(
            "requestedVersionUnusable",
            422,
            "Atlas cannot use the version that was asked for",
            "Choose another version; the detail says what this one lacks.",
        ),
        ProblemCode(
            "requestedVersionNotNewer",
            422,
            "The version that was asked for is no step forward",
            "Make a new version of the key and rotate to that: the app never rotates backwards.",
        ),
        ProblemCode(
            "versionNotVerified",
            409,
            "The version could not be judged",
            "Nothing was approved. The detail says what could not be read or does not agree: mend that, and ask again.",
        ),
        ProblemCode(
            "holdEndsInThePast",
            422,
            "The hold would end before it begins",
            "Give until a time to come, or leave it out: the hold then stands until it is lifted.",
        ),
        ProblemCode(
            "holdNotSet", 404, "No hold is set here", "Nothing to do: it was lifted, or it has run out by itself."
        ),
        ProblemCode(
            "vaultNotFound",
            404,
            "No project that Keysteward looks after uses this vault",
            "Look for a slip in the name. A vault is known once a project that uses it was seen (GET /api/projects).",
        ),
        ProblemCode(
            "vaultPlaceUnknown",
            409,
            "Nobody knows where the vault lies",
            "Nothing was done. Give a project on the vault its right subscription and resource group in Atlas, and "
            "reconcile that project.",
        ),
        ProblemCode(
            "vaultBusy",
            409,
            "A sync of the vault is under way",
            "Nothing was claimed, or not all: try again in a minute. Rules that are ours already do no harm.",
        ),
        ProblemCode(
            "rulesNotRead",
            409,
            "The vault's rules could not be read",
            "Nothing was claimed. The detail says what stood in the way: mend that, and ask again.",
        ),
        ProblemCode(
            "rulesNotThere",
            422,
            "The vault has no such rules",
            "Nothing was claimed. The detail names them: take values from GET /api/vaults/{vaultName}, and leave out "
            "what is not in its list.",
        ),
        ProblemCode(
            "reasonMalformed", 400, "That is no reason", "Say why in 1 to 500 characters; it goes into the audit trail."
        ),
        ProblemCode("waitMalformed", 400, "That is no time to wait", "Write wait as whole seconds from 0 to 60."),
        ProblemCode("limitMalformed", 400, "That is no limit", "Write limit as a number from 1 to 200."),
        ProblemCode("sinceMalformed", 400, "That is no time", "Write since with its offset, as 2026-11-24T06:00:00Z."),
        ProblemCode(
            "cursorMalformed", 400, "That is no cursor", "Pass nextCursor of the page before, unchanged, or nothing."
        ),
        ProblemCode("vaultNameMalformed", 400, "That is no vault name", "Write the name alone, without its host."),
        ProblemCode("filtersExclusive", 422, "Two filters exclude each other", "Filter by project or by vault."),
        ProblemCode(
            "notSignedIn",
            401,
            "Nobody is signed in",
            "Sign in with Microsoft Entra, or send a token for this app; the detail says what the sign-in lacks.",
        ),
        ProblemCode(
            "roleMissing",
            403,
            "The caller lacks the app role",
            "Ask for the role in the enterprise application: Keysteward.Reader to look, Keysteward.Operator to act.",
        ),
        ProblemCode(
            "webhookOff",
            404,
            "No webhook is set up here",
            "Set KEYSTEWARD_ATLAS_WEBHOOK_SECRET to the secret of the webhook in Atlas.",
        ),
        ProblemCode(
            "signatureWrong",
            401,
            "The signature is not Atlas's",
            "Give the webhook in Atlas the secret that KEYSTEWARD_ATLAS_WEBHOOK_SECRET has.",
        ),
        ProblemCode(
            "idempotencyKeyMalformed",
            400,
            "That is no Idempotency-Key",
            "Send 1 to 255 printable ASCII characters, such as a UUID made for this one order.",
        ),
        ProblemCode(
            "idempotencyKeyReused",
            422,
            "This Idempotency-Key stands for another order",
            "Send a new key with a new order; repeat an order with its own body.",
        ),
        ProblemCode(
            "easyAuthOff",
            503,
            "Nobody checks sign-ins in front of this app",
            "Switch App Service authentication on, or set KEYSTEWARD_AUTH to keys.",
        ),
        ProblemCode(
            "holdChanged",
            409,
            "The hold is another one by now",
            "Look at the hold that is in force, and lift that one if it is the one you mean.",
        ),
        ProblemCode(
            "misconfigured",
            503,
            "The app is not configured",
            "GET /api/health names every wrong setting with a good value.",
        ),
        ProblemCode(
            "storageUnavailable",
            503,
            "The app's storage does not answer",
            "Try again in a minute; the log says what the storage account answered.",
        ),
        ProblemCode(
            "internalError",
            500,
            "The request failed",
            "Nothing that was asked for may be taken as done: look at the log, then at the audit trail.",
        ),
    )
}
"""Every code, in the order of the docs."""
