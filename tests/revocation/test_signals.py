"""What each signal says of what was read: a decision table a signal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keysteward.access_facts import (
    AccessFacts,
    AccessMemory,
    AssignmentList,
    KeyPresence,
    PermissionModel,
    Presence,
    RoleAssignment,
    SeenAccess,
    Source,
    VersionInUse,
)
from keysteward.decide.revocation.findings import Finding, Need
from keysteward.decide.revocation.signals import judge_signals
from keysteward.facts import Unknown
from keysteward.network_facts import NOT_ASKED
from keysteward.policy import SIGNALS
from tests.builders import KEY, V1, V2, encryption
from tests.revocation.project import (
    ALL,
    CLIENT_ID,
    CRYPTO_USER,
    GRANT_REMOVED,
    GRANTED,
    LOST,
    MEMORY,
    OTHER_OID,
    REFUSED,
    ROLE_ID,
    SEEN,
    access,
    principal,
    role,
)

OWN_403 = Unknown("ForbiddenByRbac", "we may not read it", passing=False)


def _finding(signal: str, facts: AccessFacts, memory: AccessMemory = MEMORY) -> Finding:
    return next(found for found in judge_signals(facts, memory).findings if found.signal == signal)


def _version(*, enabled: bool = False, **changes: Any) -> AccessFacts:
    found = VersionInUse(KEY.with_version(V1), enabled=enabled, source=Source.DATA_PLANE, newer_usable=False)
    return access(version=replace(found, **changes))


@pytest.mark.parametrize(
    ("facts", "answer", "slow"),
    [
        pytest.param(_version(enabled=True), "no", False, id="enabled"),
        pytest.param(_version(), "yes", False, id="disabled, by the vault itself, and no newer version"),
        pytest.param(_version(newer_usable=True), "yes", True, id="disabled while a newer usable version exists"),
        pytest.param(_version(newer_usable=LOST), "yes", True, id="disabled while a newer one may exist"),
        pytest.param(_version(source=Source.RESOURCE_MANAGER), "yes", True, id="by Resource Manager alone"),
        pytest.param(_version(identifier=KEY.with_version(V2)), "unknown", False, id="another version was read"),
        pytest.param(access(version=OWN_403), "unknown", False, id="our own 403"),
        pytest.param(access(version=LOST), "unknown", False, id="no answer"),
        pytest.param(access(encryption=encryption(str(KEY))), "unknown", False, id="an identifier without version"),
        pytest.param(access(encryption=encryption("https://example.org/")), "unknown", False, id="no identifier"),
        pytest.param(access(encryption=LOST), "unknown", False, id="unread settings"),
        pytest.param(access(encryption=encryption(enabled=False)), "no", False, id="encryption is off"),
    ],
)
def test_key_disabled(facts: AccessFacts, answer: str, slow: bool) -> None:
    found = _finding("keyDisabled", facts)
    assert (found.answer, found.slow) == (answer, slow)


def test_a_disabled_version_with_a_newer_one_first_asks_to_enable_it_again() -> None:
    assert _finding("keyDisabled", _version(newer_usable=True)).code == "disabledVersionInUse"
    assert _finding("keyDisabled", _version()).code is None


def _key(presence: Presence, source: Source = Source.DATA_PLANE, **changes: Any) -> AccessFacts:
    return access(key=KeyPresence(KEY, presence, source), version=LOST, **changes)


NEVER_SEEN = replace(MEMORY, keys=frozenset())
MANAGER = Source.RESOURCE_MANAGER


@pytest.mark.parametrize(
    ("facts", "memory", "answer", "slow"),
    [
        pytest.param(_key(Presence.THERE), MEMORY, "no", False, id="it is there"),
        pytest.param(_key(Presence.DELETED), MEMORY, "yes", False, id="among the deleted keys"),
        pytest.param(_key(Presence.DELETED), NEVER_SEEN, "yes", False, id="deleted keys need no record"),
        pytest.param(_key(Presence.NOT_FOUND), MEMORY, "unknown", False, id="a 404 of the vault alone"),
        pytest.param(_key(Presence.NOT_FOUND, MANAGER), MEMORY, "yes", True, id="Resource Manager's 404 of a seen key"),
        pytest.param(_key(Presence.NOT_FOUND, MANAGER), NEVER_SEEN, "unknown", False, id="of a key never seen"),
        pytest.param(_key(Presence.NOT_FOUND, MANAGER, vault=LOST), MEMORY, "unknown", False, id="of an unread vault"),
        pytest.param(
            _key(Presence.NOT_FOUND, MANAGER, vault=Presence.NOT_FOUND), MEMORY, "unknown", False, id="of no vault"
        ),
        pytest.param(access(key=OWN_403), MEMORY, "unknown", False, id="our own 403"),
        pytest.param(
            access(key=KeyPresence(replace(KEY, name="other"), Presence.DELETED, Source.DATA_PLANE)),
            MEMORY,
            "unknown",
            False,
            id="another key was deleted",
        ),
    ],
)
def test_key_deleted(facts: AccessFacts, memory: AccessMemory, answer: str, slow: bool) -> None:
    found = _finding("keyDeleted", facts, memory)
    assert (found.answer, found.slow) == (answer, slow)


@pytest.mark.parametrize(
    ("facts", "answer", "code"),
    [
        pytest.param(access(), "no", None, id="it is there"),
        pytest.param(access(**ALL["vaultDeleted"]), "yes", None, id="among the deleted ones"),
        pytest.param(access(vault=Presence.NOT_FOUND), "unknown", "accessUnknown", id="not found, and not deleted"),
        pytest.param(access(vault=OWN_403), "unknown", "accessUnknown", id="our own 403"),
        pytest.param(access(vault=Presence.DELETED), "unknown", "evidenceConflict", id="deleted, and yet answering"),
    ],
)
def test_vault_deleted(facts: AccessFacts, answer: str, code: str | None) -> None:
    found = _finding("vaultDeleted", facts)
    assert (found.answer, found.code, found.slow) == (answer, code, False)


def _removed(**changes: Any) -> AccessFacts:
    return access(**GRANT_REMOVED | changes)


OF_POLICIES = _removed(model=PermissionModel.POLICIES, control_list=NOT_ASKED)
FROM_CACHE = {CRYPTO_USER: role("Microsoft.KeyVault/vaults/*/read", fresh=False)}
NO_LONGER_GRANTED = {
    "principals": (principal(),),
    "definitions": {CRYPTO_USER: role("Microsoft.KeyVault/vaults/*/read")},
}
OTHER_KEY = SeenAccess(SEEN.object_id, f"{SEEN.key}2")


@pytest.mark.parametrize(
    ("facts", "memory", "answer", "code"),
    [
        pytest.param(access(), MEMORY, "no", None, id="granted"),
        pytest.param(_removed(), MEMORY, "yes", None, id="gone, seen before, and others are listed"),
        pytest.param(_removed(**NO_LONGER_GRANTED), MEMORY, "yes", None, id="the role lost the data action"),
        pytest.param(OF_POLICIES, MEMORY, "yes", None, id="access policies need no second list"),
        pytest.param(_removed(), AccessMemory(), "unknown", "accessNeverSeen", id="never seen with access"),
        pytest.param(
            _removed(),
            replace(MEMORY, decrypts=frozenset({SeenAccess(OTHER_OID, SEEN.key)})),
            "unknown",
            "accessNeverSeen",
            id="another principal was seen",
        ),
        pytest.param(
            _removed(),
            replace(MEMORY, decrypts=frozenset({OTHER_KEY})),
            "unknown",
            "accessNeverSeen",
            id="seen with another key",
        ),
        pytest.param(OF_POLICIES, AccessMemory(), "unknown", "accessNeverSeen", id="never seen, by access policies"),
        pytest.param(
            _removed(control_list=AssignmentList(0, complete=True)),
            MEMORY,
            "unknown",
            "accessNeverSeen",
            id="the second list is empty",
        ),
        pytest.param(
            _removed(control_list=AssignmentList(7, complete=False)),
            MEMORY,
            "unknown",
            "accessNeverSeen",
            id="the second list is half",
        ),
        pytest.param(_removed(control_list=REFUSED), MEMORY, "unknown", "accessNeverSeen", id="no second list"),
        pytest.param(_removed(control_list=NOT_ASKED), MEMORY, "unknown", "accessUnknown", id="not asked for yet"),
        pytest.param(_removed(principals=()), MEMORY, "unknown", "accessUnknown", id="nobody was looked at"),
        pytest.param(
            _removed(encryption=encryption(role_id=None)),
            AccessMemory(),
            "unknown",
            "principalUnknown",
            id="nobody named",
        ),
        pytest.param(
            access(principals=(principal(object_id=LOST),)), MEMORY, "unknown", "principalUnknown", id="unresolved"
        ),
        pytest.param(
            access(principals=(principal(RoleAssignment(CRYPTO_USER, GRANTED.scope, "@Resource")),)),
            MEMORY,
            "unknown",
            "grantUnproven",
            id="a condition",
        ),
    ],
)
def test_grant_removed(facts: AccessFacts, memory: AccessMemory, answer: str, code: str | None) -> None:
    found = _finding("grantRemoved", facts, memory)
    assert (found.answer, found.code, found.slow) == (answer, code, True)


@pytest.mark.parametrize(
    ("facts", "needs"),
    [
        pytest.param(access(control_list=NOT_ASKED), set(), id="nothing, while the answer would be no"),
        pytest.param(_removed(control_list=NOT_ASKED), {Need.CONTROL_LIST}, id="the second list, for a yes"),
        pytest.param(
            _removed(control_list=NOT_ASKED, principals=(principal(),), definitions=FROM_CACHE),
            {Need.CONTROL_LIST, Need.FRESH_DEFINITIONS},
            id="definitions that come from a cache",
        ),
        pytest.param(_removed(), set(), id="nothing more, where all was read"),
    ],
)
def test_what_is_to_be_read_before_a_yes(facts: AccessFacts, needs: set[Need]) -> None:
    found = _finding("grantRemoved", facts)
    assert set(found.needs) == needs
    assert not (needs and found.answer == "yes")


BOTH = encryption(client_id=CLIENT_ID[7:])
OLD = principal(atlas_id=CLIENT_ID, object_id=OTHER_OID)
OLD_SEEN = replace(MEMORY, decrypts=frozenset({SEEN, SeenAccess(OTHER_OID, SEEN.key)}), principals=(CLIENT_ID, ROLE_ID))
GONE, OLD_GONE = principal(assignments=()), replace(OLD, assignments=())


@pytest.mark.parametrize(
    ("block", "principals", "memory", "answer"),
    [
        pytest.param(BOTH, (GONE, OLD), OLD_SEEN, "no", id="both are named, and one has access"),
        pytest.param(BOTH, (GONE, OLD_GONE), OLD_SEEN, "yes", id="both are named, and neither has"),
        pytest.param(BOTH, (GONE, OLD_GONE), MEMORY, "unknown", id="neither has, and one never had"),
        pytest.param(BOTH, (GONE, replace(OLD, assignments=LOST)), OLD_SEEN, "unknown", id="one could not be read"),
        pytest.param(BOTH, (GONE,), OLD_SEEN, "unknown", id="one was not looked at"),
        pytest.param(encryption(), (GONE, OLD), OLD_SEEN, "no", id="changed, and the one before has access"),
        pytest.param(encryption(), (GONE,), OLD_SEEN, "unknown", id="changed, and the one before was not looked at"),
        pytest.param(encryption(), (GONE, OLD), MEMORY, "yes", id="somebody who was never named does not count"),
    ],
)
def test_while_atlas_moves_from_one_identity_to_another(
    block: Any, principals: Any, memory: AccessMemory, answer: str
) -> None:
    assert _finding("grantRemoved", _removed(encryption=block, principals=principals), memory).answer == answer


def test_a_change_of_identity_is_another_subject() -> None:
    before = _finding("grantRemoved", _removed())
    during = _finding("grantRemoved", _removed(principals=(GONE, OLD_GONE)), OLD_SEEN)
    assert before.subject != during.subject


@pytest.mark.parametrize("signal", SIGNALS)
def test_atlas_saying_that_the_key_is_not_valid_proves_nothing(signal: str) -> None:
    assert _finding(signal, access(encryption=encryption(valid=False))).answer == "no"


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_says_yes_where_it_should_and_the_others_do_not(signal: str) -> None:
    found = judge_signals(access(**ALL[signal]), MEMORY).findings
    assert [f.signal for f in found if f.answer == "yes"] == [signal]


@pytest.mark.parametrize(
    ("facts", "seen", "key"),
    [
        pytest.param(access(), {SEEN}, SEEN.key, id="access and key"),
        pytest.param(access(principals=(GONE,)), set(), SEEN.key, id="a key without access"),
        pytest.param(access(**ALL["keyDeleted"]), {SEEN}, None, id="a deleted key is not there"),
        pytest.param(access(encryption=LOST), set(), None, id="nothing of what was not read"),
    ],
)
def test_what_is_to_be_remembered_of_a_look(facts: AccessFacts, seen: set[SeenAccess], key: str | None) -> None:
    found = judge_signals(facts, MEMORY)
    assert (set(found.seen), found.key_seen) == (seen, key)
