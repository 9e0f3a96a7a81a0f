"""Which clusters are paused, and what keeps them from it: decision tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keysteward.access_facts import AccessMemory, NetworkAlert, Presence, Principal, VaultConfirmed, VersionInUse
from keysteward.decide.revocation import plan
from keysteward.decide.revocation.chain import CHAIN
from keysteward.decide.revocation.confirming import Look
from keysteward.decide.revocation.findings import Need
from keysteward.decide.revocation.given import RevocationInput
from keysteward.decide.revocation.plan import decide_revocation
from keysteward.decide.revocation.record import released_by_operator
from keysteward.facts import Job
from keysteward.network_facts import NOT_ASKED
from keysteward.pause_facts import PauseTry, Tier
from keysteward.policy import SIGNALS
from keysteward.reasons import REASONS
from keysteward.vocabulary import ClusterState
from tests.builders import NOW, a_hold, encryption
from tests.revocation.project import (
    ALL,
    CLIENT_ID,
    GRANT_REMOVED,
    GRANTED,
    KEY_DISABLED,
    LOST,
    OPEN,
    OTHER_OID,
    REFUSED,
    ROLE_ID,
    SEEN,
    VAULT_DELETED,
    a_cluster,
    access,
    acl,
    codes,
    confirmed,
    given,
    later,
    principal,
    role,
    standing,
    to_pause,
    way,
)

DISABLED, REMOVED = access(**KEY_DISABLED), access(**GRANT_REMOVED)
SEES = way(acl=OPEN)
INVALID = encryption(valid=False)


@pytest.mark.parametrize("signal", SIGNALS)
def test_each_signal_pauses_once_it_is_confirmed(signal: str) -> None:
    first = given(access(**ALL[signal]))
    assert (to_pause(decide_revocation(first)), decide_revocation(first).state) == ([], "suspected")
    decision = decide_revocation(confirmed(first))
    assert (to_pause(decision), decision.state, decision.reason) == (["payments"], "revoked", "accessRevoked")


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_that_the_policy_does_not_select_pauses_nothing(signal: str) -> None:
    others = tuple(name for name in SIGNALS if name != signal)
    decision = decide_revocation(confirmed(given(access(**ALL[signal]), policy={"signals": others})))
    assert (to_pause(decision), dict(decision.record.real.standing)) == ([], {})


@pytest.mark.parametrize(
    ("facts", "seconds", "paused"),
    [
        pytest.param(DISABLED, 59, False, id="a disabled key: not within its interval"),
        pytest.param(DISABLED, 60, True, id="a disabled key: after a minute"),
        pytest.param(REMOVED, 599, False, id="a removed grant: not within its interval"),
        pytest.param(REMOVED, 600, True, id="a removed grant: after ten minutes"),
        pytest.param(access(**VAULT_DELETED), 60, True, id="a deleted vault: after a minute"),
    ],
)
def test_the_confirmations_are_spaced(facts: Any, seconds: float, paused: bool) -> None:
    assert bool(to_pause(decide_revocation(confirmed(given(facts), seconds)))) is paused


# The table of the design: revoked, what the control plane sees, and what follows once it is confirmed.
@pytest.mark.parametrize(
    ("facts", "network", "policy", "paused", "reason"),
    [
        pytest.param(DISABLED, way(), {}, True, "accessRevoked", id="revoked, blocked"),
        pytest.param(DISABLED, way(acl=acl("3.1.1.1")), {}, True, "accessRevoked", id="revoked, partly"),
        pytest.param(DISABLED, SEES, {}, False, "atlasSeesIt", id="revoked, open"),
        pytest.param(
            access(**KEY_DISABLED, encryption=INVALID),
            SEES,
            {"pause_when_reachable": True},
            True,
            "accessRevoked",
            id="revoked, open, and the policy pauses all the same",
        ),
        pytest.param(
            DISABLED,
            SEES,
            {"pause_when_reachable": True},
            False,
            "atlasSeesIt",
            id="revoked, open, the policy pauses, but Atlas has not said that the key is not valid",
        ),
        pytest.param(DISABLED, way(acl=LOST), {}, False, "controlPlaneUnknown", id="revoked, unknown"),
        pytest.param(
            DISABLED,
            way(acl=LOST, alert=NetworkAlert(None)),
            {},
            True,
            "accessRevoked",
            id="revoked, and Atlas itself says that it is blocked",
        ),
        pytest.param(
            access(**KEY_DISABLED, encryption=encryption(valid=True)),
            SEES,
            {"pause_when_reachable": True},
            False,
            "evidenceConflict",
            id="revoked, open, and Atlas says that the key is valid",
        ),
        pytest.param(
            access(**KEY_DISABLED, encryption=encryption(valid=True)),
            way(),
            {},
            True,
            "accessRevoked",
            id="revoked, blocked: what Atlas says of the key is old",
        ),
        pytest.param(access(version=LOST), way(), {}, False, "accessUnread", id="unknown, blocked"),
        pytest.param(access(version=LOST), way(acl=LOST), {}, False, "accessUnread", id="unknown, unknown"),
        pytest.param(access(version=LOST), SEES, {}, False, "accessUnread", id="unknown, open"),
        pytest.param(access(), way(), {}, False, "accessGranted", id="granted, blocked"),
        pytest.param(access(), SEES, {}, False, "accessGranted", id="granted, open"),
        pytest.param(access(encryption=INVALID), way(), {}, False, "accessGranted", id="granted, and Atlas disagrees"),
        pytest.param(
            access(encryption=encryption(enabled=False)), way(), {}, False, "encryptionOff", id="not encrypted"
        ),
        pytest.param(DISABLED, way(), {"mode": "alert"}, False, "pauseAlertOnly", id="revoked, blocked, mode alert"),
        pytest.param(DISABLED, way(), {"mode": "off"}, False, "revocationOff", id="revoked, blocked, mode off"),
        pytest.param(DISABLED, way(), {"signals": ()}, False, "accessUnknown", id="no signal is selected"),
    ],
)
def test_what_follows(facts: Any, network: Any, policy: dict[str, Any], paused: bool, reason: str) -> None:
    decision = decide_revocation(confirmed(given(facts, way=network, policy=policy)))
    assert (bool(to_pause(decision)), decision.reason) == (paused, reason)


def test_atlas_is_asked_to_look_where_it_can_see_a_revocation() -> None:
    assert decide_revocation(given(DISABLED, way=SEES)).ask_atlas
    assert not decide_revocation(given(DISABLED)).ask_atlas
    assert not decide_revocation(given(way=SEES)).ask_atlas


@pytest.mark.parametrize(
    ("cluster", "paused", "told"),
    [
        pytest.param(a_cluster(), True, [], id="running and encrypted"),
        pytest.param(a_cluster(state=ClusterState.UPDATING), True, [], id="with pending changes: Atlas will say when"),
        pytest.param(a_cluster(state=ClusterState.REPAIRING), True, [], id="being repaired"),
        pytest.param(a_cluster(paused=True), False, [], id="paused already"),
        pytest.param(a_cluster(encrypted=False), False, [], id="not encrypted with the key"),
        pytest.param(a_cluster(state=ClusterState.DELETING), False, [], id="being deleted"),
        pytest.param(a_cluster(tier=Tier.NVME), False, ["clusterCannotBePaused"], id="NVMe"),
        pytest.param(a_cluster(tier=Tier.NVME, encrypted=False), False, [], id="NVMe, not encrypted"),
        pytest.param(a_cluster(tier=Tier.NVME, paused=True), False, [], id="NVMe, dark already"),
        pytest.param(a_cluster(tier=Tier.SHARED, encrypted=False), False, ["clusterCannotBePaused"], id="shared"),
        pytest.param(a_cluster(tier=Tier.FLEX, encrypted=False), False, ["clusterCannotBePaused"], id="flex"),
    ],
)
def test_which_clusters_are_paused(cluster: Any, paused: bool, told: list[str]) -> None:
    decision = decide_revocation(confirmed(given(DISABLED, clusters=(cluster,))))
    assert (bool(to_pause(decision)), codes(decision)) == (paused, told)


def test_every_cluster_that_can_be_is_paused_and_each_of_the_others_is_named() -> None:
    clusters = (
        a_cluster("b"),
        a_cluster("nvme", Tier.NVME),
        a_cluster("a"),
        a_cluster("flex", Tier.FLEX, encrypted=False),
    )
    decision = decide_revocation(confirmed(given(DISABLED, clusters=clusters)))
    assert to_pause(decision) == ["a", "b"]
    assert all(name in decision.plan.held[0].evidence for name in ("nvme", "flex"))


# Beside each hold: what would be paused without it.
HELD: list[Any] = [
    pytest.param({"override_until": NOW + timedelta(days=1)}, "revocationOverridden", id="an operator's override"),
    pytest.param({"hold": a_hold(Job.REVOCATION)}, "heldByOperator", id="an operator's hold"),
    pytest.param({"clusters": LOST}, "clustersUnknown", id="unread clusters"),
    pytest.param(
        {"tries": (PauseTry("payments", "CANNOT_PAUSE_RECENTLY_RESUMED_CLUSTER", NOW + timedelta(days=1)),)},
        "pauseWaits",
        id="Atlas cannot do it yet",
    ),
]


@pytest.mark.parametrize(("changes", "code"), HELD)
def test_what_holds_a_confirmed_pause(changes: dict[str, Any], code: str) -> None:
    decision = decide_revocation(confirmed(given(DISABLED, **changes)))
    assert (to_pause(decision), codes(decision), decision.state) == ([], [code], "revoked")
    assert decision.plan.held[0].remedy == REASONS[code].remedy


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"override_until": NOW + timedelta(minutes=10)}, id="an override that is over"),
        pytest.param({"hold": a_hold(Job.ROTATION)}, id="a hold on rotation"),
        pytest.param({"hold": a_hold(Job.REVOCATION, until=NOW + timedelta(minutes=10))}, id="a hold that is over"),
        pytest.param(
            {"tries": (PauseTry("payments", "LAG", NOW + timedelta(minutes=10)),)}, id="a try whose time has come"
        ),
        pytest.param(
            {"tries": (PauseTry("payments", "LAG", NOW + timedelta(days=1)),), "by_timer": True},
            id="a timer tries anyway",
        ),
        pytest.param({"tries": (PauseTry("other", "LAG", NOW + timedelta(days=1)),)}, id="a try of another cluster"),
    ],
)
def test_what_does_not_hold_it(changes: dict[str, Any]) -> None:
    assert to_pause(decide_revocation(confirmed(given(DISABLED, **changes)))) == ["payments"]


def test_one_cluster_that_has_to_wait_keeps_no_other_from_its_pause() -> None:
    tried = PauseTry("a", "LAG", NOW + timedelta(days=1))
    decision = decide_revocation(confirmed(given(DISABLED, clusters=(a_cluster("a"), a_cluster("b")), tries=(tried,))))
    assert (to_pause(decision), codes(decision), decision.look_again_at) == (["b"], ["pauseWaits"], tried.not_before)


@pytest.mark.parametrize(
    ("facts", "others", "code"),
    [
        pytest.param(REMOVED, ["b", "c"], None, id="three vaults"),
        pytest.param(REMOVED, ["b", "c", "d"], "massRevocation", id="four"),
        pytest.param(REMOVED, ["b", "c", "kv-acme-cmk", "KV-ACME-CMK"], None, id="its own does not count twice"),
        pytest.param(REMOVED, LOST, "massRevocation", id="not known how many"),
        pytest.param(REMOVED, NOT_ASKED, "massRevocation", id="not counted yet"),
        pytest.param(DISABLED, ["b", "c", "d"], None, id="other signals do not count"),
    ],
)
def test_many_vaults_within_an_hour(facts: Any, others: Any, code: str | None) -> None:
    now = NOW + timedelta(minutes=10)
    listed = tuple(VaultConfirmed(name, now) for name in others) if isinstance(others, list) else others
    decision = decide_revocation(confirmed(given(facts, vaults_confirmed=listed)))
    assert (to_pause(decision), codes(decision)) == ((["payments"], []) if code is None else ([], [code]))
    assert decision.needs == (frozenset({Need.VAULTS_CONFIRMED}) if others is NOT_ASKED else frozenset())


@pytest.mark.parametrize(("minutes", "held"), [(60, True), (61, False), (-60, True), (-61, False)])
def test_only_vaults_of_the_same_hour_count(minutes: int, held: bool) -> None:
    listed = (VaultConfirmed("b", NOW + timedelta(minutes=10 + minutes)),)
    decision = decide_revocation(confirmed(given(REMOVED, vaults_confirmed=listed, policy={"max_vaults_per_hour": 1})))
    assert (codes(decision) == ["massRevocation"]) is held


def test_time_does_not_release_a_vault_that_is_one_of_many_and_an_operator_does() -> None:
    listed = tuple(VaultConfirmed(name, NOW + timedelta(minutes=10)) for name in "bcd")
    start = confirmed(given(REMOVED, vaults_confirmed=listed))
    held = later(start, decide_revocation(start), 7 * 86_400, vaults_confirmed=())
    assert codes(decide_revocation(held)) == ["massRevocation"]
    assert to_pause(decide_revocation(replace(held, record=released_by_operator(held.record)))) == ["payments"]


def test_a_vault_that_was_one_of_few_is_not_held_for_those_that_follow() -> None:
    start = standing(REMOVED, vaults_confirmed=())
    listed = tuple(VaultConfirmed(name, start.now) for name in "bcd")
    assert to_pause(decide_revocation(replace(start, vaults_confirmed=listed))) == ["payments"]


DISABLED_VERSION: VersionInUse = KEY_DISABLED["version"]


@pytest.mark.parametrize(
    ("facts", "memory", "state", "notices"),
    [
        pytest.param(
            access(definitions={GRANTED.definition_id: role("Microsoft.KeyVault/vaults/keys/decrypt/action")}),
            None,
            "degraded",
            ["accessDegraded"],
            id="decrypt alone is degraded, and no revocation",
        ),
        pytest.param(REMOVED, AccessMemory(), "unknown", ["accessNeverSeen"], id="access that was never seen"),
        pytest.param(
            access(principals=(principal(object_id=LOST),)),
            None,
            "unknown",
            ["principalUnknown"],
            id="an unknown principal",
        ),
        pytest.param(
            access(vault=REFUSED, **{k: v for k, v in KEY_DISABLED.items() if k != "vault"}),
            None,
            "suspected",
            ["accessUnknown"],
            id="a right that is missing, beside a suspicion",
        ),
        pytest.param(access(), None, "granted", [], id="a healthy project"),
    ],
)
def test_what_somebody_should_know(facts: Any, memory: AccessMemory | None, state: str, notices: list[str]) -> None:
    start = given(facts) if memory is None else given(facts, memory=memory)
    decision = decide_revocation(start)
    assert (decision.state, [n.code for n in decision.notices], set(decision.news)) == (state, notices, set(notices))
    again = decide_revocation(later(start, decision, 600))
    assert not again.news, "a lasting reason is told once"


def test_the_alarm_about_a_disabled_version_first_asks_to_enable_it_again() -> None:
    facts = access(version=replace(DISABLED_VERSION, newer_usable=True))
    decision = decide_revocation(given(facts))
    assert codes(decision) == ["disabledVersionInUse"]
    assert "Enable the version again" in decision.plan.held[0].remedy
    assert to_pause(decide_revocation(confirmed(given(facts), 60))) == []
    assert to_pause(decide_revocation(confirmed(given(facts), 600))) == ["payments"]


@pytest.mark.parametrize(("minutes", "code"), [(0, "accessUnread"), (29, "accessUnread"), (30, "accessUnknown")])
def test_what_cannot_be_told_is_an_alarm_once_it_lasts(minutes: int, code: str) -> None:
    first = given(access(version=LOST))
    assert decide_revocation(later(first, decide_revocation(first), minutes * 60)).reason == code


def test_a_lasting_unknown_is_no_alarm_of_each_run() -> None:
    first = given(REMOVED, memory=AccessMemory())
    later_on = decide_revocation(later(first, decide_revocation(first), 86_400))
    assert (later_on.plan.held, later_on.state) == ((), "unknown")


def test_a_look_aside_plans_what_a_reconcile_would_and_leaves_nothing_behind() -> None:
    start = replace(confirmed(given(DISABLED)), look=Look.ASIDE, memory=AccessMemory())
    decision = decide_revocation(start)
    assert to_pause(decision) == ["payments"]
    assert (decision.record, decision.memory) == (start.record, start.memory)


def test_a_dry_run_plans_remembers_access_and_leaves_what_is_real_alone() -> None:
    start = replace(confirmed(given(DISABLED, look=Look.DRY_RUN, dry_run=True)), memory=AccessMemory())
    decision = decide_revocation(start)
    assert (to_pause(decision), dict(decision.record.real.signals)) == (["payments"], {})
    assert SEEN in decision.memory.decrypts
    real = later(start, decision, 600, look=Look.RECONCILE, dry_run=False)
    assert (to_pause(decide_revocation(real)), decide_revocation(real).state) == ([], "suspected")


def test_the_fresh_reads_that_a_yes_needs_are_asked_for_and_nothing_is_counted_before() -> None:
    start = given(access(**GRANT_REMOVED | {"control_list": NOT_ASKED}))
    decision = decide_revocation(start)
    assert (decision.needs, dict(decision.record.real.suspected)) == (frozenset({Need.CONTROL_LIST}), {})
    assert decide_revocation(replace(start, access=REMOVED)).needs == frozenset()


def test_a_move_to_a_role_id_never_pauses() -> None:
    old = Principal(CLIENT_ID, OTHER_OID, "directory", (GRANTED,))
    before = encryption(role_id=None, client_id=CLIENT_ID[7:])
    memory = AccessMemory(frozenset({replace(SEEN, object_id=OTHER_OID)}), frozenset({SEEN.key}), (CLIENT_ID,))
    start = given(access(encryption=before, principals=(old,)), memory=memory)
    gone = replace(old, assignments=())
    new = principal()
    lists: dict[str, Any] = {"control_list": GRANT_REMOVED["control_list"]}
    worlds = [
        access(encryption=before, principals=(old,)),
        access(encryption=encryption(client_id=CLIENT_ID[7:]), principals=(gone, new), **lists),
        access(encryption=encryption(), principals=(gone, new), **lists),
        access(encryption=encryption(), principals=(new,), **lists),
    ]
    for facts in worlds:
        for _ in range(3):
            decision = decide_revocation(replace(start, access=facts))
            assert (to_pause(decision), decision.state) == ([], "granted")
            start = later(start, decision, 600)
    assert start.memory.principals == (ROLE_ID,)


def test_a_change_of_identity_starts_the_count_again() -> None:
    both = AccessMemory(frozenset({SEEN, replace(SEEN, object_id=OTHER_OID)}), frozenset({SEEN.key}), (ROLE_ID,))
    start = given(REMOVED, memory=both)
    old = Principal(CLIENT_ID, OTHER_OID, "directory", ())
    changed = access(
        **GRANT_REMOVED
        | {
            "encryption": encryption(role_id=None, client_id=CLIENT_ID[7:]),
            "principals": (principal(assignments=()), old),
        }
    )
    second = later(start, decide_revocation(start), 600, access=changed)
    third = later(second, decide_revocation(second), 600)
    fourth = later(third, decide_revocation(third), 600)
    assert [bool(to_pause(decide_revocation(look))) for look in (second, third, fourth)] == [False, False, True]


# For each check of the chain: a look that ends otherwise without it.
WITHOUT: dict[str, RevocationInput] = {
    "modeIsNotOff": given(policy={"mode": "off"}),
    "encryptionIsOn": given(access(encryption=encryption(enabled=False))),
    "evidenceAgrees": given(access(vault=Presence.DELETED)),
    "accessIsRevoked": given(),
    "itIsConfirmed": given(DISABLED),
    "atlasCannotSeeIt": confirmed(given(DISABLED, way=SEES)),
    "noOverrideIsInForce": confirmed(given(DISABLED, override_until=NOW + timedelta(days=1))),
    "vaultsAreFew": confirmed(given(REMOVED, policy={"max_vaults_per_hour": 0})),
    "noOperatorHoldsIt": confirmed(given(DISABLED, hold=a_hold(Job.REVOCATION))),
    "modePauses": confirmed(given(DISABLED, policy={"mode": "alert"})),
    "clustersAreRead": confirmed(given(DISABLED, clusters=LOST)),
    "aClusterRuns": confirmed(given(DISABLED, clusters=(a_cluster(paused=True),))),
}


@pytest.mark.parametrize("name", [check.name for check in CHAIN])
def test_no_check_can_be_left_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = WITHOUT[name]
    whole = decide_revocation(start)
    assert whole.checks[[c.check for c in whole.checks].index(name)]
    assert to_pause(whole) == []
    monkeypatch.setattr(plan, "CHAIN", [check for check in CHAIN if check.name != name])
    try:
        found = decide_revocation(start)
    except AssertionError:
        return
    assert (found.reason, to_pause(found)) != (whole.reason, to_pause(whole))
