"""
Decide whether Atlas should be given another key identifier, and which. Pure.

The order of the checks is the policy: what is not known, what does not agree and what Atlas would refuse each hold
the rotation back before a target is pushed. A target is never older than the version in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keysteward.decide.checks import Check, Done, Finding, passes, run_chain
from keysteward.decide.reversals import COUNTED_FOR, Reversals
from keysteward.decide.windows import next_opening, open_until
from keysteward.facts import (
    Approval,
    EncryptionAtRest,
    Job,
    KeyVersions,
    OperatorHold,
    ProjectFacts,
    Unknown,
    identifier_in_use,
    newer_versions,
)
from keysteward.plan import Action, ActionKind, CheckResult, Hold, Plan
from keysteward.policy import RotationPolicy
from keysteward.reasons import hold
from keysteward.vocabulary import Answer, Cloud, InvalidNameError, KeyIdentifier, KeyVersion

DECISION = "rotation"
NEEDED_OPERATIONS = frozenset({"encrypt", "decrypt"})
USABLE_KEY_TYPES = frozenset({"RSA", "RSA-HSM"})
REFUSAL_LASTS = timedelta(days=1)
MOST_TIMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RotateRequest:
    """An operator's wish for a rotation: to an exact identifier, or (None) to the newest usable version."""

    operation_id: str
    identifier: KeyIdentifier | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    What became of the last push that did not go through.

    ``target`` is the version that was pushed. A permanent refusal has ``not_before`` a day later; a passing failure
    the time of the next try.
    """

    target: str
    code: str
    at: datetime
    not_before: datetime
    permanent: bool


@dataclass(frozen=True, slots=True)
class RotationInput:
    """Everything that the decision may look at."""

    facts: ProjectFacts
    policy: RotationPolicy
    now: datetime
    request: RotateRequest | None = None
    attempt: Attempt | None = None
    hold: OperatorHold | None = None
    approvals: Sequence[Approval] = ()
    reversals: Reversals = field(default_factory=Reversals)


@dataclass(frozen=True, slots=True)
class RotationDecision:
    """
    The verdict.

    ``state`` is the API's rotation state before anything is done: current, due, held, off or unknown. ``look_again_at``
    is the next time at which the clock alone may change the verdict; None: it does not.
    """

    state: str
    reason: str
    plan: Plan
    checks: Sequence[CheckResult]
    current: KeyIdentifier | None
    target: KeyIdentifier | None
    look_again_at: datetime | None = None
    push_before: datetime | None = None
    """When the window ends that lets the target be pushed; None: no window does."""


def what_it_lacks(version: KeyVersion, minimum_remaining: timedelta, now: datetime) -> str | None:
    """
    Say why Atlas could not use *version*, or None where it could.

    Atlas refuses disabled, not yet begun and expiring keys, and needs encrypt and decrypt.
    Sources: Atlas error codes ``AZURE_KEY_VAULT_KEY_*``; Atlas documentation of the key's permissions.
    """
    if not version.enabled:
        return "is disabled"
    if version.not_before is not None and version.not_before > now:
        return f"begins at {_time(version.not_before)}"
    if version.expires_at is not None and version.expires_at - now < minimum_remaining:
        hours = int(minimum_remaining.total_seconds() // 3600)
        return f"expires at {_time(version.expires_at)}, less than {hours} h away"
    if version.key_type is None or version.operations is None:
        return "was not read in full, so that its type is unknown"
    if version.key_type not in USABLE_KEY_TYPES:
        return f"is of type {version.key_type}, not RSA"
    if missing := NEEDED_OPERATIONS - version.operations:
        return f"does not allow {' and '.join(sorted(missing))}"
    return None


def decide_rotation(given: RotationInput) -> RotationDecision:
    """
    Say whether Atlas should be given another key identifier, and which.

    Pure. The target is the newest version by creation time that Atlas can use, and that is approved where the policy
    asks for it: never one created before the version in use, never another key. With any needed fact unknown the plan
    only holds.

    Returns:
        One ``pushKeyIdentifier``, or one hold with its reason, or an empty plan when there is nothing to do.
    """
    result = run_chain(DECISION, CHAIN, given)
    current = identifier_in_use(given.facts)
    target = _allowed_target(given) or _target(given)[0]
    again = _look_again_at(given, result.end)
    if isinstance(result.end, Hold):
        state = "unknown" if result.checks[-1].answer is Answer.UNKNOWN else "held"
        plan = Plan(held=(result.end,))
        return RotationDecision(state, result.end.code, plan, result.checks, current, target, again)
    if isinstance(result.end, Done):
        return RotationDecision(result.end.state, result.end.reason, Plan(), result.checks, current, None, again)
    assert target is not None, "the chain ends before this where there is no target"
    reason = _reason_to_push(given, current)
    action = Action(
        ActionKind.PUSH_KEY_IDENTIFIER, "encryptionAtRest", {"from": str(current), "to": str(target)}, reason
    )
    plan = Plan(actions=(action,))
    ends_at = open_until(given.policy.windows, given.now) if given.request is None else None
    return RotationDecision("due", reason, plan, result.checks, current, target, push_before=ends_at)


def _look_again_at(given: RotationInput, end: Hold | Done | None) -> datetime | None:
    """When the passing of time alone may change what was decided."""
    code = end.code if isinstance(end, Hold) else ""
    times = list(_beginnings(given))
    if code == "windowClosed":
        times.append(next_opening(given.policy.windows, given.now))
    elif code == "heldByOperator" and given.hold is not None:
        times.append(given.hold.until)
    elif code == "reversalLimitReached":
        times += [at + COUNTED_FOR for at in given.reversals.within_a_day(given.now)][:1]
    return min((at for at in times if at is not None and at > given.now), default=None)


def _beginnings(given: RotationInput) -> list[datetime | None]:
    """When versions that are newer than the one in use begin to be usable."""
    current, versions = identifier_in_use(given.facts), given.facts.key_versions
    if current is None or isinstance(versions, Unknown):
        return []
    return [v.not_before for v in newer_versions(versions, current) if v.enabled]


def _reason_to_push(given: RotationInput, current: KeyIdentifier | None) -> str:
    if given.request is not None:
        return "operatorRequest"
    if given.reversals.standing:
        return "reversalRepaired"
    return "newerVersionAvailable" if current is not None and current.version else "versionPinned"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _encryption(given: RotationInput) -> EncryptionAtRest:
    assert not isinstance(given.facts.encryption, Unknown), "asked before the check that establishes it"
    return given.facts.encryption


def _versions(given: RotationInput) -> KeyVersions:
    assert not isinstance(given.facts.key_versions, Unknown), "asked before the check that establishes it"
    return given.facts.key_versions


def _in_use(given: RotationInput) -> KeyIdentifier:
    current = identifier_in_use(given.facts)
    assert current is not None, "asked before the check that establishes it"
    return current


def _target(given: RotationInput) -> tuple[KeyIdentifier | None, dict[str, str]]:
    """The version to push (None: there is none), and what each newer version that was passed over lacks."""
    current = identifier_in_use(given.facts)
    if current is None or isinstance(given.facts.key_versions, Unknown):
        return None, {}
    skipped: dict[str, str] = {}
    minimum = timedelta(hours=given.policy.minimum_remaining_hours)
    wanted = given.request.identifier if given.request is not None else None
    if wanted is not None and not wanted.same_key(current):
        return None, {}
    for version in newer_versions(given.facts.key_versions, current):
        if wanted is not None and version.version != wanted.version:
            continue
        lacks = what_it_lacks(version, minimum, given.now)
        if lacks is None:
            return current.with_version(version.version), skipped
        skipped[version.version] = lacks
    return None, skipped


def _allowed_target(given: RotationInput) -> KeyIdentifier | None:
    """The version to push: the newest usable one; where the policy asks for approvals, the newest approved one."""
    if given.policy.mode != "approve" or given.request is not None:
        return _target(given)[0]
    current = identifier_in_use(given.facts)
    if current is None or isinstance(given.facts.key_versions, Unknown):
        return None
    approved = _approved_versions(given)
    minimum = timedelta(hours=given.policy.minimum_remaining_hours)
    for version in newer_versions(given.facts.key_versions, current):
        if version.version in approved and what_it_lacks(version, minimum, given.now) is None:
            return current.with_version(version.version)
    return None


def _approved_versions(given: RotationInput) -> frozenset[str]:
    """Versions whose approval is unused, or stands for the repair of a reversal: Atlas took it, and it was put back."""
    current, repaired = _in_use(given), given.reversals.rotated_to
    standing = [a.identifier for a in given.approvals if not a.used or a.identifier == repaired]
    return frozenset(i.version for i in standing if i.same_key(current) and i.version is not None)


def _encryption_is_read(given: RotationInput) -> Finding:
    encryption = given.facts.encryption
    if isinstance(encryption, Unknown):
        evidence = f"{encryption.code}: {encryption.why}"
        return Finding(Answer.UNKNOWN, evidence, hold("encryptionUnknown", evidence))
    return passes(f"read at {encryption.read_at:%H:%M:%S} UTC")


def _encryption_is_on(given: RotationInput) -> Finding:
    if not _encryption(given).enabled:
        return Finding(Answer.NO, "azureKeyVault.enabled is false", Done("off", "encryptionOff"))
    return passes("azureKeyVault.enabled is true")


def _identifier_is_well_formed(given: RotationInput) -> Finding:
    try:
        current = KeyIdentifier.parse(_encryption(given).key_identifier)
    except InvalidNameError as error:
        return Finding(Answer.NO, str(error), hold("identifierMalformed", str(error)))
    if current.version is None:
        return passes(f"{current} names no version: which one Atlas uses is unknown, and one is to be pinned")
    return passes(str(current))


def _identifier_agrees_with_settings(given: RotationInput) -> Finding:
    current, encryption = _in_use(given), _encryption(given)
    settings = ((encryption.vault_name or "").lower(), encryption.environment or Cloud.PUBLIC)
    evidence = f"identifier: vault {current.vault} in {current.cloud}; settings: vault {settings[0]} in {settings[1]}"
    if settings != (current.vault, current.cloud):
        return Finding(Answer.NO, evidence, hold("identifierDisagrees", evidence))
    return passes(evidence)


def _versions_are_read(given: RotationInput) -> Finding:
    versions = given.facts.key_versions
    if isinstance(versions, Unknown):
        evidence = f"{versions.code}: {versions.why}"
        return Finding(Answer.UNKNOWN, evidence, hold("keyVersionsUnknown", evidence))
    newest, current = versions.newest, _in_use(given)
    if not versions.complete and (newest is None or newest.version != current.version):
        evidence = "only the newest version was read, and it is not the one in use"
        return Finding(Answer.UNKNOWN, evidence, hold("keyVersionsUnknown", evidence))
    if any(not v.identifier.same_key(current) for v in versions.versions):
        evidence = "the versions that were read belong to another key"
        return Finding(Answer.NO, evidence, hold("identifierDisagrees", evidence))
    return passes(f"{len(versions.versions)} read from {versions.source}, complete: {versions.complete}")


def _version_in_use_is_listed(given: RotationInput) -> Finding:
    current = _in_use(given)
    if current.version is None:
        return passes("no version is named, so any usable one is newer")
    found = _versions(given).find(current.version)
    if found is None:
        evidence = f"{current.version} is not among {len(_versions(given).versions)} versions"
        return Finding(Answer.NO, evidence, hold("currentVersionMissing", evidence))
    return passes(f"{current.version} was created at {_time(found.created_at)}")


def _requested_version_is_allowed(given: RotationInput) -> Finding:
    wanted, current = (given.request.identifier if given.request else None), _in_use(given)
    if wanted is None:
        return passes("no version was asked for by name")
    if not wanted.same_key(current):
        evidence = f"{wanted} is not a version of {current.versionless}"
        return Finding(Answer.NO, evidence, hold("requestedVersionNotNewer", evidence))
    if wanted.version == current.version:
        return Finding(Answer.NO, f"{wanted.version} is in use already", Done("current", "newestInUse"))
    target, skipped = _target(given)
    if target is None:
        lacks = skipped.get(wanted.version or "")
        code = "requestedVersionUnusable" if lacks else "requestedVersionNotNewer"
        evidence = f"{wanted.version} {lacks or 'is not newer than the version in use'}"
        return Finding(Answer.NO, evidence, hold(code, evidence))
    return passes(f"{wanted.version} is newer and usable")


def _newer_usable_version_exists(given: RotationInput) -> Finding:
    target, skipped = _target(given)
    if target is None:
        if not skipped:
            return Finding(Answer.NO, "no version was created after the one in use", Done("current", "newestInUse"))
        evidence = "; ".join(f"{version[:8]}.. {lacks}" for version, lacks in skipped.items())
        return Finding(Answer.NO, evidence, Done("current", "newestUsableInUse"))
    return passes(f"{target.version}" + "".join(f"; {v[:8]}.. {lacks}" for v, lacks in skipped.items()))


def _no_operator_holds_it(given: RotationInput) -> Finding:
    held = given.hold
    if held is None or not held.stops(Job.ROTATION, given.now):
        return passes("no operator's hold on rotation is in force")
    until = f"until {_time(held.until)}" if held.until is not None else "until it is lifted"
    evidence = f"set by {held.who} at {_time(held.since)}, {until}: {held.reason}"
    return Finding(Answer.NO, evidence, hold("heldByOperator", evidence))


def _mode_allows(given: RotationInput) -> Finding:
    mode = given.policy.mode
    if given.request is not None:
        return passes(f"an operator asked, which passes over mode {mode}")
    if mode == "off":
        return Finding(Answer.NO, "rotation.mode is off", Done("off", "rotationOff"))
    if mode == "auto":
        return passes("rotation.mode is auto")
    target, (newest, _) = _allowed_target(given), _target(given)
    if target is None:
        evidence = f"rotation.mode is approve, and no usable approval is on record; {newest} awaits one"
        return Finding(Answer.NO, evidence, hold("approvalMissing", evidence))
    return passes(f"rotation.mode is approve, and {target} is approved")


def _reversals_are_below_limit(given: RotationInput) -> Finding:
    counted, limit = given.reversals.within_a_day(given.now), given.policy.max_reversals
    evidence = f"{len(counted)} in 24 h, the limit is {limit}"
    if given.request is not None:
        return passes(f"an operator asked, which passes over reversals: {evidence}")
    if len(counted) < limit:
        return passes(evidence)
    times = ", ".join(_time(at) for at in counted[-MOST_TIMES_SHOWN:])
    evidence = f"{given.reversals.rotated_to} was replaced by an older identifier {evidence}: seen at {times}"
    return Finding(Answer.NO, evidence, hold("reversalLimitReached", evidence))


def _window_is_open(given: RotationInput) -> Finding:
    windows = given.policy.windows
    if given.request is not None:
        return passes("an operator asked, which passes over windows")
    if not windows:
        return passes("rotation.windows is empty: any time")
    closes_at = open_until(windows, given.now)
    if closes_at is not None:
        return passes(f"a window is open until {_time(closes_at)}")
    opens_at = next_opening(windows, given.now)
    evidence = f"the next of {len(windows)} opens at {_time(opens_at)}" if opens_at is not None else "none opens again"
    return Finding(Answer.NO, evidence, hold("windowClosed", evidence))


def _key_in_use_is_valid(given: RotationInput) -> Finding:
    # Atlas checks the key it has before it takes another and refuses while that one is broken, so a push cannot
    # repair a revocation: the access has to be restored first.
    valid = _encryption(given).valid
    if valid is None:
        evidence = "azureKeyVault.valid is absent"
        return Finding(Answer.UNKNOWN, evidence, hold("currentKeyValidityUnknown", evidence))
    if not valid:
        evidence = "azureKeyVault.valid is false"
        return Finding(Answer.NO, evidence, hold("currentKeyInvalid", evidence))
    return passes("azureKeyVault.valid is true")


def _atlas_did_not_refuse_it(given: RotationInput) -> Finding:
    attempt, target = given.attempt, _allowed_target(given)
    if attempt is None or target is None or attempt.target != target.version or not attempt.permanent:
        return passes("Atlas has not refused this identifier")
    evidence = f"{attempt.code} at {_time(attempt.at)} for {attempt.target}"
    if given.request is not None:
        return passes(f"an operator asked again after {evidence}")
    if given.now >= attempt.at + REFUSAL_LASTS:
        return passes(f"a day has passed since {evidence}")
    return Finding(Answer.NO, evidence, hold("atlasRefusedTarget", evidence))


def _retry_is_due(given: RotationInput) -> Finding:
    attempt, target = given.attempt, _allowed_target(given)
    if attempt is None or attempt.permanent or target is None or attempt.target != target.version:
        return passes("no try of this identifier is waiting")
    evidence = f"{attempt.code} at {_time(attempt.at)}; next try at {attempt.not_before:%H:%M:%S} UTC"
    if given.now < attempt.not_before:
        return Finding(Answer.NO, evidence, hold("waitingToRetry", evidence))
    return passes(evidence)


CHAIN: Sequence[Check[RotationInput]] = (
    Check("encryptionIsRead", _encryption_is_read),
    Check("encryptionIsOn", _encryption_is_on),
    Check("identifierIsWellFormed", _identifier_is_well_formed),
    Check("identifierAgreesWithSettings", _identifier_agrees_with_settings),
    Check("versionsAreRead", _versions_are_read),
    Check("versionInUseIsListed", _version_in_use_is_listed),
    Check("requestedVersionIsAllowed", _requested_version_is_allowed),
    Check("newerUsableVersionExists", _newer_usable_version_exists),
    Check("noOperatorHoldsIt", _no_operator_holds_it),
    Check("modeAllows", _mode_allows),
    Check("reversalsAreBelowLimit", _reversals_are_below_limit),
    Check("windowIsOpen", _window_is_open),
    Check("keyInUseIsValid", _key_in_use_is_valid),
    Check("atlasDidNotRefuseIt", _atlas_did_not_refuse_it),
    Check("retryIsDue", _retry_is_due),
)
"""The rotation policy of the app, one check a line."""
