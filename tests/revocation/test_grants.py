"""Whether Atlas's principal can use the key: a decision table for each permission model."""

from __future__ import annotations

from typing import Any

import pytest

from keysteward.access_facts import (
    AccessFacts,
    DenyAssignment,
    DirectoryObject,
    Permission,
    PermissionModel,
    PolicyEntry,
    RoleAssignment,
    RoleDefinition,
)
from keysteward.decide.revocation.grants import Grant, judge_grant
from keysteward.facts import Unknown
from keysteward.principals import principals_to_ask, resolved
from tests.builders import encryption
from tests.revocation.project import (
    CLIENT_ID,
    CRYPTO_USER_ACTIONS,
    GRANTED,
    GROUP,
    KEY_SCOPE,
    KEYS,
    LOST,
    OID,
    OTHER_OID,
    OWN_OID,
    REFUSED,
    ROLE_ID,
    SUBSCRIPTION,
    VAULT_SCOPE,
    access,
    principal,
    role,
)

ROLE = "/providers/Microsoft.Authorization/roleDefinitions/0001"
ASSIGNED = RoleAssignment(ROLE, GROUP)


def _judged(facts: AccessFacts) -> Grant:
    return judge_grant(facts, facts.principals[0])


def _by_role(*definitions: RoleDefinition | Unknown, **changes: Any) -> AccessFacts:
    names = [f"{ROLE}{n}" for n in range(len(definitions))]
    assigned = tuple(RoleAssignment(name, GROUP) for name in names)
    found = {name.lower(): definition for name, definition in zip(names, definitions, strict=True)}
    return access(**{"principals": (principal(assignments=assigned),), "definitions": found} | changes)


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        pytest.param(access(), "yes", id="Key Vault Crypto User"),
        pytest.param(access(principals=(principal(assignments=()),)), "no", id="no assignment"),
        pytest.param(_by_role(role(f"{KEYS}/decrypt/action")), "yes", id="the one data action"),
        pytest.param(_by_role(role("*")), "yes", id="everything"),
        pytest.param(_by_role(role("Microsoft.KeyVault/*")), "yes", id="a wildcard reaches over slashes"),
        pytest.param(_by_role(role("Microsoft.KeyVault/vaults/*/action")), "yes", id="a wildcard in the middle"),
        pytest.param(_by_role(role("microsoft.keyvault/VAULTS/Keys/DECRYPT/action")), "yes", id="in whatever case"),
        pytest.param(_by_role(role(f"{KEYS}/decrypt")), "no", id="a part of the action is another action"),
        pytest.param(_by_role(role("Microsoft.KeyVault/vaults/*/read")), "no", id="Key Vault Reader"),
        pytest.param(_by_role(role("Microsoft.KeyVault/vaults/secrets/*")), "no", id="a wildcard elsewhere"),
        pytest.param(
            _by_role(role(f"{KEYS}/read", f"{KEYS}/wrap/action", f"{KEYS}/unwrap/action")),
            "no",
            id="Crypto Service Encryption User wraps and unwraps, and cannot decrypt",
        ),
        pytest.param(_by_role(role()), "no", id="Owner and Contributor have no data actions"),
        pytest.param(_by_role(role("*", without=[f"{KEYS}/decrypt/action"])), "no", id="taken out again"),
        pytest.param(_by_role(role("*", without=[f"{KEYS}/*"])), "no", id="taken out again by a wildcard"),
        pytest.param(
            _by_role(role("*", without=[f"{KEYS}/decrypt/action"]), role(f"{KEYS}/*")),
            "yes",
            id="what one role takes out, another one gives",
        ),
        pytest.param(
            _by_role(RoleDefinition((Permission(("*",), (f"{KEYS}/*",)), Permission((f"{KEYS}/decrypt/action",))))),
            "yes",
            id="what one block takes out, another one of the role gives",
        ),
        pytest.param(_by_role(LOST), "unknown", id="a role that could not be read"),
        pytest.param(access(definitions={}), "unknown", id="a role that was not read"),
        pytest.param(_by_role(LOST, role("*")), "yes", id="one role grants, whatever the unread one says"),
        pytest.param(access(principals=(principal(assignments=LOST),)), "unknown", id="unread assignments"),
        pytest.param(access(model=LOST), "unknown", id="an unknown permission model"),
        pytest.param(access(principals=(principal(object_id=LOST),)), "unknown", id="an unknown principal"),
        pytest.param(
            access(principals=(principal(RoleAssignment(GRANTED.definition_id, GROUP, "@Resource[..]")),)),
            "unknown",
            id="a condition on the assignment",
        ),
        pytest.param(
            access(principals=(principal(RoleAssignment(GRANTED.definition_id, GROUP, "@Resource[..]"), GRANTED),)),
            "yes",
            id="a second assignment without the condition",
        ),
        pytest.param(
            _by_role(RoleDefinition((Permission(("*",), (), "@Resource[..]"),))),
            "unknown",
            id="a condition in the role",
        ),
        pytest.param(
            access(
                principals=(principal(RoleAssignment(ROLE, GROUP, "@Resource[..]")),),
                definitions={ROLE.lower(): role(f"{KEYS}/read")},
            ),
            "no",
            id="a condition on a role that does not grant it",
        ),
    ],
)
def test_decrypt_by_roles(facts: AccessFacts, answer: str) -> None:
    assert _judged(facts).decrypt.answer == answer


def _deny(scope: str = VAULT_SCOPE, *holders: DirectoryObject, **changes: Any) -> DenyAssignment:
    found: dict[str, Any] = {"permissions": (Permission((f"{KEYS}/*",)),), "principals": holders or (HIM,)} | changes
    return DenyAssignment("blueprint", scope, **found)


HIM = DirectoryObject(OID.upper(), "ServicePrincipal")
ANOTHER = DirectoryObject(OTHER_OID, "ServicePrincipal")
A_GROUP = DirectoryObject("cccccccc-0000-4000-8000-000000000003", "Group")
HIS_GROUP = DirectoryObject(A_GROUP.object_id, "Group", {OID: True})
NOT_HIS_GROUP = DirectoryObject(A_GROUP.object_id, "Group", {OID: False})
EVERYBODY = DirectoryObject("00000000-0000-0000-0000-000000000000", "SystemDefined")


@pytest.mark.parametrize(
    ("denials", "answer"),
    [
        pytest.param((_deny(),), "no", id="a deny wins"),
        pytest.param((_deny(SUBSCRIPTION),), "no", id="from above"),
        pytest.param((_deny(VAULT_SCOPE, EVERYBODY),), "no", id="everybody"),
        pytest.param((_deny(VAULT_SCOPE, HIS_GROUP),), "no", id="his group"),
        pytest.param((_deny(VAULT_SCOPE, A_GROUP),), "unknown", id="a group with unknown members"),
        pytest.param((_deny(VAULT_SCOPE, NOT_HIS_GROUP),), "yes", id="a group without him"),
        pytest.param((_deny(VAULT_SCOPE, ANOTHER),), "yes", id="somebody else"),
        pytest.param((_deny(VAULT_SCOPE, EVERYBODY, excluded=(HIM,)),), "yes", id="everybody but him"),
        pytest.param((_deny(VAULT_SCOPE, EVERYBODY, excluded=(ANOTHER,)),), "no", id="everybody but another"),
        pytest.param((_deny(VAULT_SCOPE, EVERYBODY, excluded=(A_GROUP,)),), "unknown", id="everybody but a group"),
        pytest.param((_deny(only_at_scope=True),), "yes", id="not for what lies below its scope"),
        pytest.param((_deny(KEY_SCOPE.upper(), only_at_scope=True),), "no", id="only its scope, which is the key"),
        pytest.param((_deny(permissions=(Permission((f"{KEYS}/wrap/action",)),)),), "yes", id="another action"),
        pytest.param(
            (_deny(permissions=(Permission(("*",), (f"{KEYS}/decrypt/action",)),)),), "yes", id="everything but this"
        ),
        pytest.param((_deny(condition="@Resource[..]"),), "unknown", id="a condition"),
        pytest.param(LOST, "unknown", id="deny assignments could not be read"),
    ],
)
def test_deny_assignments(denials: Any, answer: str) -> None:
    assert _judged(access(denials=denials)).decrypt.answer == answer


def test_unread_deny_assignments_do_not_hide_that_nothing_is_granted() -> None:
    facts = access(denials=LOST, principals=(principal(assignments=()),))
    assert _judged(facts).decrypt.answer == "no"


def _entry(object_id: str = OID, *permissions: str, **changes: Any) -> PolicyEntry:
    kind = changes.pop("kind", None)
    members = changes.pop("holds", {})
    return PolicyEntry(
        DirectoryObject(object_id, kind, members), permissions or ("get", "encrypt", "decrypt"), **changes
    )


@pytest.mark.parametrize(
    ("entries", "answer"),
    [
        pytest.param((_entry(),), "yes", id="its own entry"),
        pytest.param((_entry(OID.upper(), "Decrypt"),), "yes", id="in whatever case"),
        pytest.param((_entry(OID, "all"),), "yes", id="all"),
        pytest.param((), "no", id="no entry"),
        pytest.param((_entry(OID, "get", "encrypt", "unwrapKey"),), "no", id="unwrapKey is not decrypt"),
        pytest.param((_entry(application_id="app"),), "no", id="on behalf of a user only"),
        pytest.param((_entry(OTHER_OID),), "unknown", id="another entry that may be a group"),
        pytest.param((_entry(OTHER_OID, "get", "list"),), "no", id="another entry that does not grant it"),
        pytest.param((_entry(OTHER_OID, kind="ServicePrincipal"),), "no", id="another entry that is no group"),
        pytest.param((_entry(OTHER_OID, holds={OID: True}),), "yes", id="a group that holds it"),
        pytest.param((_entry(OTHER_OID, holds={OID: False}),), "no", id="a group that does not"),
        pytest.param((_entry(OWN_OID),), "no", id="our own identity is no group"),
        pytest.param((_entry(OTHER_OID), _entry()), "yes", id="its own entry, beside one that may be a group"),
        pytest.param(LOST, "unknown", id="access policies could not be read"),
    ],
)
def test_decrypt_by_access_policies(entries: Any, answer: str) -> None:
    facts = access(model=PermissionModel.POLICIES, policies=entries)
    assert _judged(facts).decrypt.answer == answer


def test_an_entry_of_ours_is_like_any_other_where_we_do_not_know_who_we_are() -> None:
    facts = access(model=PermissionModel.POLICIES, policies=(_entry(OWN_OID),), own_object_id=LOST)
    assert _judged(facts).decrypt.answer == "unknown"


def test_access_policies_that_are_kept_do_not_count_where_roles_decide() -> None:
    assert _judged(access(policies=(_entry(),), principals=(principal(assignments=()),))).decrypt.answer == "no"


@pytest.mark.parametrize(
    ("facts", "lacks"),
    [
        pytest.param(access(), (), id="every right"),
        pytest.param(_by_role(role(f"{KEYS}/decrypt/action")), ("read", "encrypt"), id="decrypt alone"),
        pytest.param(
            _by_role(role(*CRYPTO_USER_ACTIONS, without=[f"{KEYS}/encrypt/action"])), ("encrypt",), id="encrypt"
        ),
        pytest.param(
            _by_role(role(f"{KEYS}/decrypt/action"), LOST), (), id="a role that could not be read may give it"
        ),
        pytest.param(access(principals=(principal(assignments=()),)), (), id="no access is no degraded access"),
        pytest.param(
            access(model=PermissionModel.POLICIES, policies=(_entry(OID, "decrypt", "encrypt"),)), ("read",), id="get"
        ),
    ],
)
def test_rights_that_are_missing_beside_decrypt(facts: AccessFacts, lacks: tuple[str, ...]) -> None:
    assert _judged(facts).lacks == lacks


@pytest.mark.parametrize(
    ("facts", "lasting"),
    [
        pytest.param(access(principals=(principal(assignments=LOST),)), False, id="no answer passes"),
        pytest.param(access(principals=(principal(assignments=REFUSED),)), True, id="a refusal lasts"),
        pytest.param(access(denials=(_deny(condition="@Resource[..]"),)), True, id="a condition lasts"),
        pytest.param(_by_role(LOST, REFUSED), False, id="of two, one that passes may tell"),
        pytest.param(
            access(principals=(principal(object_id=LOST),)), True, id="a principal without an object id lasts"
        ),
    ],
)
def test_whether_looking_again_may_tell(facts: AccessFacts, lasting: bool) -> None:
    assert _judged(facts).decrypt.lasting is lasting


@pytest.mark.parametrize(
    ("block", "last", "asked"),
    [
        pytest.param({}, (ROLE_ID,), [ROLE_ID], id="a role id"),
        pytest.param({"role_id": None, "client_id": CLIENT_ID[7:]}, (), [CLIENT_ID], id="a client id"),
        pytest.param({"client_id": CLIENT_ID[7:]}, (), [CLIENT_ID, ROLE_ID], id="both"),
        pytest.param({}, (CLIENT_ID,), [CLIENT_ID, ROLE_ID], id="changed since the last run"),
        pytest.param({"role_id": None}, (), [], id="neither"),
    ],
)
def test_whom_the_question_is_about(block: dict[str, Any], last: tuple[str, ...], asked: list[str]) -> None:
    assert list(principals_to_ask(encryption(**block), last)) == asked


@pytest.mark.parametrize(
    ("found", "named", "alone", "result"),
    [
        pytest.param(OID, OTHER_OID, True, OID, id="the directory comes first"),
        pytest.param(LOST, OTHER_OID, True, OTHER_OID, id="else the policy"),
        pytest.param(LOST, OTHER_OID, False, LOST, id="the policy's name is of nobody certain, where there are two"),
        pytest.param(LOST, None, True, LOST, id="else it stays unknown"),
    ],
)
def test_the_object_id_of_a_principal(found: Any, named: str | None, alone: bool, result: Any) -> None:
    assert resolved(found, named, alone=alone) == result
