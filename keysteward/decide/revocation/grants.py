"""
Whether one of Atlas's principals may use the key, by the vault's permission model. Pure.

Names of roles prove nothing: what counts is the data actions. An answer is "no" only where everything that could make
it a "yes" was read; a condition, a group whose members are not known, or a list that was not read, is unknown.

Sources: Azure RBAC documentation, role-definitions (wildcards, the subtraction in each block, the union over blocks),
deny-assignments; Key Vault documentation, rbac-guide, assign-access-policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from keysteward.access_facts import (
    AccessFacts,
    DenyAssignment,
    DirectoryObject,
    Permission,
    PermissionModel,
    PolicyEntry,
    Principal,
    RoleAssignment,
    RoleDefinition,
)
from keysteward.facts import Fact, Unknown
from keysteward.network_facts import NOT_ASKED
from keysteward.vocabulary import Answer

READ, ENCRYPT, DECRYPT = "read", "encrypt", "decrypt"
# What Atlas needs. Source: Atlas documentation, security-azure-kms. Wrap and unwrap are other rights: the role
# "Crypto Service Encryption User" has only those, and does not serve Atlas.
DATA_ACTIONS = {
    READ: "microsoft.keyvault/vaults/keys/read",
    ENCRYPT: "microsoft.keyvault/vaults/keys/encrypt/action",
    DECRYPT: "microsoft.keyvault/vaults/keys/decrypt/action",
}
POLICY_PERMISSIONS = {READ: "get", ENCRYPT: "encrypt", DECRYPT: "decrypt"}
EVERYBODY = "00000000-0000-0000-0000-000000000000"
_NO_GROUP = frozenset({"user", "serviceprincipal"})


@dataclass(frozen=True, slots=True)
class Found:
    """An answer with what it rests on. ``lasting``: looking again will not tell; somebody has to act."""

    answer: Answer
    evidence: str
    lasting: bool = False
    stale: bool = False
    """It rests on a role definition from a cache."""


def any_of(found: Iterable[Found], otherwise: str) -> Found:
    """Yes if one is yes; else unknown if one is unknown; else no."""
    parts = sorted(found, key=lambda f: (f.answer, f.evidence))
    stale = any(part.stale for part in parts)
    for part in parts:
        if part.answer is Answer.YES:
            return part
    unknown = [part for part in parts if part.answer is Answer.UNKNOWN]
    if unknown:
        # One reason that passes may tell more at the next look, whatever the others are.
        lasting = all(part.lasting for part in unknown)
        return Found(Answer.UNKNOWN, "; ".join(dict.fromkeys(part.evidence for part in unknown)), lasting, stale)
    return Found(Answer.NO, otherwise, stale=stale)


def unread(what: str, unknown: Unknown) -> Found:
    return Found(Answer.UNKNOWN, f"{what}: {unknown.code}, {unknown.why}", lasting=not unknown.passing)


@lru_cache(maxsize=1024)
def _pattern(action: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, action.strip().lower().split("*"))), re.DOTALL)


def matches(actions: Sequence[str], wanted: str) -> bool:
    """Whether one of *actions* covers the lower-case *wanted*. ``*`` stands for any text, ``/`` included."""
    return any(_pattern(action).fullmatch(wanted) for action in actions)


def _covers(permissions: Sequence[Permission], wanted: str, condition: str | None) -> Answer:
    """Whether some block covers *wanted*: a block's exclusions take away from that block alone."""
    found = [
        block
        for block in permissions
        if matches(block.data_actions, wanted) and not matches(block.not_data_actions, wanted)
    ]
    if not found:
        return Answer.NO
    conditional = condition or all(block.condition for block in found)
    return Answer.UNKNOWN if conditional else Answer.YES


def holds(found: DirectoryObject, object_id: str) -> Answer:
    """Whether *found* is the principal, or a group that it belongs to."""
    wanted = object_id.lower()
    if found.object_id.lower() in {wanted, EVERYBODY}:
        return Answer.YES
    known = {key.lower(): value for key, value in found.holds.items()}
    if wanted in known:
        return Answer.YES if known[wanted] else Answer.NO
    return Answer.NO if (found.kind or "").lower() in _NO_GROUP else Answer.UNKNOWN


@dataclass(frozen=True, slots=True)
class Grant:
    """What a principal may do with the key. Degraded: it can decrypt, and lacks one of the other two rights."""

    principal: Principal
    read: Found
    encrypt: Found
    decrypt: Found

    @property
    def lacks(self) -> tuple[str, ...]:
        """Which of the rights other than decrypt are certainly missing, where it can decrypt."""
        if self.decrypt.answer is not Answer.YES:
            return ()
        rights = ((READ, self.read), (ENCRYPT, self.encrypt))
        return tuple(name for name, found in rights if found.answer is Answer.NO)


def judge_grant(facts: AccessFacts, principal: Principal) -> Grant:
    """Say what *principal* may do with the key that Atlas uses."""
    read, encrypt, decrypt = (_judge(facts, principal, right) for right in (READ, ENCRYPT, DECRYPT))
    return Grant(principal, read, encrypt, decrypt)


def _judge(facts: AccessFacts, principal: Principal, right: str) -> Found:
    if isinstance(principal.object_id, Unknown):
        found = unread(f"Atlas's principal {principal.atlas_id}", principal.object_id)
        return Found(Answer.UNKNOWN, found.evidence, lasting=True)
    if isinstance(facts.model, Unknown):
        return unread("the vault's permission model", facts.model)
    if facts.model is PermissionModel.ROLES:
        return _by_roles(facts, principal.assignments, principal.object_id, right)
    return _by_policies(facts, principal.object_id, right)


def _by_roles(facts: AccessFacts, assigned: Fact[tuple[RoleAssignment, ...]], object_id: str, right: str) -> Found:
    if isinstance(assigned, Unknown):
        return unread(f"role assignments of {object_id} at the key", assigned)
    wanted = DATA_ACTIONS[right]
    none = f"none of {len(assigned)} role assignments of {object_id} at the key grants {wanted}"
    granted = any_of((_by_role(facts, assignment, wanted) for assignment in assigned), none)
    if granted.answer is Answer.NO:
        return granted
    denied = _denied(facts, object_id, wanted)
    if denied.answer is Answer.YES:
        return Found(Answer.NO, denied.evidence, stale=granted.stale)
    if denied.answer is Answer.UNKNOWN and granted.answer is Answer.YES:
        return denied
    return granted


def _by_role(facts: AccessFacts, assignment: RoleAssignment, wanted: str) -> Found:
    role = assignment.definition_id.lower()
    definition: Fact[RoleDefinition] = facts.definitions.get(role, NOT_ASKED)
    if isinstance(definition, Unknown):
        return unread(f"role definition {role.rpartition('/')[2]}", definition)
    answer = _covers(definition.permissions, wanted, assignment.condition)
    name = f"role {role.rpartition('/')[2]} at {assignment.scope}"
    told = f"{name} grants {wanted}" if answer is Answer.YES else f"{name} grants it under a condition"
    return Found(answer, told, lasting=answer is Answer.UNKNOWN, stale=not definition.fresh)


def _denied(facts: AccessFacts, object_id: str, wanted: str) -> Found:
    denials = facts.denials
    if isinstance(denials, Unknown):
        return unread("deny assignments at the key", denials)
    scope = facts.key_scope
    return any_of((_by_denial(found, scope, object_id, wanted) for found in denials), "no deny assignment applies")


def _by_denial(denial: DenyAssignment, scope: str, object_id: str, wanted: str) -> Found:
    here = denial.scope.strip("/").lower() == scope.strip("/").lower()
    if denial.only_at_scope and not here:
        return Found(Answer.NO, "")
    excluded = _one_holds(denial.excluded, object_id)
    covered = _covers(denial.permissions, wanted, denial.condition)
    named = _one_holds(denial.principals, object_id)
    if Answer.NO in {named, covered} or excluded is Answer.YES:
        return Found(Answer.NO, "")
    told = f"deny assignment {denial.name} at {denial.scope}"
    if (named, covered, excluded) == (Answer.YES, Answer.YES, Answer.NO):
        return Found(Answer.YES, f"{told} denies {wanted} to {object_id}")
    return Found(Answer.UNKNOWN, f"{told} may deny it: a condition, or a group with unknown members", lasting=True)


def _one_holds(objects: Iterable[DirectoryObject], object_id: str) -> Answer:
    answers = {holds(found, object_id) for found in objects}
    return next((answer for answer in (Answer.YES, Answer.UNKNOWN) if answer in answers), Answer.NO)


def _by_policies(facts: AccessFacts, object_id: str, right: str) -> Found:
    entries = facts.policies
    if isinstance(entries, Unknown):
        return unread("access policies of the vault", entries)
    permission = POLICY_PERMISSIONS[right]
    own = "" if isinstance(facts.own_object_id, Unknown) else facts.own_object_id.lower()
    granting = [entry for entry in entries if _grants(entry, permission)]
    # Our own identity is nobody's group; where we do not know who we are, our entry may be one like any other.
    others = [entry for entry in granting if entry.holder.object_id.lower() != own or own == object_id.lower()]
    none = f"none of {len(entries)} access policies grants {permission} to {object_id}"
    return any_of((_by_entry(entry, object_id, permission) for entry in others), none)


def _grants(entry: PolicyEntry, permission: str) -> bool:
    if entry.application_id:
        return False
    return not {permission, "all"}.isdisjoint(p.strip().lower() for p in entry.key_permissions)


def _by_entry(entry: PolicyEntry, object_id: str, permission: str) -> Found:
    answer = holds(entry.holder, object_id)
    holder = entry.holder.object_id
    if answer is Answer.UNKNOWN:
        told = f"the access policy of {holder} grants {permission}, and may be of a group that holds {object_id}"
        return Found(answer, told, lasting=True)
    return Found(answer, f"the access policy of {holder} grants {permission}")
