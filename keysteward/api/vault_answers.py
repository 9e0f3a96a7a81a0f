"""Answers of the routes of vaults, in the way of ``keysteward.api.answers``. As light to import."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from keysteward.api.answers import (
    Answer,
    Check,
    Count,
    Hold,
    NetworkStateName,
    Plan,
    ProjectId,
    ReasonCode,
    ShownHold,
    Text,
    Time,
    UnknownFact,
    VaultName,
)


class FirewallState(Answer):
    """How the vault's firewall stands against what is wanted."""

    state: Annotated[
        Literal["current", "due", "held", "off", "unknown"], Meta(description="At the last sync; see the reason.")
    ]
    reason: ReasonCode


class VaultSummary(Answer):
    """A vault as the last sync left it."""

    vault: VaultName
    network_state: Annotated[
        NetworkStateName,
        Meta(description="At the last sync; `unknown` before the first. A look at the vault says how it is now."),
    ]
    firewall: FirewallState
    rules: Annotated[Count | None, Meta(description="Rules of the vault; null: they were never read.")]
    own_rules: Annotated[Count | None, Meta(description="Those of them that are ours.")]
    missing: Annotated[Count | None, Meta(description="Ranges that are wanted and that no rule allows.")]
    projects: Annotated[
        list[ProjectId], Meta(description="Those that were seen to use it; none where only our rules are left there.")
    ]
    hold: ShownHold
    observed_at: Annotated[Time | None, Meta(description="When a sync last read its rules; null: never.")]


class VaultList(Answer):
    """Every vault that a project of the app was seen to use, or in which rules are ours."""

    vaults: Annotated[list[VaultSummary], Meta(description="In the order of their names.")]


class VaultRule(Answer):
    """An IP rule of the vault's firewall."""

    value: Annotated[Text, Meta(description="The address or CIDR, as Azure shows it.")]
    owner: Annotated[
        Literal["keysteward", "other"], Meta(description="Whose it is. Only a rule of `keysteward` is ever removed.")
    ]
    reasons: Annotated[
        list[str],
        Meta(
            description="What wants just this range: `node:`, `announced:` (project and cluster), `controlPlane:` "
            "(cloud and region) or `extra:` (defaults or vault); of a rule of ours, what it was added for, or "
            "`claimed:operator`."
        ),
    ]
    since: Annotated[Time | None, Meta(description="Since when it is ours; null: it is not.")]
    leaves_at: Annotated[
        Time | None, Meta(description="When it is due to be removed, since nobody wants it; null: it stays.")
    ]


class WantedRange(Answer):
    """A range that somebody has to be let in from."""

    value: Annotated[Text, Meta(description="As Azure would show its rule, such as `203.0.113.7/32`.")]
    reasons: Annotated[list[str], Meta(min_length=1, description="Who wants it, as those of a rule.")]
    covered: Annotated[
        bool | None, Meta(description="Whether a rule allows it now; null: the rules could not be read.")
    ]
    held_by: Annotated[
        ReasonCode | None, Meta(description="Why the plan does not allow it either; null: it does, or a rule does.")
    ]


class VaultView(Answer):
    """A fresh look at the firewall of one vault."""

    vault: VaultName
    network_state: Annotated[
        NetworkStateName,
        Meta(description="Whether those who have to be let in are: all of them, some, or none."),
    ]
    observed_at: Time
    rules: Annotated[list[VaultRule] | UnknownFact, Meta(description="As read, in the order of the vault.")]
    wanted: Annotated[list[WantedRange], Meta(description="In the order of the addresses.")]
    checks: Annotated[list[Check], Meta(min_length=1, description="In the order in which they were asked.")]
    plan: Plan
    warnings: Annotated[list[Hold], Meta(description="What will need somebody, and holds nothing back yet.")]
    hold: ShownHold


class SeenFirewall(Answer):
    """What a look saw of the firewall of a vault, in the shapes of a look at the vault."""

    observed_at: Time
    network_state: Annotated[
        NetworkStateName,
        Meta(description="Whether those who have to be let in are: all of them, some, or none."),
    ]
    rules: Annotated[list[VaultRule] | UnknownFact, Meta(description="As read, in the order of the vault.")]
    wanted: Annotated[list[WantedRange], Meta(description="In the order of the addresses.")]


class SyncDryRun(Answer):
    """What a sync would do. Nothing was done."""

    dry_run: Annotated[Literal[True], Meta(description="Always true.")]
    observed: SeenFirewall
    plan: Plan
    hold: ShownHold


class Claim(Answer):
    """Rules that are ours now, by an operator's word."""

    vault: VaultName
    dry_run: Annotated[bool, Meta(description="True under `KEYSTEWARD_DRY_RUN`: nothing was claimed.")]
    claimed: Annotated[list[Text], Meta(description="Those that became ours by this call, in the order of addresses.")]
    already_ours: Annotated[list[Text], Meta(description="Those that were ours before it.")]
    hold: ShownHold
