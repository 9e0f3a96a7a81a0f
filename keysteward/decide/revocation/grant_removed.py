"""
The signal ``grantRemoved``: an absence, and so concluded only where a presence was seen before. Pure.

It is "yes" only if no identity that Atlas may sign in with can decrypt, each of them was once seen to, and, where roles
decide, a list of assignments of the same scope shows that such lists come back whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keysteward.access_facts import AccessFacts, AccessMemory, PermissionModel, SeenAccess
from keysteward.decide.revocation.findings import Finding, Need, unknown
from keysteward.decide.revocation.grants import Grant
from keysteward.facts import Unknown
from keysteward.network_facts import NOT_ASKED
from keysteward.policy.blocks import Signal
from keysteward.vocabulary import Answer, KeyIdentifier

SIGNAL: Signal = "grantRemoved"


def judge_grant_removed(
    facts: AccessFacts, key: KeyIdentifier, memory: AccessMemory, asked: Sequence[str], grants: Sequence[Grant]
) -> Finding:
    """
    Say whether Atlas can no longer decrypt with *key*.

    Args:
        facts: what this run saw.
        key: the identifier in use.
        memory: what earlier runs saw.
        asked: the identities that the question is about; more than one while Atlas moves between them.
        grants: what was found of each that was looked at.
    """
    subject = f"{str(key.versionless).lower()} {' '.join(asked)}"
    missing = sorted(set(asked) - {grant.principal.atlas_id for grant in grants})
    if not asked:
        return unknown(SIGNAL, subject, "the encryption block names no identity", code="principalUnknown", lasting=True)
    able = [grant.decrypt for grant in grants if grant.decrypt.answer is Answer.YES]
    if able:
        return Finding(signal=SIGNAL, answer=Answer.NO, subject=subject, evidence=able[0].evidence, slow=True)
    if missing:
        return unknown(SIGNAL, subject, f"{', '.join(missing)} was not looked at", lasting=False)
    return _doubted(subject, grants) or _unable(facts, key, memory, subject, grants)


def _doubted(subject: str, grants: Sequence[Grant]) -> Finding | None:
    doubts = [grant for grant in grants if grant.decrypt.answer is Answer.UNKNOWN]
    if not doubts:
        return None
    evidence = "; ".join(dict.fromkeys(grant.decrypt.evidence for grant in doubts))
    lasting = all(grant.decrypt.lasting for grant in doubts)
    nameless = any(isinstance(grant.principal.object_id, Unknown) for grant in doubts)
    code = "principalUnknown" if nameless else "grantUnproven" if lasting else "accessUnknown"
    return unknown(SIGNAL, subject, evidence, code=code, lasting=lasting)


def _unable(
    facts: AccessFacts, key: KeyIdentifier, memory: AccessMemory, subject: str, grants: Sequence[Grant]
) -> Finding:
    """No identity can decrypt, by what was read; say whether that may be concluded."""
    evidence = "; ".join(grant.decrypt.evidence for grant in grants)
    seen = {(found.object_id.lower(), found.key.lower()) for found in memory.decrypts}
    never = [g for g in grants if (_object_id(g), str(key.versionless).lower()) not in seen]
    if never:
        names = ", ".join(grant.principal.atlas_id for grant in never)
        told = f"{evidence}; {names} was never seen to hold decrypt on this key"
        return unknown(SIGNAL, subject, told, code="accessNeverSeen", lasting=True)
    if any(grant.decrypt.stale for grant in grants):
        told = f"{evidence}; by role definitions that were not read in this run"
        found = unknown(SIGNAL, subject, told, lasting=False)
        return replace(found, needs=_needs(facts, fresh=True))
    if facts.model is PermissionModel.ROLES:
        listed = facts.control_list
        if isinstance(listed, Unknown):
            told = f"{evidence}; the list of all assignments there: {listed.code}, {listed.why}"
            # What this run was only not asked for is no news of anything.
            code = "accessUnknown" if listed == NOT_ASKED else "accessNeverSeen"
            found = unknown(SIGNAL, subject, told, code=code, lasting=not listed.passing)
            return replace(found, needs=_needs(facts, fresh=False))
        if not listed.complete or not listed.count:
            how = "was not read whole" if not listed.complete else "is empty"
            told = f"{evidence}; the list of all assignments there {how}, so it proves nothing"
            return unknown(SIGNAL, subject, told, code="accessNeverSeen", lasting=listed.complete)
        evidence = f"{evidence}; {listed.count} assignments of others were read there"
    return Finding(signal=SIGNAL, answer=Answer.YES, subject=subject, evidence=evidence, slow=True)


def _needs(facts: AccessFacts, *, fresh: bool) -> frozenset[Need]:
    listed = facts.model is PermissionModel.ROLES and facts.control_list == NOT_ASKED
    return frozenset({*([Need.FRESH_DEFINITIONS] if fresh else []), *([Need.CONTROL_LIST] if listed else [])})


def _object_id(grant: Grant) -> str:
    found = grant.principal.object_id
    return "" if isinstance(found, Unknown) else found.lower()


def access_seen(key: KeyIdentifier, grants: Sequence[Grant]) -> frozenset[SeenAccess]:
    """Return what is to be remembered: which principals hold decrypt on the key now."""
    able = (grant for grant in grants if grant.decrypt.answer is Answer.YES)
    return frozenset(SeenAccess(_object_id(grant), str(key.versionless).lower()) for grant in able)
