"""
The blocks of the policy: each field with its default, its rule and its meaning, in one place.

Names are snake_case here and camelCase in JSON. Nothing in a block can read a clock, a file or a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from ipaddress import IPv4Network
from typing import Annotated, Literal, NamedTuple, get_args, get_type_hints

from keysteward.policy.networks import Networks
from keysteward.policy.rules import Choice, Days, Flag, ObjectId, Rule, Subset, Whole
from keysteward.policy.windows import Window, Windows

type RotationMode = Literal["auto", "approve", "off"]
type RevocationMode = Literal["pause", "alert", "off"]
type Resume = Literal["manual", "auto"]
type Signal = Literal["keyDisabled", "keyDeleted", "vaultDeleted", "grantRemoved"]
type FirewallMode = Literal["sync", "alert", "off"]
type WhenOpen = Literal["explain", "prepare"]

SIGNALS: tuple[Signal, ...] = ("keyDisabled", "keyDeleted", "vaultDeleted", "grantRemoved")

# Ten years and a day: more is a slip, and would overflow dates.
_MOST_HOURS, _MOST_DAYS = 87_600, 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPolicy:
    """``rotation``: whether and when Atlas is given a newer key version, and when the app makes one."""

    mode: Annotated[
        RotationMode,
        Choice("`approve`: an operator approves the exact identifier", ("auto", "approve", "off")),
    ] = "auto"
    minimum_remaining_hours: Annotated[
        int,
        Whole("a version that expires sooner is not a target", 48, _MOST_HOURS, "72", "Atlas refuses such a version"),
    ] = 72
    windows: Annotated[tuple[Window, ...], Windows("when rotations may happen; empty: at any time")] = ()
    create_version_on_near_expiry: Annotated[
        bool,
        Flag(
            "let the app rotate the key in the vault when the version in use has `createVersionBeforeExpiryDays` left "
            "or less and no newer one exists"
        ),
    ] = False
    create_version_before_expiry_days: Annotated[
        int, Whole("how long before the end that is, in days", 0, _MOST_DAYS, "30")
    ] = 30
    create_version_after_days: Annotated[
        int | None,
        Whole("likewise, when the version in use is older than this many days", 1, _MOST_DAYS, "365", or_none=True),
    ] = None
    max_reversals: Annotated[
        int,
        Whole(
            "stop and alarm at this many times within 24 h that something else put an older identifier back",
            1,
            100,
            "2",
        ),
    ] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationPolicy:
    """``revocation``: what counts as a revoked access, and what follows."""

    mode: Annotated[RevocationMode, Choice("whether the encrypted clusters are paused", ("pause", "alert", "off"))] = (
        "pause"
    )
    signals: Annotated[tuple[Signal, ...], Subset("what counts as a revocation", SIGNALS)] = SIGNALS
    confirmations: Annotated[int, Whole("observations that must agree before the first pause", 1, 100, "2")] = 2
    confirm_interval_seconds: Annotated[
        int, Whole("seconds between them, for key and vault signals", 1, 86_400, "60")
    ] = 60
    grant_confirm_interval_seconds: Annotated[
        int,
        Whole(
            "seconds between them, for `grantRemoved` and other doubtful cases: a deployment that makes a grant anew "
            "looks like a revocation for minutes",
            1,
            86_400,
            "600",
        ),
    ] = 600
    pause_when_reachable: Annotated[bool, Flag("pause although Atlas can see the revocation by itself")] = False
    resume: Annotated[
        Resume, Choice("after the end: `manual` notifies and one call resumes, `auto` resumes", ("manual", "auto"))
    ] = "manual"
    max_vaults_per_hour: Annotated[
        int,
        Whole(
            "vaults beyond this with `grantRemoved` confirmed within an hour are held as `massRevocation`", 0, 1000, "3"
        ),
    ] = 3
    principal_object_id: Annotated[
        str | None, ObjectId("object id of Atlas's principal where the directory cannot be read")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallPolicy:
    """``firewall``: how a vault's IP rules follow the addresses of Atlas. Read from defaults and vaults only."""

    mode: Annotated[FirewallMode, Choice("whether the rules are written", ("sync", "alert", "off"))] = "sync"
    when_open: Annotated[
        WhenOpen,
        Choice(
            "a vault that does not filter: `explain` writes nothing, `prepare` keeps the rules ready (the default "
            "action is never changed)",
            ("explain", "prepare"),
        ),
    ] = "explain"
    control_plane: Annotated[bool, Flag("also allow Atlas's control-plane (outbound) addresses")] = True
    extra_ip_rules: Annotated[
        tuple[IPv4Network, ...],
        Networks("further CIDRs to keep allowed; those of the defaults and of the vault are united"),
    ] = ()
    widest_prefix: Annotated[int, Whole("a wider range published by Atlas is held (`rangeTooWide`)", 8, 32, "24")] = 24
    remove_after_hours: Annotated[
        int, Whole("hours that an address must be gone before its rule is removed", 0, _MOST_HOURS, "48")
    ] = 48
    max_removals_percent: Annotated[
        int, Whole("a larger removal at once, of the rules that we own, is held for an operator", 0, 100, "50")
    ] = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryPolicy:
    """``expiry``: when to warn of the end of a key or a secret."""

    warn_days: Annotated[tuple[int, ...], Days("days before the end; warnings, each once")] = (60, 30, 14, 7, 3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirementPolicy:
    """``retirement``: when an old version counts as no longer used."""

    settle_hours: Annotated[
        int, Whole("hours after a rotation during which both versions count as used", 0, _MOST_HOURS, "24")
    ] = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPolicy:
    """What holds for one project: the defaults, overridden field by field. The firewall belongs to the vault."""

    rotation: RotationPolicy = RotationPolicy()
    revocation: RevocationPolicy = RevocationPolicy()
    expiry: ExpiryPolicy = ExpiryPolicy()
    retirement: RetirementPolicy = RetirementPolicy()


type Block = RotationPolicy | RevocationPolicy | FirewallPolicy | ExpiryPolicy | RetirementPolicy

BLOCKS: dict[str, type[Block]] = {
    "rotation": RotationPolicy,
    "revocation": RevocationPolicy,
    "firewall": FirewallPolicy,
    "expiry": ExpiryPolicy,
    "retirement": RetirementPolicy,
}
"""Every block by its name, in the order of the docs."""


class PolicyField(NamedTuple):
    """One field of a block: its name in JSON, its name in Python, its default, and how it is read."""

    json_name: str
    python_name: str
    default: object
    rule: Rule


@cache
def fields_of(block_name: str) -> dict[str, PolicyField]:
    """
    Every field of a block by its JSON name, in the order of the docs.

    Raises:
        KeyError: there is no such block.
    """
    block = BLOCKS[block_name]
    hints = get_type_hints(block, include_extras=True)
    found = [
        PolicyField(_camel(field.name), field.name, field.default, get_args(hints[field.name])[1])
        for field in fields(block)
    ]
    return {field.json_name: field for field in found}


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)
