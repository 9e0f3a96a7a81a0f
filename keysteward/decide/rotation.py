"""
Decide whether Atlas should be given another key identifier, and which. Pure.

The order of the checks is the policy: what is not known, what does not agree and what Atlas would refuse each hold
the rotation back before a target is pushed. A target is never older than the version in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keysteward.decide.checks import Check, Done, Finding, passes, run_chain
from keysteward.facts import EncryptionAtRest, KeyVersions, ProjectFacts, Unknown, identifier_in_use, newer_versions
from keysteward.plan import Action, ActionKind, CheckResult, Hold, Plan
from keysteward.policy import RotationPolicy
from keysteward.reasons import hold
from keysteward.vocabulary import Answer, Cloud, InvalidNameError, KeyIdentifier, KeyVersion

DECISION = "rotation"
NEEDED_OPERATIONS = frozenset({"encrypt", "decrypt"})
USABLE_KEY_TYPES = frozenset({"RSA", "RSA-HSM"})
REFUSAL_LASTS = timedelta(days=1)


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


@dataclass(frozen=True, slots=True)
class RotationDecision:
    """
    The verdict.

    ``state`` is the API's rotation state before anything is done: current, due, held, off or unknown.
    """

    state: str
    reason: str
    plan: Plan
    checks: Sequence[CheckResult]
    current: KeyIdentifier | None
    target: KeyIdentifier | None


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

    Pure. The target is the newest version by creation time that Atlas can use: never one created before the version
    in use, never another key. With any needed fact unknown the plan only holds.

    Returns:
        One ``pushKeyIdentifier``, or one hold with its reason, or an empty plan when there is nothing to do.
    """
    result = run_chain(DECISION, CHAIN, given)
    current = identifier_in_use(given.facts)
    target, _ = _target(given)
    if isinstance(result.end, Hold):
        state = "unknown" if result.checks[-1].answer is Answer.UNKNOWN else "held"
        plan = Plan(held=(result.end,))
        return RotationDecision(state, result.end.code, plan, result.checks, current, target)
    if isinstance(result.end, Done):
        return RotationDecision(result.end.state, result.end.reason, Plan(), result.checks, current, None)
    assert target is not None, "the chain ends before this where there is no target"
    reason = _reason_to_push(given, current)
    action = Action(
        ActionKind.PUSH_KEY_IDENTIFIER, "encryptionAtRest", {"from": str(current), "to": str(target)}, reason
    )
    return RotationDecision("due", reason, Plan(actions=(action,)), result.checks, current, target)


def _reason_to_push(given: RotationInput, current: KeyIdentifier | None) -> str:
    if given.request is not None:
        return "operatorRequest"
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


def _mode_allows(given: RotationInput) -> Finding:
    mode = given.policy.mode
    if given.request is not None:
        return passes(f"an operator asked, which passes over mode {mode}")
    if mode == "off":
        return Finding(Answer.NO, "rotation.mode is off", Done("off", "rotationOff"))
    if mode == "approve":
        evidence = "rotation.mode is approve, and no approval is on record"
        return Finding(Answer.NO, evidence, hold("approvalMissing", evidence))
    return passes("rotation.mode is auto")


def _window_is_open(given: RotationInput) -> Finding:
    if given.request is not None:
        return passes("an operator asked, which passes over windows")
    if given.policy.windows:
        evidence = f"rotation.windows has {len(given.policy.windows)} entries"
        return Finding(Answer.NO, evidence, hold("windowClosed", evidence))
    return passes("rotation.windows is empty: any time")


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
    attempt, (target, _) = given.attempt, _target(given)
    if attempt is None or target is None or attempt.target != target.version or not attempt.permanent:
        return passes("Atlas has not refused this identifier")
    evidence = f"{attempt.code} at {_time(attempt.at)} for {attempt.target}"
    if given.request is not None:
        return passes(f"an operator asked again after {evidence}")
    if given.now >= attempt.at + REFUSAL_LASTS:
        return passes(f"a day has passed since {evidence}")
    return Finding(Answer.NO, evidence, hold("atlasRefusedTarget", evidence))


def _retry_is_due(given: RotationInput) -> Finding:
    attempt, (target, _) = given.attempt, _target(given)
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
    Check("modeAllows", _mode_allows),
    Check("windowIsOpen", _window_is_open),
    Check("keyInUseIsValid", _key_in_use_is_valid),
    Check("atlasDidNotRefuseIt", _atlas_did_not_refuse_it),
    Check("retryIsDue", _retry_is_due),
)
"""The rotation policy of the app, one check a line."""
