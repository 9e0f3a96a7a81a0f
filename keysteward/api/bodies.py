"""
The bodies that routes take. An unknown member is refused: a slip such as ``dryrun`` must not act.

Light to import, since the routes name these types when they are registered.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

LONGEST_REASON = 500
SAYS_SOMETHING = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
"""One character that can be seen: spelt out, since no two dialects of patterns agree on what white space is."""
# For readers of the document. ``KeyIdentifier.parse`` judges: it forgives capitals in scheme, host and version, a port
# of 443 and a slash at the end, and no vault name of more than 24 characters, which no plain pattern can say.
IDENTIFIER_PATTERN = (
    r"^https://[A-Za-z](?:-?[A-Za-z0-9]){1,23}\.(?:vault\.azure\.net|vault\.azure\.cn"
    r"|vault\.usgovcloudapi\.net)/keys/[A-Za-z0-9-]{1,127}/[0-9a-f]{32}$"
)

LONGEST_CLAIM = 1000
"""IPv4 rules of one vault."""
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
RULE_PATTERN = rf"^{_BYTE}(?:\.{_BYTE}){{3}}(?:/(?:3[0-2]|[12]?[0-9]))?$"

type Reason = Annotated[
    str,
    Meta(
        pattern=SAYS_SOMETHING,
        max_length=LONGEST_REASON,
        description="Why, in the caller's words; goes into the audit trail.",
        examples=["new version after the audit"],
    ),
]
type Identifier = Annotated[
    str,
    Meta(
        max_length=512,
        description="An exact key identifier: the key's URL with its version.",
        extra_json_schema={"pattern": IDENTIFIER_PATTERN},
    ),
]
type RuleValue = Annotated[
    str,
    Meta(pattern=RULE_PATTERN, description="An IPv4 address or CIDR.", examples=["203.0.113.7", "198.51.100.0/28"]),
]
type DryRun = Annotated[bool, Meta(description="Say what would be done, and do nothing.")]
type Until = Annotated[
    Annotated[datetime, Meta(tz=True)] | None,
    Meta(description="When the hold ends by itself: a time to come, with its offset. Null: when it is lifted."),
]


class Body(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Base of all: members in camelCase, and no others."""


class RotateBody(Body):
    """What to rotate to, and why."""

    reason: Reason
    key_identifier: Annotated[
        Identifier | None, Meta(description="Null or left out: the newest version that Atlas can use.")
    ] = None
    dry_run: DryRun = False


class ReconcileBody(Body):
    """Whether to do it or only to say what would be done."""

    dry_run: DryRun = False


class SyncBody(Body):
    """Why a vault's firewall is to be brought in step now, and what that may take away."""

    reason: Reason
    allow_large_removal: Annotated[
        bool,
        Meta(
            description="Also remove rules of ours of which so many are due at once that they are held, and rules "
            "whose project left the settings."
        ),
    ] = False
    dry_run: DryRun = False


class ClaimBody(Body):
    """Which rules of a vault's firewall become ours, and why."""

    values: Annotated[
        tuple[RuleValue, ...],
        Meta(min_length=1, max_length=LONGEST_CLAIM, description="Rules that the vault has now, each in any form."),
    ]
    reason: Reason


class ApprovalBody(Body):
    """Which identifier Atlas may be given, and why."""

    key_identifier: Identifier
    reason: Reason


class ProjectHoldBody(Body):
    """Which jobs of a project to stop, until when, and why."""

    reason: Reason
    jobs: Annotated[
        tuple[Literal["rotation", "revocation"], ...], Meta(min_length=1, max_length=10, description="What is stopped.")
    ] = ("rotation", "revocation")
    until: Until = None


class VaultHoldBody(Body):
    """Which jobs of a vault to stop, until when, and why."""

    reason: Reason
    jobs: Annotated[
        tuple[Literal["firewall"], ...],
        Meta(min_length=1, max_length=10, description="What is stopped; also the creation of key versions."),
    ] = ("firewall",)
    until: Until = None
