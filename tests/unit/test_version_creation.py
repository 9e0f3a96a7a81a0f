"""Whether a new version of a key is made: one case a line, each differing from a healthy project in what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keysteward.decide.version_creation import (
    APART,
    CHAIN,
    CreationInput,
    FailedTries,
    LastCreation,
    asks_for_versions,
    decide_version_creation,
)
from keysteward.facts import Job, KeyVersions, Unknown
from keysteward.plan import ActionKind
from keysteward.policy import RotationPolicy
from keysteward.reasons import REASONS
from keysteward.vocabulary import Answer
from tests.builders import KEY, NOW, V1, V2, a_hold, a_version, encryption, facts, versions

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NEAR_EXPIRY = RotationPolicy(create_version_on_near_expiry=True)
BY_AGE = RotationPolicy(create_version_after_days=90)
ENDING = a_version(V1, age_days=335, expires_at=NOW + 30 * DAY)
FRESH_ENDS_AT = NOW + 335 * DAY
FRESH = a_version(V1, age_days=30, expires_at=FRESH_ENDS_AT)


def given(policy: RotationPolicy = NEAR_EXPIRY, **changes: Any) -> CreationInput:
    """A project whose version in use, the only one, ends in 30 days; *changes* are of the input or of its facts."""
    of_input = {name: changes.pop(name) for name in ("last", "project_hold", "vault_hold") if name in changes}
    seen = facts(**({"key_versions": versions(ENDING)} | changes))
    return CreationInput(seen, policy, NOW, **of_input)


def _only(version: Any, **changes: Any) -> Any:
    return {"key_versions": versions(version), **changes}


def _asked(ago: timedelta, state: Any = "asked") -> LastCreation:
    return LastCreation(NOW - ago, state)


@pytest.mark.parametrize(
    ("policy", "changes", "reason"),
    [
        pytest.param(
            NEAR_EXPIRY, {}, "nearExpiry", id="the version in use ends in exactly as many days as the policy says"
        ),
        pytest.param(
            NEAR_EXPIRY,
            _only(a_version(V1, expires_at=NOW - DAY)),
            "nearExpiry",
            id="a version that has ended still decrypts, and is as good a reason",
        ),
        pytest.param(
            replace(NEAR_EXPIRY, create_version_before_expiry_days=0),
            _only(a_version(V1, expires_at=NOW)),
            "nearExpiry",
            id="zero days: at the end itself",
        ),
        pytest.param(
            NEAR_EXPIRY,
            _only(replace(ENDING, enabled=False)),
            "nearExpiry",
            id="a disabled version in use is no reason against it",
        ),
        pytest.param(
            BY_AGE,
            _only(a_version(V1, age_days=90.01)),
            "versionTooOld",
            id="older than the policy allows, and endless",
        ),
        pytest.param(
            replace(NEAR_EXPIRY, create_version_after_days=90),
            _only(a_version(V1, age_days=100, expires_at=NOW + DAY)),
            "nearExpiry",
            id="both reasons: the end is told",
        ),
        pytest.param(
            replace(NEAR_EXPIRY, mode="approve"), {}, "nearExpiry", id="mode approve: making one pushes nothing"
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"key_versions": versions(ENDING, complete=False)},
            "nearExpiry",
            id="only the newest version was read, and it is in use",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"key_versions": versions(ENDING, a_version(V2, age_days=500))},
            "nearExpiry",
            id="an older version is no newer one",
        ),
        pytest.param(NEAR_EXPIRY, {"last": _asked(APART)}, "nearExpiry", id="the last request is more than a day old"),
        pytest.param(
            NEAR_EXPIRY, {"last": _asked(APART, "refused")}, "nearExpiry", id="a refusal is tried again after a day"
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"project_hold": a_hold(Job.REVOCATION)},
            "nearExpiry",
            id="a hold on another job of the project",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"project_hold": a_hold(until=NOW), "vault_hold": a_hold(Job.FIREWALL, until=NOW)},
            "nearExpiry",
            id="holds that have run out",
        ),
    ],
)
def test_makes_a_version_where(policy: RotationPolicy, changes: dict[str, Any], reason: str) -> None:
    decision = decide_version_creation(given(policy, **changes))
    (action,) = decision.plan.actions
    assert (action.kind, action.target, action.reason) == (ActionKind.CREATE_KEY_VERSION, str(KEY), reason)
    assert action.detail == {"versionInUse": V1}
    assert decision.plan.held == ()
    assert decision.key == KEY
    assert [c.check for c in decision.checks] == [c.name for c in CHAIN]
    assert {c.answer for c in decision.checks} == {Answer.YES}


@pytest.mark.parametrize(
    ("policy", "changes", "check", "reason"),
    [
        pytest.param(RotationPolicy(), {}, "policyAsksForIt", "creationNotAsked", id="by default the app makes none"),
        pytest.param(replace(NEAR_EXPIRY, mode="off"), {}, "policyAsksForIt", "rotationOff", id="rotation is off"),
        pytest.param(
            NEAR_EXPIRY,
            {"encryption": encryption(enabled=False)},
            "encryptionIsOn",
            "encryptionOff",
            id="encryption is off",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"encryption": encryption(str(KEY))},
            "versionInUseIsNamed",
            "versionNotNamed",
            id="the identifier names no version",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"key_versions": versions(ENDING, a_version(V2, age_days=2))},
            "noNewerVersionExists",
            "newerVersionExists",
            id="a newer version exists",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"key_versions": versions(ENDING, a_version(V2, age_days=2, enabled=False))},
            "noNewerVersionExists",
            "newerVersionExists",
            id="a newer version exists, though Atlas could not use it",
        ),
        pytest.param(NEAR_EXPIRY, _only(FRESH), "creationIsDue", "creationNotDue", id="the end is far away"),
        pytest.param(
            NEAR_EXPIRY,
            _only(a_version(V1, expires_at=NOW + 30 * DAY + MINUTE)),
            "creationIsDue",
            "creationNotDue",
            id="the end is a minute too far away",
        ),
        pytest.param(
            NEAR_EXPIRY, _only(a_version(V1, age_days=4000)), "creationIsDue", "creationNotDue", id="it never ends"
        ),
        pytest.param(
            BY_AGE,
            _only(a_version(V1, age_days=90)),
            "creationIsDue",
            "creationNotDue",
            id="not older than the policy says",
        ),
        pytest.param(
            BY_AGE,
            _only(a_version(V1, age_days=2, expires_at=NOW)),
            "creationIsDue",
            "creationNotDue",
            id="age alone counts",
        ),
        pytest.param(
            NEAR_EXPIRY,
            _only(a_version(V1, age_days=0.9, expires_at=NOW + DAY)),
            "noneWasMadeLately",
            "versionMadeLately",
            id="the version in use is younger than a day",
        ),
        pytest.param(
            NEAR_EXPIRY,
            _only(a_version(V1, age_days=-1, expires_at=NOW + DAY)),
            "noneWasMadeLately",
            "versionMadeLately",
            id="the vault's clock is ahead of ours",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"key_versions": versions(a_version(V1, age_days=0.5, expires_at=NOW + DAY), a_version(V2, age_days=0.5))},
            "noneWasMadeLately",
            "versionMadeLately",
            id="two versions of one second",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"last": _asked(APART - MINUTE)},
            "noneWasAskedForLately",
            "versionMadeLately",
            id="one was asked for within a day, and nobody knows what became of it",
        ),
        pytest.param(
            NEAR_EXPIRY,
            {"last": _asked(MINUTE, "made")},
            "noneWasAskedForLately",
            "versionMadeLately",
            id="one was made a minute ago, and the vault's list is behind",
        ),
    ],
)
def test_makes_none_where(policy: RotationPolicy, changes: dict[str, Any], check: str, reason: str) -> None:
    decision = decide_version_creation(given(policy, **changes))
    assert (decision.plan.actions, decision.plan.held) == ((), ())
    assert (decision.checks[-1].check, decision.reason) == (check, reason)
    assert not REASONS[reason].holds


@pytest.mark.parametrize(
    ("changes", "check", "code"),
    [
        pytest.param(
            {"encryption": Unknown("HTTP_503", "no answer")},
            "encryptionIsRead",
            "encryptionUnknown",
            id="Atlas is silent",
        ),
        pytest.param(
            {"encryption": encryption("https://example.com/key")},
            "identifierIsWellFormed",
            "identifierMalformed",
            id="the identifier is none",
        ),
        pytest.param(
            {"encryption": encryption(vault_name="kv-other")},
            "identifierAgreesWithSettings",
            "identifierDisagrees",
            id="identifier and settings disagree",
        ),
        pytest.param(
            {"key_versions": Unknown("ForbiddenByRbac", "403", passing=False)},
            "versionsAreRead",
            "keyVersionsUnknown",
            id="the vault refuses its list",
        ),
        pytest.param(
            {"key_versions": versions(a_version(V2, age_days=2), complete=False)},
            "versionsAreRead",
            "keyVersionsUnknown",
            id="only a newer version was read",
        ),
        pytest.param(
            {"key_versions": versions(a_version(V2, age_days=2))},
            "versionInUseIsListed",
            "currentVersionMissing",
            id="the version in use is not listed",
        ),
        pytest.param(
            {"key_versions": KeyVersions((ENDING,), complete=True, source="resourceManager")},
            "theVaultItselfHasSpoken",
            "keyVersionsNotFresh",
            id="only Resource Manager could be asked",
        ),
        pytest.param(
            {"last": _asked(MINUTE, "refused")},
            "noneWasAskedForLately",
            "versionCreationRefused",
            id="the vault refused",
        ),
        pytest.param({"project_hold": a_hold()}, "noOperatorHoldsIt", "heldByOperator", id="the project is held"),
        pytest.param(
            {"vault_hold": a_hold(Job.FIREWALL)}, "noOperatorHoldsIt", "heldByOperator", id="the vault is held"
        ),
    ],
)
def test_is_held_where(changes: dict[str, Any], check: str, code: str) -> None:
    decision = decide_version_creation(given(**changes))
    assert decision.plan.actions == ()
    (held,) = decision.plan.held
    assert (decision.checks[-1].check, held.code, decision.reason) == (check, code, code)
    assert held.remedy == REASONS[code].remedy


def _tried(count: int, due_in: timedelta, state: Any = "notMade") -> LastCreation:
    return LastCreation(NOW - 2 * DAY, state, FailedTries(count, "Throttled", NOW + due_in))


@pytest.mark.parametrize(
    ("last", "makes", "held"),
    [
        pytest.param(_tried(1, MINUTE), False, ["waitingToRetry"], id="one try failed, and the next is not due"),
        pytest.param(_tried(2, MINUTE, "refused"), False, ["waitingToRetry"], id="the same a day after a refusal"),
        pytest.param(_tried(2, timedelta()), True, [], id="two tries failed, and the next is due"),
        pytest.param(_tried(3, MINUTE), False, ["versionCreationDelayed"], id="three tries failed"),
        pytest.param(_tried(3, -MINUTE), True, ["versionCreationDelayed"], id="the hold stands while it is tried"),
        pytest.param(_tried(9, -APART), True, [], id="a try that was due a day ago starts anew"),
        pytest.param(LastCreation(NOW, "notMade"), True, [], id="a request that came to nothing holds nothing back"),
    ],
)
def test_tries_that_came_to_nothing_hold_it_back(last: LastCreation, makes: bool, held: list[str]) -> None:
    decision = decide_version_creation(given(last=last))
    assert (bool(decision.plan.actions), [h.code for h in decision.plan.held]) == (makes, held)
    due = last.tries.not_before if last.tries is not None else None
    assert decision.look_again_at == (None if makes else due)


def test_a_request_that_came_to_nothing_does_not_put_off_the_next_look() -> None:
    young = a_version(V1, age_days=0.5, expires_at=NOW + DAY)
    decision = decide_version_creation(given(last=LastCreation(NOW, "notMade"), key_versions=versions(young)))
    assert decision.look_again_at == NOW - DAY / 2 + APART


@pytest.mark.parametrize(
    ("policy", "changes", "again"),
    [
        pytest.param(NEAR_EXPIRY, _only(FRESH), FRESH_ENDS_AT - 30 * DAY, id="when the end has come near"),
        pytest.param(BY_AGE, _only(FRESH), FRESH.created_at + 90 * DAY, id="when it is too old"),
        pytest.param(
            replace(NEAR_EXPIRY, create_version_after_days=90),
            _only(FRESH),
            FRESH.created_at + 90 * DAY,
            id="whichever of both comes first",
        ),
        pytest.param(NEAR_EXPIRY, {"last": _asked(MINUTE)}, NOW - MINUTE + APART, id="a day after the last request"),
        pytest.param(
            NEAR_EXPIRY,
            {
                "key_versions": versions(
                    a_version(V1, age_days=0.5, expires_at=NOW + DAY), a_version(V2, age_days=0.9, expires_at=NOW)
                )
            },
            NOW - DAY / 2 + APART,
            id="a day after the youngest version",
        ),
        pytest.param(
            NEAR_EXPIRY, {"last": _asked(MINUTE, "refused")}, NOW - MINUTE + APART, id="a day after the refusal"
        ),
        pytest.param(
            NEAR_EXPIRY, {"vault_hold": a_hold(Job.FIREWALL, until=NOW + DAY)}, NOW + DAY, id="when the hold runs out"
        ),
        pytest.param(NEAR_EXPIRY, {"vault_hold": a_hold(Job.FIREWALL)}, None, id="a hold without an end"),
        pytest.param(NEAR_EXPIRY, _only(a_version(V1)), None, id="a version without an end"),
        pytest.param(NEAR_EXPIRY, {"encryption": encryption(str(KEY))}, None, id="an identifier without a version"),
        pytest.param(RotationPolicy(), {}, None, id="a policy that asks for none"),
    ],
)
def test_looks_again(policy: RotationPolicy, changes: dict[str, Any], again: Any) -> None:
    assert decide_version_creation(given(policy, **changes)).look_again_at == again


@pytest.mark.parametrize(("policy", "changes"), [(NEAR_EXPIRY, _only(FRESH)), (BY_AGE, _only(FRESH))])
def test_what_is_due_at_the_time_that_it_names_is_due_then(policy: RotationPolicy, changes: dict[str, Any]) -> None:
    before = given(policy, **changes)
    at = decide_version_creation(before).look_again_at
    assert at is not None
    assert decide_version_creation(replace(before, now=at + timedelta(seconds=1))).plan.actions
    assert not decide_version_creation(replace(before, now=at - timedelta(seconds=1))).plan.actions


def test_the_policy_asks_for_versions_only_by_one_of_its_two_fields() -> None:
    assert [asks_for_versions(p) for p in (RotationPolicy(), NEAR_EXPIRY, BY_AGE, replace(BY_AGE, mode="off"))] == [
        False,
        True,
        True,
        False,
    ]
