"""What must hold for any facts, and for any history of looks at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keysteward.access_facts import (
    AccessFacts,
    AssignmentList,
    DenyAssignment,
    DirectoryObject,
    KeyPresence,
    NetworkAlert,
    Permission,
    PermissionModel,
    PolicyEntry,
    Presence,
    Principal,
    PrivateEndpoint,
    RoleAssignment,
    Source,
    VaultConfirmed,
    VersionInUse,
    WayFacts,
)
from keysteward.decide.revocation.confirming import Look
from keysteward.decide.revocation.given import RevocationDecision, RevocationInput
from keysteward.decide.revocation.plan import decide_revocation
from keysteward.decide.revocation.reachability import SHUT
from keysteward.facts import Unknown
from keysteward.network_facts import NOT_ASKED
from keysteward.pause_facts import FirewallReadiness, PausableCluster, Pause, Tier
from keysteward.policy import SIGNALS, RevocationPolicy
from keysteward.vocabulary import Cluster, ClusterState
from tests.builders import KEY, NOW, V1, V2, encryption
from tests.revocation.project import (
    CLIENT_ID,
    CRYPTO_USER,
    CRYPTO_USER_ACTIONS,
    GRANTED,
    KEY_DISABLED,
    KEY_SCOPE,
    LOST,
    MEMORY,
    OID,
    OPEN,
    OTHER_OID,
    OWN_OID,
    PERIOD,
    PLANE,
    REFUSED,
    ROLE_ID,
    SEEN,
    VAULT,
    VAULT_SCOPE,
    access,
    acl,
    role,
    to_pause,
    to_resume,
    way,
)

READER = "/providers/microsoft.authorization/roledefinitions/reader"
NOBODY: Sequence[Any] = (LOST, REFUSED)
ASSIGNMENTS = (
    (GRANTED,),
    (),
    (RoleAssignment(READER, VAULT_SCOPE),),
    (RoleAssignment(READER, VAULT_SCOPE), GRANTED),
    (RoleAssignment(CRYPTO_USER, VAULT_SCOPE, "@Resource[..]"),),
)
HOLDERS = (DirectoryObject(OID, "ServicePrincipal"), DirectoryObject("group", "Group"), DirectoryObject(OTHER_OID))
DENIALS = tuple(DenyAssignment("deny", VAULT_SCOPE, (Permission(("*",)),), (holder,)) for holder in HOLDERS)
ENTRIES = tuple(PolicyEntry(holder, ("get", "decrypt")) for holder in (*HOLDERS, DirectoryObject(OWN_OID)))


def _mostly(draw: Any, usual: Any, *others: Any) -> Any:
    """One in six is another: enough of them together for every mixture, and not so many that nothing is ever proven."""
    return draw(st.sampled_from([usual] * 5 * len(others) + [*others])) if others else usual


def _versions(draw: Any) -> Any:
    enabled = draw(st.booleans())
    source, newer = _mostly(draw, Source.DATA_PLANE, Source.RESOURCE_MANAGER), _mostly(draw, False, True, LOST)
    return VersionInUse(KEY.with_version(_mostly(draw, V1, V2)), enabled, source, newer)


def _principal(draw: Any, atlas_id: str, object_id: str) -> Principal:
    found = _mostly(draw, object_id, LOST)
    return Principal(atlas_id, found, "directory", draw(st.sampled_from([*ASSIGNMENTS[:2], *ASSIGNMENTS, LOST])))


@st.composite
def accesses(draw: Any) -> AccessFacts:
    """Any state of key, vault and grants, and any of it unread."""
    ids: dict[str, Any] = _mostly(draw, {}, {"client_id": CLIENT_ID[7:]}, {"enabled": False})
    block = encryption(**ids, valid=draw(st.sampled_from([True, False, None])))
    definitions = {
        CRYPTO_USER: role(*CRYPTO_USER_ACTIONS, fresh=_mostly(draw, True, False)),
        READER: role("Microsoft.KeyVault/vaults/*/read", fresh=_mostly(draw, True, False)),
    }
    source = _mostly(draw, Source.DATA_PLANE, Source.RESOURCE_MANAGER)
    presence = _mostly(draw, Presence.THERE, Presence.DELETED, Presence.NOT_FOUND)
    entries = st.lists(st.sampled_from(ENTRIES), max_size=3, unique_by=id).map(tuple)
    found = AccessFacts(
        encryption=_mostly(draw, block, LOST),
        version=_mostly(draw, _versions(draw), *NOBODY),
        key=_mostly(draw, KeyPresence(KEY, presence, source), *NOBODY),
        vault=_mostly(draw, Presence.THERE, Presence.DELETED, Presence.NOT_FOUND, LOST),
        model=_mostly(draw, PermissionModel.ROLES, PermissionModel.POLICIES, LOST),
        principals=(_principal(draw, ROLE_ID, OID), _principal(draw, CLIENT_ID, OTHER_OID)),
        definitions=definitions,
        denials=_mostly(draw, (), DENIALS[:1], DENIALS[1:], LOST),
        control_list=_mostly(draw, AssignmentList(7, complete=True), AssignmentList(0, complete=True), NOT_ASKED),
        policies=_mostly(draw, draw(entries), LOST),
        own_object_id=_mostly(draw, OWN_OID, LOST),
        key_scope=KEY_SCOPE,
    )
    silent = found.vault is Presence.DELETED and draw(st.integers(0, 3))
    return replace(found, key=LOST, version=LOST) if silent else found


@st.composite
def ways(draw: Any) -> WayFacts:
    """Any way of the control plane to the vault."""
    rules = draw(st.sampled_from([("20.1.1.1",), ("20.1.1.1", "3.1.1.1"), ("52.1.1.1", "3.1.1.1"), ()]))
    public = _mostly(draw, "Enabled", "Disabled", "SecuredByPerimeter")
    network = acl(*rules, public_access=public, default_action=_mostly(draw, "Deny", "Allow"))
    endpoints = (PrivateEndpoint("EUROPE_WEST", draw(st.sampled_from(["ACTIVE", "PENDING_ACCEPTANCE"]))),)
    return WayFacts(
        acl=_mostly(draw, network, LOST),
        control_plane=_mostly(draw, PLANE, LOST),
        endpoints=_mostly(draw, (), endpoints, LOST),
        regions=draw(st.sampled_from([frozenset({"EUROPE_WEST"}), frozenset({"EUROPE_WEST", "X"}), LOST])),
        alert=_mostly(draw, None, NetworkAlert(NOW), LOST),
    )


@st.composite
def clusters_of(draw: Any) -> tuple[PausableCluster, ...]:
    """Up to three clusters, most of which could be paused."""
    found = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        state, tier = _mostly(draw, ClusterState.IDLE, *ClusterState), _mostly(draw, Tier.DEDICATED, *Tier)
        encrypted = _mostly(draw, True, False)
        found.append(PausableCluster(Cluster(name, state, draw(st.booleans()), encrypted), tier))
    return tuple(found)


PAUSES = st.builds(
    lambda name, cause, *, unproven: Pause(name, cause, NOW - timedelta(days=1), unproven),
    st.sampled_from("abcd"),
    st.sampled_from(["revocation", "revocation", "revocation", "operator"]),
    unproven=st.sampled_from([False, False, True]),
)
POLICIES = st.builds(
    RevocationPolicy,
    confirmations=st.sampled_from([1, 2, 2, 3]),
    pause_when_reachable=st.booleans(),
    resume=st.sampled_from(["auto", "manual"]),
    max_vaults_per_hour=st.sampled_from([3, 3, 1, 0]),
    signals=st.sampled_from([SIGNALS, SIGNALS, SIGNALS, SIGNALS[:2], SIGNALS[3:], SIGNALS[2:3]]),
    mode=st.sampled_from(["pause"] * 8 + ["alert", "off"]),
)


@st.composite
def starts(draw: Any) -> RevocationInput:
    """Any first look."""
    both = replace(MEMORY, decrypts=MEMORY.decrypts | {replace(SEEN, object_id=OTHER_OID)})
    listed = st.lists(st.builds(VaultConfirmed, st.sampled_from("xyz"), st.just(NOW)), max_size=3).map(tuple)
    return RevocationInput(
        vault=VAULT,
        access=draw(st.one_of(accesses(), st.sampled_from([access(), access(**KEY_DISABLED)]))),
        way=draw(st.one_of(ways(), st.just(way()))),
        clusters=_mostly(draw, draw(clusters_of()), LOST),
        policy=draw(POLICIES),
        now=NOW,
        period=PERIOD,
        memory=draw(st.sampled_from([MEMORY, both])),
        pauses=draw(st.lists(PAUSES, min_size=1, max_size=4, unique_by=lambda p: p.cluster).map(tuple)),
        vaults_confirmed=_mostly(draw, draw(listed), LOST),
        firewall=_mostly(draw, READY, replace(READY, missing=1), LOST),
    )


READY = FirewallReadiness(written_by_us=True, filters=True, synced_at=NOW + timedelta(days=1), missing=0)

type Step = tuple[float, AccessFacts | None, WayFacts | None, Look]

STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from([60, 600, 900, 5, 3600]),
        st.one_of(st.none(), st.none(), accesses()),
        st.one_of(st.none(), st.none(), ways()),
        st.sampled_from([*[Look.RECONCILE] * 4, Look.ASIDE]),
    ),
    max_size=6,
)
"""Further looks: how many seconds later, and what they see; None: what was seen before."""

type History = list[tuple[RevocationInput, RevocationDecision]]


def play(start: RevocationInput, steps: Iterable[Step]) -> History:
    """Look, remember, and look again."""
    played = [(start, decide_revocation(start))]
    for seconds, facts, network, look in steps:
        before, decision = played[-1]
        now = before.now + timedelta(seconds=seconds)
        seen = replace(before, now=now, access=facts or before.access, way=network or before.way, look=look)
        following = replace(seen, record=decision.record, memory=decision.memory, pauses=decision.pauses)
        played.append((following, decide_revocation(following)))
    return played


def _pausing(decision: RevocationDecision) -> bool:
    return bool(to_pause(decision))


def _spaced_yes(history: History, signal: str) -> int:
    """Most spaced looks of one subject that agreed with no "no" between; told from what the looks found."""
    most, count, counted_at, subject = 0, 0, NOW, ""
    apart = timedelta(seconds=600 if signal == "grantRemoved" else 60)
    for start, decision in history:
        found = next((f for f in decision.findings if f.signal == signal), None)
        if found is None or start.look is not Look.RECONCILE or found.answer == "unknown":
            continue
        if found.answer == "no":
            count = 0
        elif count == 0 or found.subject != subject:
            count, counted_at, subject = 1, start.now, found.subject
        elif start.now - counted_at >= apart:
            count, counted_at = count + 1, start.now
        most = max(most, count)
    return most


@given(starts(), STEPS)
@settings(max_examples=300, deadline=None)
def test_nothing_is_paused_before_it_was_confirmed_often_enough(start: RevocationInput, steps: Any) -> None:
    history = play(start, steps)
    for n, (look, decision) in enumerate(history):
        if not _pausing(decision):
            continue
        # A look aside plans as if it had counted.
        counted = [*history[:n], (replace(look, look=Look.RECONCILE), decision)]
        assert any(_spaced_yes(counted, signal) >= start.policy.confirmations for signal in start.policy.signals)


def _plainly_revoked(facts: AccessFacts) -> bool:
    """Positive evidence, as one reads it off the facts without a decision."""
    version = not isinstance(facts.version, Unknown) and not facts.version.enabled
    key = not isinstance(facts.key, Unknown) and facts.key.presence is not Presence.THERE
    grants = [p.assignments for p in facts.principals]
    none = any(not isinstance(found, Unknown) and found in {(), ASSIGNMENTS[2]} for found in grants)
    policies = facts.model is PermissionModel.POLICIES
    return version or key or facts.vault is Presence.DELETED or none or policies or facts.denials != ()


@given(starts(), STEPS)
@settings(max_examples=300, deadline=None)
def test_no_history_without_a_sight_of_a_revocation_pauses(start: RevocationInput, steps: Any) -> None:
    harmless = access()

    def cleaned(facts: AccessFacts) -> AccessFacts:
        return facts if not _plainly_revoked(facts) else replace(facts, **_harmless(harmless))

    start = replace(start, access=cleaned(start.access))
    history = play(start, [(step[0], step[1] and cleaned(step[1]), *step[2:]) for step in steps])
    assert not any(_pausing(decision) for _, decision in history)
    assert not any(decision.record.real.suspected for _, decision in history)


def _harmless(facts: AccessFacts) -> dict[str, Any]:
    """Everything that could show a revocation, unread or fine."""
    return {
        "version": LOST,
        "key": REFUSED,
        "vault": Presence.NOT_FOUND,
        "model": PermissionModel.ROLES,
        "principals": tuple(replace(p, assignments=(GRANTED,)) for p in facts.principals),
        "denials": (),
    }


@given(starts(), STEPS)
@settings(max_examples=200, deadline=None)
def test_what_is_not_known_pauses_nothing_that_had_not_begun(start: RevocationInput, steps: Any) -> None:
    before, decision = play(start, steps)[-1]
    facts = replace(before.access, encryption=LOST)
    blind = replace(before, access=facts, record=decision.record, memory=decision.memory)
    begun = any(found.enforced for found in decision.record.real.standing.values())
    assert begun or not _pausing(decide_revocation(blind))


def _without[T](value: T, name: str) -> T:
    changed: dict[str, Any] = {name: LOST}
    found: T = replace(value, **changed)  # type: ignore[type-var] # every one of them is a dataclass
    return found


def _unread(start: RevocationInput) -> Mapping[str, RevocationInput]:
    """The same look with each of its facts unread in turn, by name."""
    facts, network = start.access, start.way
    names = ("encryption", "version", "key", "vault", "model", "denials", "control_list", "policies", "own_object_id")
    found = {name: replace(start, access=_without(facts, name)) for name in names}
    for name in ("acl", "control_plane", "endpoints", "regions", "alert"):
        found[name] = replace(start, way=_without(network, name))
    for name in ("clusters", "vaults_confirmed", "firewall"):
        found[name] = _without(start, name)
    for n, principal in enumerate(facts.principals):
        others = [*facts.principals[:n], *facts.principals[n + 1 :]]
        found[f"principal {n}"] = replace(start, access=replace(facts, principals=others))
        for name in ("object_id", "assignments"):
            changed = replace(facts, principals=[*others, _without(principal, name)])
            found[f"{name} {n}"] = replace(start, access=changed)
    for name in facts.definitions:
        found[name] = replace(start, access=replace(facts, definitions={**facts.definitions, name: LOST}))
    if not isinstance(facts.version, Unknown):
        version = replace(facts.version, newer_usable=LOST)
        found["newer version"] = replace(start, access=replace(facts, version=version))
    return found


def _by_design(start: RevocationInput, name: str) -> bool:
    """
    Facts that take something back, whose loss therefore may let a pause be.

    A deleted vault that answers is a contradiction only while its answer is heard; Atlas's alert speaks only where the
    network settings do not.
    """
    if name in {"version", "key"}:
        return start.access.vault is Presence.DELETED
    return name == "acl" and isinstance(start.way.alert, NetworkAlert)


@given(starts(), STEPS)
@settings(max_examples=300, deadline=None)
def test_a_fact_that_is_not_read_never_makes_a_pause_or_a_return(start: RevocationInput, steps: Any) -> None:
    last, whole = play(start, steps)[-1]
    # What was begun goes on through what is unknown: there it is the "no" and the "open" that stop it.
    assume(not any(standing.enforced for standing in last.record.real.standing.values()))
    for name, blind in _unread(last).items():
        found = decide_revocation(blind)
        if not _by_design(last, name):
            assert _pausing(whole) or not _pausing(found), name
        assert set(to_resume(found)) <= set(to_resume(whole)), name


@given(starts(), STEPS)
@settings(max_examples=300, deadline=None)
def test_only_what_may_be_touched_is_touched(start: RevocationInput, steps: Any) -> None:
    for look, decision in play(start, steps):
        there = {} if isinstance(look.clusters, Unknown) else {c.cluster.name: c for c in look.clusters}
        for name in to_pause(decision):
            cluster = there[name]
            assert cluster.cluster.encrypted
            assert not cluster.cluster.paused
            assert cluster.tier is Tier.DEDICATED
        for name in to_resume(decision):
            pause = next(p for p in look.pauses if p.cluster == name)
            assert (pause.cause, pause.unproven) == ("revocation", False)
            assert there[name].cluster.paused
        if to_resume(decision):
            assert look.policy.resume == "auto"
            assert not to_pause(decision)
            assert {finding.answer for finding in decision.findings} == {"no"}
        if _pausing(decision) and decision.way not in SHUT:
            begun = any(s.enforced for s in look.record.real.standing.values())
            assert (decision.way == "unknown" and begun) or look.policy.pause_when_reachable
        assert set(decision.pauses) <= set(look.pauses)


@given(starts(), STEPS)
@settings(max_examples=100, deadline=None)
def test_a_revocation_that_stays_behind_a_shut_way_is_enforced_whatever_went_before(
    start: RevocationInput, steps: Any
) -> None:
    policy = replace(start.policy, mode="pause", signals=SIGNALS)
    revoked = access(**KEY_DISABLED)
    looks: list[Step] = [(600, revoked, way(), Look.RECONCILE)] * policy.confirmations
    clusters = (PausableCluster(Cluster("z", ClusterState.IDLE, paused=False, encrypted=True)),)
    history = play(replace(start, policy=policy, clusters=clusters), [*steps, *looks])
    assert to_pause(history[-1][1]) == ["z"]


@given(starts(), STEPS)
@settings(max_examples=150, deadline=None)
def test_the_same_look_again_counts_nothing_more(start: RevocationInput, steps: Any) -> None:
    last, decision = play(start, steps)[-1]
    again = decide_revocation(last)
    assert (again.plan.digest, again.record) == (decision.plan.digest, decision.record)
    after = decide_revocation(replace(last, record=decision.record))
    suspected = decision.record.real.suspected
    assert {n: s.looks for n, s in after.record.real.suspected.items()} == {n: s.looks for n, s in suspected.items()}


def _mixed(start: RevocationInput, random: Any) -> RevocationInput:
    def shuffled(items: Any) -> Any:
        if isinstance(items, Unknown):
            return items
        found = list(items)
        random.shuffle(found)
        return tuple(found)

    facts, network = start.access, start.way
    principals = tuple(replace(p, assignments=shuffled(p.assignments)) for p in shuffled(facts.principals))
    seen = replace(
        facts,
        principals=principals,
        definitions=dict(shuffled(facts.definitions.items())),
        denials=shuffled(facts.denials),
        policies=shuffled(facts.policies),
    )
    rules = (
        network.acl
        if isinstance(network.acl, Unknown)
        else replace(network.acl, ip_rules=shuffled(network.acl.ip_rules))
    )
    mixed_way = replace(
        network, acl=rules, control_plane=shuffled(network.control_plane), endpoints=shuffled(network.endpoints)
    )
    policy = replace(start.policy, signals=shuffled(start.policy.signals))
    mixed = replace(start, access=seen, way=mixed_way, clusters=shuffled(start.clusters), policy=policy)
    return replace(mixed, pauses=shuffled(start.pauses), vaults_confirmed=shuffled(start.vaults_confirmed))


@given(starts(), STEPS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_what_was_read_does_not_matter(start: RevocationInput, steps: Any, random: Any) -> None:
    last, _ = play(start, steps)[-1]
    one, other = decide_revocation(last), decide_revocation(_mixed(last, random))
    assert (one.plan.data, one.state, one.reason, one.checks) == (
        other.plan.data,
        other.state,
        other.reason,
        other.checks,
    )
    assert (one.record, one.memory, one.pauses) == (other.record, other.memory, other.pauses)
    assert (one.changes, one.notices, one.look_again_at) == (other.changes, other.notices, other.look_again_at)


@given(starts(), STEPS)
@settings(max_examples=150, deadline=None)
def test_a_wake_up_lies_ahead_while_anything_is_suspected(start: RevocationInput, steps: Any) -> None:
    for look, decision in play(start, steps):
        again: datetime | None = decision.look_again_at
        assert again is None or again > look.now
        # A look aside is nobody's run, and sets no wake-up.
        assert again is not None or not decision.record.real.suspected or look.look is Look.ASIDE


def test_the_worlds_that_are_drawn_do_pause_and_resume() -> None:
    """Otherwise the properties above would hold of nothing."""
    revoked = access(**KEY_DISABLED)
    cluster = PausableCluster(Cluster("a", ClusterState.IDLE, paused=False, encrypted=True))
    policy = RevocationPolicy(pause_when_reachable=True)
    start = RevocationInput(VAULT, revoked, way(), (cluster,), policy, NOW, PERIOD, memory=MEMORY)
    assert _pausing(play(start, [(60, revoked, way(), Look.RECONCILE)])[-1][1])
    open_way: list[Step] = [
        (60, access(**KEY_DISABLED, encryption=encryption(valid=False)), way(acl=OPEN), Look.RECONCILE)
    ]
    assert _pausing(play(start, open_way)[-1][1])
