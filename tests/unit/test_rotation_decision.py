"""The rotation decision as a table: one sentence, what differs from a healthy project, and the verdict."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keysteward.decide import rotation
from keysteward.decide.reversals import Reversals
from keysteward.decide.rotation import CHAIN, Attempt, RotateRequest, decide_rotation
from keysteward.facts import Approval, Job, Unknown
from keysteward.policy import Policy, RotationPolicy, parse_policy
from keysteward.reasons import REASONS
from keysteward.vocabulary import Cloud, KeyIdentifier
from tests.builders import KEY, NOW, V1, V2, V3, V4, a_hold, a_version, encryption, given, versions

OLD = a_version(V1, age_days=100)
NEWER = a_version(V2, age_days=1)
APPROVE = RotationPolicy(mode="approve")
UNREAD = Unknown("HTTP_503", "GET groups/{groupId}/encryptionAtRest: 503")


def _windows(cron: str = "0 2 * * SAT") -> RotationPolicy:
    windows = f'[{{"cron":"{cron}","minutes":240,"timeZone":"UTC"}}]'
    policy = parse_policy(f'{{"defaults":{{"rotation":{{"windows":{windows}}}}}}}')
    assert isinstance(policy, Policy)
    return policy.project("64b0c1d2e3f405162738495a").rotation


def _reversals(*hours_ago: float, standing: bool = True) -> Reversals:
    """Version 2 was put back to version 1 at these times."""
    times = tuple(NOW - timedelta(hours=h) for h in hours_ago)
    return Reversals(KEY.with_version(V2), standing=standing, seen_at=times)


def _refused(*, hours_ago: float = 1, permanent: bool = True, target: str = V2) -> Attempt:
    at = NOW - timedelta(hours=hours_ago)
    return Attempt(target, "AZURE_KEY_VAULT_KEY_NOT_FOUND", at, at + timedelta(days=1), permanent)


def _retry(*, in_seconds: float) -> Attempt:
    return Attempt(V2, "INVALID_AZURE_CREDENTIALS", NOW, NOW + timedelta(seconds=in_seconds), permanent=False)


CASES: dict[str, tuple[dict[str, Any], str, str, str | None]] = {
    "pushes the newer version": ({}, "due", "newerVersionAvailable", V2),
    "pushes the newest of several newer versions, whatever the order of the list": (
        {"key_versions": versions(a_version(V3, age_days=0.5), OLD, NEWER)},
        "due",
        "newerVersionAvailable",
        V3,
    ),
    "does nothing when the newest is in use": (
        {"key_versions": versions(OLD, complete=False)},
        "current",
        "newestInUse",
        None,
    ),
    "does nothing when every other version is older": (
        {"key_versions": versions(OLD, a_version(V2, age_days=200))},
        "current",
        "newestInUse",
        None,
    ),
    "a version of the same second is not newer": (
        {"key_versions": versions(OLD, a_version(V2, age_days=100))},
        "current",
        "newestInUse",
        None,
    ),
    "passes over a disabled version": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, enabled=False))},
        "current",
        "newestUsableInUse",
        None,
    ),
    "passes over a version that expires within 72 h": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, expires_at=NOW + timedelta(hours=71, minutes=59)))},
        "current",
        "newestUsableInUse",
        None,
    ),
    "takes a version that expires in 72 h": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, expires_at=NOW + timedelta(hours=72)))},
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "passes over a version that has not begun": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, not_before=NOW + timedelta(seconds=1)))},
        "current",
        "newestUsableInUse",
        None,
    ),
    "passes over an elliptic-curve version": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, key_type="EC"))},
        "current",
        "newestUsableInUse",
        None,
    ),
    "takes an RSA version in an HSM": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, key_type="RSA-HSM"))},
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "passes over a version that may not decrypt": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, operations=frozenset({"encrypt"})))},
        "current",
        "newestUsableInUse",
        None,
    ),
    "passes over a version whose type was not read": (
        {"key_versions": versions(OLD, a_version(V2, age_days=1, key_type=None))},
        "current",
        "newestUsableInUse",
        None,
    ),
    "takes the older of two newer versions when the newest is unusable": (
        {"key_versions": versions(OLD, NEWER, a_version(V3, age_days=0.5, enabled=False))},
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "holds when Atlas cannot be read": ({"encryption": UNREAD}, "unknown", "encryptionUnknown", None),
    "is off when encryption is off": ({"encryption": encryption(enabled=False)}, "off", "encryptionOff", None),
    "holds on an identifier that is no key": (
        {"encryption": encryption("https://evil.example/keys/a/b")},
        "held",
        "identifierMalformed",
        None,
    ),
    "holds when no identifier is set": ({"encryption": encryption(None)}, "held", "identifierMalformed", None),
    "pins a version where Atlas has none": (
        {"encryption": encryption(str(KEY))},
        "due",
        "versionPinned",
        V2,
    ),
    "holds when the identifier names another vault than the settings": (
        {"encryption": encryption(vault_name="kv-other")},
        "held",
        "identifierDisagrees",
        V2,
    ),
    "does not mind the case of the vault's name": (
        {"encryption": encryption(vault_name="KV-Acme-CMK")},
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "holds when the identifier is of another cloud than the settings": (
        {"encryption": encryption(environment="AZURE_CHINA")},
        "held",
        "identifierDisagrees",
        V2,
    ),
    "holds when the versions cannot be read": (
        {"key_versions": Unknown("ForbiddenByFirewall", "vault kv-acme-cmk: 403", passing=False)},
        "unknown",
        "keyVersionsUnknown",
        None,
    ),
    "holds when only a newest version was read that is not in use": (
        {"key_versions": versions(NEWER, complete=False)},
        "unknown",
        "keyVersionsUnknown",
        V2,
    ),
    "holds when the versions are of another key": (
        {
            "key_versions": versions(
                OLD, a_version(V2, age_days=1, identifier=KeyIdentifier("kv-acme-cmk", Cloud.PUBLIC, "other", V2))
            )
        },
        "held",
        "identifierDisagrees",
        V2,
    ),
    "holds when the version in use is not listed": (
        {"key_versions": versions(NEWER)},
        "held",
        "currentVersionMissing",
        V2,
    ),
    "is off when the policy says so": ({"policy": RotationPolicy(mode="off")}, "off", "rotationOff", None),
    "holds for an approval when the policy asks for one": (
        {"policy": APPROVE},
        "held",
        "approvalMissing",
        V2,
    ),
    "takes the newest approved version where a newer one is not approved": (
        {
            "policy": APPROVE,
            "key_versions": versions(OLD, NEWER, a_version(V3, age_days=0.5)),
            "approvals": (Approval(KEY.with_version(V2), used=False),),
        },
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "an approval of the same version of another vault's key is no approval": (
        {
            "policy": APPROVE,
            "approvals": (Approval(KeyIdentifier("kv-old", Cloud.PUBLIC, "atlas-cmk", V2), used=False),),
        },
        "held",
        "approvalMissing",
        V2,
    ),
    "an approval of an unusable version is no approval": (
        {
            "policy": APPROVE,
            "key_versions": versions(OLD, NEWER, a_version(V3, age_days=0.5, enabled=False)),
            "approvals": (Approval(KEY.with_version(V3), used=False),),
        },
        "held",
        "approvalMissing",
        V2,
    ),
    "a used approval does not count again": (
        {"policy": APPROVE, "approvals": (Approval(KEY.with_version(V2), used=True),)},
        "held",
        "approvalMissing",
        V2,
    ),
    "a used approval stands for the repair of a reversal": (
        {"policy": APPROVE, "approvals": (Approval(KEY.with_version(V2), used=True),), "reversals": _reversals(1)},
        "due",
        "reversalRepaired",
        V2,
    ),
    "the repairs of an approval end at the limit": (
        {"policy": APPROVE, "approvals": (Approval(KEY.with_version(V2), used=True),), "reversals": _reversals(2, 1)},
        "held",
        "reversalLimitReached",
        V2,
    ),
    "an approval of a version that is in use allows no other": (
        {"policy": APPROVE, "approvals": (Approval(KEY.with_version(V1), used=False),)},
        "held",
        "approvalMissing",
        V2,
    ),
    "repairs the first reversal": ({"reversals": _reversals(1)}, "due", "reversalRepaired", V2),
    "stops at the second reversal within a day": (
        {"reversals": _reversals(23.9, 1)},
        "held",
        "reversalLimitReached",
        V2,
    ),
    "a reversal counts for 24 hours": ({"reversals": _reversals(24, 1)}, "due", "reversalRepaired", V2),
    "an operator passes over reversals": (
        {"reversals": _reversals(2, 1), "request": RotateRequest("op", None)},
        "due",
        "operatorRequest",
        V2,
    ),
    "an operator's hold stops a rotation": ({"hold": a_hold()}, "held", "heldByOperator", V2),
    "an operator's hold stops an operator's rotation too": (
        {"hold": a_hold(), "request": RotateRequest("op", None)},
        "held",
        "heldByOperator",
        V2,
    ),
    "a hold on another job does not stop a rotation": (
        {"hold": a_hold(Job.REVOCATION)},
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "a hold ends at its time": ({"hold": a_hold(until=NOW)}, "due", "newerVersionAvailable", V2),
    "a hold lasts until just before its time": (
        {"hold": a_hold(until=NOW + timedelta(seconds=1))},
        "held",
        "heldByOperator",
        V2,
    ),
    "says current, not held, when nothing is due under a hold": (
        {"hold": a_hold(), "key_versions": versions(OLD, complete=False)},
        "current",
        "newestInUse",
        None,
    ),
    "holds while every window is closed": ({"policy": _windows()}, "held", "windowClosed", V2),
    "pushes while a window is open": ({"policy": _windows("0 5 * * *")}, "due", "newerVersionAvailable", V2),
    "holds while Atlas calls the key in use invalid": (
        {"encryption": encryption(valid=False)},
        "held",
        "currentKeyInvalid",
        V2,
    ),
    "holds while Atlas does not say whether the key is valid": (
        {"encryption": encryption(valid=None)},
        "unknown",
        "currentKeyValidityUnknown",
        V2,
    ),
    "says current, not held, when the key is invalid but no newer version exists": (
        {"encryption": encryption(valid=False), "key_versions": versions(OLD, complete=False)},
        "current",
        "newestInUse",
        None,
    ),
    "holds an identifier that Atlas refused for good": (
        {"attempt": _refused()},
        "held",
        "atlasRefusedTarget",
        V2,
    ),
    "tries again a day after a refusal": (
        {"attempt": _refused(hours_ago=24)},
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "a refusal of another version does not count": (
        {"attempt": _refused(target=V4)},
        "due",
        "newerVersionAvailable",
        V2,
    ),
    "waits for the time of the next try": ({"attempt": _retry(in_seconds=5)}, "held", "waitingToRetry", V2),
    "tries again when its time has come": ({"attempt": _retry(in_seconds=0)}, "due", "newerVersionAvailable", V2),
    "an operator passes over mode off": (
        {"policy": RotationPolicy(mode="off"), "request": RotateRequest("op", None)},
        "due",
        "operatorRequest",
        V2,
    ),
    "an operator passes over the approval": (
        {"policy": APPROVE, "request": RotateRequest("op", None)},
        "due",
        "operatorRequest",
        V2,
    ),
    "an operator passes over windows": (
        {"policy": _windows(), "request": RotateRequest("op", None)},
        "due",
        "operatorRequest",
        V2,
    ),
    "an operator passes over an earlier refusal": (
        {"attempt": _refused(), "request": RotateRequest("op", None)},
        "due",
        "operatorRequest",
        V2,
    ),
    "an operator does not pass over an invalid key": (
        {"encryption": encryption(valid=False), "request": RotateRequest("op", None)},
        "held",
        "currentKeyInvalid",
        V2,
    ),
    "an operator may choose a version that is not the newest": (
        {
            "key_versions": versions(OLD, NEWER, a_version(V3, age_days=0.5)),
            "request": RotateRequest("op", KEY.with_version(V2)),
        },
        "due",
        "operatorRequest",
        V2,
    ),
    "an operator cannot rotate backwards": (
        {
            "key_versions": versions(OLD, NEWER, a_version(V3, age_days=200)),
            "request": RotateRequest("op", KEY.with_version(V3)),
        },
        "held",
        "requestedVersionNotNewer",
        None,
    ),
    "an operator cannot choose an unusable version": (
        {
            "key_versions": versions(OLD, a_version(V2, age_days=1, enabled=False)),
            "request": RotateRequest("op", KEY.with_version(V2)),
        },
        "held",
        "requestedVersionUnusable",
        None,
    ),
    "an operator cannot choose a version that does not exist": (
        {"request": RotateRequest("op", KEY.with_version(V4))},
        "held",
        "requestedVersionNotNewer",
        None,
    ),
    "an operator cannot choose another key": (
        {"request": RotateRequest("op", KeyIdentifier("kv-acme-cmk", Cloud.PUBLIC, "other", V2))},
        "held",
        "requestedVersionNotNewer",
        None,
    ),
    "an operator who chooses the version in use has nothing to wait for": (
        {"request": RotateRequest("op", KEY.with_version(V1))},
        "current",
        "newestInUse",
        None,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_rotation(case: tuple[dict[str, Any], str, str, str | None]) -> None:
    changes, state, reason, target = case
    decision = decide_rotation(given(**changes))
    shown = [c.data for c in decision.checks]
    assert (decision.state, decision.reason) == (state, reason), shown
    assert (decision.target.version if decision.target else None) == target, shown
    assert bool(decision.plan.actions) == (state == "due"), shown
    for hold in decision.plan.held:
        assert hold.remedy == REASONS[hold.code].remedy
        assert hold.evidence


def test_every_check_of_the_chain_ends_some_case() -> None:
    """A check that no case stops at could be deleted unseen."""
    ended = {decide_rotation(given(**changes)).checks[-1].check for changes, *_ in CASES.values()}
    assert ended == {check.name for check in CHAIN}


@pytest.mark.parametrize("name", [check.name for check in CHAIN])
def test_deleting_a_check_changes_a_verdict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {case: _verdict(changes) for case, (changes, *_) in CASES.items()}
    monkeypatch.setattr(rotation, "CHAIN", [check for check in CHAIN if check.name != name])
    after = {case: _verdict(changes) for case, (changes, *_) in CASES.items()}
    assert before != after


def _verdict(changes: dict[str, Any]) -> str:
    try:
        decision = decide_rotation(given(**changes))
    except AssertionError:
        return "a later check leaned on the one that is gone"
    return f"{decision.state} {decision.reason} {decision.plan.digest}"


def test_the_action_shows_what_changes() -> None:
    (action,) = decide_rotation(given()).plan.actions
    assert action.data == {
        "kind": "pushKeyIdentifier",
        "target": "encryptionAtRest",
        "detail": {"from": str(KEY.with_version(V1)), "to": str(KEY.with_version(V2))},
        "reason": "newerVersionAvailable",
    }


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        ({"policy": _windows()}, 4 * 24 - 4),
        ({"hold": a_hold(until=NOW + timedelta(hours=3))}, 3),
        ({"reversals": _reversals(20, 1)}, 4),
        ({"key_versions": versions(OLD, a_version(V2, age_days=1, not_before=NOW + timedelta(hours=5)))}, 5),
        ({"hold": a_hold()}, None),
        ({}, None),
    ],
    ids=["next window", "end of the hold", "oldest reversal ages out", "version begins", "endless hold", "due"],
)
def test_it_knows_when_the_clock_alone_may_change_the_verdict(changes: dict[str, Any], hours: float | None) -> None:
    at = decide_rotation(given(**changes)).look_again_at
    assert at == (None if hours is None else NOW + timedelta(hours=hours))


def test_the_hold_for_an_approval_names_the_identifier_to_approve() -> None:
    (held,) = decide_rotation(given(policy=APPROVE)).plan.held
    assert str(KEY.with_version(V2)) in held.evidence


def test_the_hold_for_reversals_names_the_likely_culprits_and_the_line_to_change() -> None:
    (held,) = decide_rotation(given(reversals=_reversals(2, 1))).plan.held
    for words in ("azurerm_key_vault_key.id", "ignore_changes", "Atlas Kubernetes Operator", "KeyIdentifier"):
        assert words in held.remedy


def test_a_push_that_a_window_allows_ends_with_the_window() -> None:
    assert decide_rotation(given(policy=_windows("0 5 * * *"))).push_before == NOW + timedelta(hours=3)
    request = RotateRequest("op", None)
    assert decide_rotation(given(policy=_windows("0 5 * * *"), request=request)).push_before is None
    assert decide_rotation(given()).push_before is None
