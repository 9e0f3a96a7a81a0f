"""
The four signals of a revocation: each yes, no or unknown, with what it rests on. Pure.

A "yes" is only what was seen to be so. Never: our own 403, a timeout, an expired key (it still decrypts), a network
block, a vault that is not found but not deleted either, a missing read or encrypt grant alone, ``valid: false`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keysteward.access_facts import AccessFacts, AccessMemory, Presence, SeenAccess, Source
from keysteward.decide.revocation.findings import Finding, unknown
from keysteward.decide.revocation.grant_removed import access_seen, judge_grant_removed
from keysteward.decide.revocation.grants import Grant, judge_grant
from keysteward.facts import Unknown
from keysteward.policy import SIGNALS
from keysteward.policy.blocks import Signal
from keysteward.principals import principal_ids, principals_to_ask
from keysteward.vocabulary import Answer, InvalidNameError, KeyIdentifier


@dataclass(frozen=True, slots=True)
class Signals:
    """
    Every signal, whether the policy selects it or not, and what is to be remembered of this look.

    ``principals``: of this run's block; those of the last one where it could not be read. ``seen``: who can decrypt
    now. ``key_seen``: the key, where it was seen to be there.
    """

    findings: Sequence[Finding]
    grants: Sequence[Grant] = ()
    principals: tuple[str, ...] = ()
    seen: frozenset[SeenAccess] = frozenset()
    key_seen: str | None = None
    encrypted: bool | None = None
    """Whether encryption at rest is on; None: not known."""

    @property
    def lacks(self) -> tuple[str, ...]:
        """Rights other than decrypt that every principal with access certainly lacks."""
        able = [set(grant.lacks) for grant in self.grants if grant.decrypt.answer is Answer.YES]
        return tuple(sorted(set.intersection(*able))) if able else ()


def judge_signals(facts: AccessFacts, memory: AccessMemory) -> Signals:
    """Answer every signal from what this run saw, and what is remembered of earlier sights."""
    block = facts.encryption
    if isinstance(block, Unknown):
        told = f"encryption at rest: {block.code}, {block.why}"
        return Signals(_all_unknown(told, lasting=not block.passing), principals=memory.principals)
    if not block.enabled:
        told = "encryption at rest with Azure Key Vault is off"
        off = [Finding(signal=name, answer=Answer.NO, subject="", evidence=told) for name in SIGNALS]
        return Signals(off, principals=principal_ids(block), encrypted=False)
    try:
        key = KeyIdentifier.parse(block.key_identifier)
    except InvalidNameError as error:
        told = f"the key identifier in Atlas: {error}"
        return Signals(_all_unknown(told, lasting=True), principals=memory.principals, encrypted=True)
    return _of_key(facts, memory, key, principals_to_ask(block, memory.principals), principal_ids(block))


def _of_key(
    facts: AccessFacts, memory: AccessMemory, key: KeyIdentifier, asked: Sequence[str], principals: tuple[str, ...]
) -> Signals:
    looked_at = sorted((p for p in facts.principals if p.atlas_id in asked), key=lambda p: p.atlas_id)
    grants = [judge_grant(facts, found) for found in looked_at]
    findings = (
        _key_disabled(facts, key),
        _key_deleted(facts, key, memory),
        _vault_deleted(facts, key),
        judge_grant_removed(facts, key, memory, asked, grants),
    )
    there = findings[1].answer is Answer.NO or findings[0].answer is not Answer.UNKNOWN
    seen = access_seen(key, grants)
    return Signals(findings, grants, principals, seen, str(key.versionless).lower() if there else None, encrypted=True)


def _all_unknown(evidence: str, *, lasting: bool) -> list[Finding]:
    return [unknown(name, "", evidence, lasting=lasting) for name in SIGNALS]


def _unread(signal: Signal, subject: str, what: str, found: Unknown) -> Finding:
    return unknown(signal, subject, f"{what}: {found.code}, {found.why}", lasting=not found.passing)


def _key_disabled(facts: AccessFacts, key: KeyIdentifier) -> Finding:
    name: Signal = "keyDisabled"
    version, subject = facts.version, str(key).lower()
    if key.version is None:
        told = "Atlas holds an identifier without a version, so the version in use is not known"
        return unknown(name, subject, told, lasting=True)
    if isinstance(version, Unknown):
        return _unread(name, subject, "the version in use", version)
    if not version.identifier.same_key(key) or version.identifier.version != key.version:
        return unknown(name, subject, f"{version.identifier} was read, and Atlas uses {key}", lasting=False)
    told = f"version {key.version} is {'enabled' if version.enabled else 'disabled'}, by {version.source}"
    if version.enabled:
        return Finding(signal=name, answer=Answer.NO, subject=subject, evidence=told)
    # A newer version that could be used makes a slip likely, and one that may be there makes it possible.
    slow = version.newer_usable is not False or version.source is not Source.DATA_PLANE
    slip = version.newer_usable is True
    told = f"{told}, while a newer usable one exists" if slip else told
    code = "disabledVersionInUse" if slip else None
    return Finding(signal=name, answer=Answer.YES, subject=subject, evidence=told, slow=slow, code=code)


def _key_deleted(facts: AccessFacts, key: KeyIdentifier, memory: AccessMemory) -> Finding:
    name: Signal = "keyDeleted"
    found, subject = facts.key, str(key.versionless).lower()
    if isinstance(found, Unknown):
        return _unread(name, subject, "the key", found)
    if not found.key.same_key(key):
        return unknown(name, subject, f"{found.key} was read, and Atlas uses {key.versionless}", lasting=False)
    by_manager = found.source is Source.RESOURCE_MANAGER
    told = f"by {found.source} the key is"
    if found.presence is Presence.THERE:
        return Finding(signal=name, answer=Answer.NO, subject=subject, evidence=f"{told} there")
    if found.presence is Presence.DELETED:
        return Finding(signal=name, answer=Answer.YES, subject=subject, evidence=f"{told} deleted", slow=by_manager)
    if by_manager and facts.vault is Presence.THERE and subject in memory.keys:
        told = f"{told} not found in a vault that was read in this run, and was seen there before"
        return Finding(signal=name, answer=Answer.YES, subject=subject, evidence=told, slow=True)
    return unknown(name, subject, f"{told} not found, which alone does not prove that it was deleted", lasting=True)


def _vault_deleted(facts: AccessFacts, key: KeyIdentifier) -> Finding:
    name: Signal = "vaultDeleted"
    found, subject = facts.vault, key.host
    if isinstance(found, Unknown):
        return _unread(name, subject, "the vault", found)
    if found is Presence.THERE:
        return Finding(signal=name, answer=Answer.NO, subject=subject, evidence="the vault is there")
    if found is Presence.NOT_FOUND:
        told = "the vault is not found, and is not among the deleted ones: it may have moved"
        return unknown(name, subject, told, lasting=True)
    if _answers(facts):
        told = "the vault is among the deleted ones, and yet one of its name answers about its keys"
        return unknown(name, subject, told, code="evidenceConflict", lasting=False)
    return Finding(signal=name, answer=Answer.YES, subject=subject, evidence="the vault is among the deleted ones")


def _answers(facts: AccessFacts) -> bool:
    """Whether the vault itself told of its keys in this run. A deleted one does not."""
    told = (facts.key, facts.version)
    return any(not isinstance(found, Unknown) and found.source is Source.DATA_PLANE for found in told)
