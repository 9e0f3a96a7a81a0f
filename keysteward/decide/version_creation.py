"""
Decide whether a new version should be made of the key that a project uses. Pure.

What the vault holds is asked of the rotation's own checks. A version is made at most once a day for a key, whoever
wants it: by what the vault lists, and by what we remember of our own requests, also of those whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from keysteward.decide import rotation
from keysteward.decide.checks import Check, Done, Finding, passes, run_chain
from keysteward.facts import Job, KeyVersions, OperatorHold, ProjectFacts, Unknown, identifier_in_use, newer_versions
from keysteward.plan import Action, ActionKind, CheckResult, Hold, Plan
from keysteward.policy import RotationPolicy
from keysteward.reasons import hold
from keysteward.vocabulary import Answer, KeyIdentifier, KeyVersion

DECISION = "versionCreation"
APART = timedelta(hours=24, minutes=5)
"""
No version is made within 24 h of another. The rest is for clocks that differ, and for the time that a request takes
after it was written down.
"""
TRIES_UNTIL_HELD = 3
"""So many tries in a row that made nothing are told of, and hold; they go on nevertheless."""
_DATA_PLANE = "dataPlane"


@dataclass(frozen=True, slots=True)
class FailedTries:
    """Tries for a version in a row that certainly made nothing; ``code`` says why of the last one."""

    count: int
    code: str
    not_before: datetime


@dataclass(frozen=True, slots=True)
class LastCreation:
    """
    The last time that this app asked for a version of the key, and the tries since then that came to nothing.

    ``asked``: what became of it is not known. ``notMade``: nothing, so it holds nothing back.
    """

    at: datetime
    state: Literal["asked", "made", "refused", "notMade"]
    tries: FailedTries | None = None


@dataclass(frozen=True, slots=True)
class CreationInput:
    """
    Everything that the decision may look at: what one project wants of the key that it uses.

    ``last`` is about that key; ``project_hold`` stops this project's wish, ``vault_hold`` that of every project.
    """

    facts: ProjectFacts
    policy: RotationPolicy
    now: datetime
    last: LastCreation | None = None
    project_hold: OperatorHold | None = None
    vault_hold: OperatorHold | None = None


@dataclass(frozen=True, slots=True)
class CreationDecision:
    """
    The verdict. ``key`` is the versionless identifier in use (None: not known).

    ``look_again_at`` is the next time at which the clock alone may change the verdict; None: it does not.
    """

    reason: str
    plan: Plan
    checks: Sequence[CheckResult]
    key: KeyIdentifier | None
    look_again_at: datetime | None = None


def asks_for_versions(policy: RotationPolicy) -> bool:
    """Whether the policy lets the app make versions at all."""
    wanted = policy.create_version_on_near_expiry or policy.create_version_after_days is not None
    return wanted and policy.mode != "off"


def decide_version_creation(given: CreationInput) -> CreationDecision:
    """
    Say whether the app should let the vault make a new version of the key that the project uses.

    Pure. Yes only where the policy asks for it, the version in use is near its end or too old, no newer one exists, the
    vault itself has said so, and no version was made or asked for within a day. An expired version still decrypts, and
    is as good a reason as one that is about to expire.

    Returns:
        One ``createKeyVersion``, or one hold with its reason, or an empty plan when there is nothing to do. After some
        tries that made nothing the hold stands beside the action: told once, it is over when a version is made.
    """
    result = run_chain(DECISION, CHAIN, given)
    current = identifier_in_use(given.facts)
    key = current.versionless if current is not None else None
    again = _look_again_at(given, result.end)
    if isinstance(result.end, Hold):
        return CreationDecision(result.end.code, Plan(held=(result.end,)), result.checks, key, again)
    if isinstance(result.end, Done):
        return CreationDecision(result.end.reason, Plan(), result.checks, key, again)
    reason = _why_due(given, _version_in_use(given))
    assert reason is not None, "the chain ends before this where none is due"
    detail = {"versionInUse": _version_in_use(given).version}
    action = Action(ActionKind.CREATE_KEY_VERSION, str(key), detail, reason)
    tries = failed_tries(given.last, given.now)
    held = (_held_after(tries),) if tries is not None and tries.count >= TRIES_UNTIL_HELD else ()
    return CreationDecision(reason, Plan(actions=(action,), held=held), result.checks, key)


def failed_tries(last: LastCreation | None, now: datetime) -> FailedTries | None:
    """The tries in a row that count by now: where the next one is overdue by a day, nobody has tried since."""
    tries = last.tries if last is not None else None
    return tries if tries is not None and now - tries.not_before < APART else None


def _look_again_at(given: CreationInput, end: Hold | Done | None) -> datetime | None:
    """When the passing of time alone may change what was decided."""
    times: list[datetime | None] = []
    match end:
        case Done(reason="creationNotDue"):
            times += _due_at(given, _version_in_use(given))
        case Done(reason="versionMadeLately") | Hold(code="versionCreationRefused"):
            times.append(max(_made_or_asked(given)) + APART)
        case Hold(code="waitingToRetry") | Hold(code="versionCreationDelayed"):
            times += [tries.not_before for tries in [failed_tries(given.last, given.now)] if tries is not None]
        case Hold(code="heldByOperator"):
            times += [held.until for held in _holds(given)]
    return min((at for at in times if at is not None and at > given.now), default=None)


def _due_at(given: CreationInput, in_use: KeyVersion) -> Iterator[datetime]:
    policy = given.policy
    if policy.create_version_on_near_expiry and in_use.expires_at is not None:
        yield in_use.expires_at - timedelta(days=policy.create_version_before_expiry_days)
    if policy.create_version_after_days is not None:
        yield in_use.created_at + timedelta(days=policy.create_version_after_days)


def _why_due(given: CreationInput, in_use: KeyVersion) -> str | None:
    """The reason code for a new version, or None where none is due."""
    policy = given.policy
    if policy.create_version_on_near_expiry and in_use.expires_at is not None:
        left = in_use.expires_at - given.now
        if left <= timedelta(days=policy.create_version_before_expiry_days):
            return "nearExpiry"
    too_old = policy.create_version_after_days
    if too_old is not None and given.now - in_use.created_at > timedelta(days=too_old):
        return "versionTooOld"
    return None


def _made_or_asked(given: CreationInput) -> list[datetime]:
    """When each version was made, and when we asked for one last."""
    versions = given.facts.key_versions
    made = [] if isinstance(versions, Unknown) else [v.created_at for v in versions.versions]
    return [*made, given.last.at] if given.last is not None and given.last.state != "notMade" else made


def _holds(given: CreationInput) -> list[OperatorHold]:
    """The operators' holds that stop it now."""
    both = ((given.project_hold, Job.ROTATION), (given.vault_hold, Job.FIREWALL))
    return [held for held, job in both if held is not None and held.stops(job, given.now)]


def _versions(given: CreationInput) -> KeyVersions:
    assert not isinstance(given.facts.key_versions, Unknown), "asked before the check that establishes it"
    return given.facts.key_versions


def _in_use(given: CreationInput) -> KeyIdentifier:
    current = identifier_in_use(given.facts)
    assert current is not None, "asked before the check that establishes it"
    return current


def _version_in_use(given: CreationInput) -> KeyVersion:
    current = _in_use(given)
    found = _versions(given).find(current.version) if current.version else None
    assert found is not None, "asked before the check that establishes it"
    return found


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _policy_asks_for_it(given: CreationInput) -> Finding:
    policy = given.policy
    if policy.mode == "off":
        return Finding(Answer.NO, "rotation.mode is off", Done("off", "rotationOff"))
    if not asks_for_versions(policy):
        evidence = "rotation.createVersionOnNearExpiry is false, and createVersionAfterDays is not set"
        return Finding(Answer.NO, evidence, Done("off", "creationNotAsked"))
    near = f"{policy.create_version_before_expiry_days} days before its end"
    wanted = [near] if policy.create_version_on_near_expiry else []
    if policy.create_version_after_days is not None:
        wanted.append(f"after {policy.create_version_after_days} days")
    return passes(f"the policy wants a new version {' or '.join(wanted)}")


def _version_in_use_is_named(given: CreationInput) -> Finding:
    current = _in_use(given)
    if current.version is None:
        evidence = f"{current} names no version, so which one Atlas uses is not known until one is pinned"
        return Finding(Answer.UNKNOWN, evidence, Done("unknown", "versionNotNamed"))
    return passes(f"{current.version} is in use")


def _no_newer_version_exists(given: CreationInput) -> Finding:
    newer = newer_versions(_versions(given), _in_use(given))
    if newer:
        evidence = f"{newer[0].version} was made at {_time(newer[0].created_at)}"
        return Finding(Answer.NO, evidence, Done("current", "newerVersionExists"))
    return passes("none was made after the one in use")


def _creation_is_due(given: CreationInput) -> Finding:
    in_use = _version_in_use(given)
    ends = f"ends at {_time(in_use.expires_at)}" if in_use.expires_at is not None else "has no end"
    evidence = f"the version in use was made at {_time(in_use.created_at)} and {ends}"
    if _why_due(given, in_use) is None:
        return Finding(Answer.NO, evidence, Done("current", "creationNotDue"))
    return passes(evidence)


def _the_vault_itself_has_spoken(given: CreationInput) -> Finding:
    # Resource Manager's view of a key may lag behind the vault (unverified by how much), and a version that it does not
    # show yet would be followed by a second one.
    source = _versions(given).source
    if source != _DATA_PLANE:
        evidence = f"the versions were read from {source}"
        return Finding(Answer.UNKNOWN, evidence, hold("keyVersionsNotFresh", evidence))
    return passes("read from the vault itself")


def _none_was_made_lately(given: CreationInput) -> Finding:
    newest = _versions(given).newest
    assert newest is not None, "the version in use is among them"
    evidence = f"the youngest version was made at {_time(newest.created_at)}"
    if given.now - newest.created_at < APART:
        return Finding(Answer.NO, evidence, Done("current", "versionMadeLately"))
    return passes(evidence)


def _none_was_asked_for_lately(given: CreationInput) -> Finding:
    last = given.last
    if last is None or last.state == "notMade" or given.now - last.at >= APART:
        return passes("none was asked for within a day")
    evidence = f"one was asked for at {_time(last.at)}: {last.state}"
    if last.state == "refused":
        return Finding(Answer.NO, evidence, hold("versionCreationRefused", evidence))
    return Finding(Answer.NO, evidence, Done("current", "versionMadeLately"))


def _no_operator_holds_it(given: CreationInput) -> Finding:
    found = _holds(given)
    if not found:
        return passes("no operator's hold on the project's rotation or on the vault is in force")
    held = found[0]
    until = f"until {_time(held.until)}" if held.until is not None else "until it is lifted"
    evidence = f"set by {held.who} at {_time(held.since)}, {until}: {held.reason}"
    return Finding(Answer.NO, evidence, hold("heldByOperator", evidence))


def _next_try_is_due(given: CreationInput) -> Finding:
    tries = failed_tries(given.last, given.now)
    if tries is None:
        return passes("no try has failed lately")
    if given.now < tries.not_before:
        held = _held_after(tries)
        return Finding(Answer.NO, held.evidence, held)
    return passes(f"{tries.count} tries in a row made nothing ({tries.code}), and the next one is due")


def _held_after(tries: FailedTries) -> Hold:
    evidence = f"{tries.code}: {tries.count} in a row made nothing; next try at {_time(tries.not_before)}"
    if tries.count >= TRIES_UNTIL_HELD:
        return hold("versionCreationDelayed", evidence)
    return hold("waitingToRetry", evidence)


_ASKED_BY_ROTATION = {check.name: check.ask for check in rotation.CHAIN}


def _as_rotation_asks(name: str) -> Check[CreationInput]:
    """One of the rotation's checks, of the facts alone."""
    ask = _ASKED_BY_ROTATION[name]
    return Check(name, lambda given: ask(rotation.RotationInput(given.facts, given.policy, given.now)))


CHAIN: Sequence[Check[CreationInput]] = (
    Check("policyAsksForIt", _policy_asks_for_it),
    _as_rotation_asks("encryptionIsRead"),
    _as_rotation_asks("encryptionIsOn"),
    _as_rotation_asks("identifierIsWellFormed"),
    _as_rotation_asks("identifierAgreesWithSettings"),
    Check("versionInUseIsNamed", _version_in_use_is_named),
    _as_rotation_asks("versionsAreRead"),
    _as_rotation_asks("versionInUseIsListed"),
    Check("noNewerVersionExists", _no_newer_version_exists),
    Check("creationIsDue", _creation_is_due),
    Check("theVaultItselfHasSpoken", _the_vault_itself_has_spoken),
    Check("noneWasMadeLately", _none_was_made_lately),
    Check("noneWasAskedForLately", _none_was_asked_for_lately),
    Check("noOperatorHoldsIt", _no_operator_holds_it),
    Check("nextTryIsDue", _next_try_is_due),
)
"""When the app makes a version, one check a line. The vault's run asks all of it again of a list of its own."""
