"""Laws of the rotation decision, whatever the facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given as for_all
from hypothesis import strategies as st

from keysteward.decide.reversals import Reversals
from keysteward.decide.rotation import Attempt, RotateRequest, RotationInput, decide_rotation, what_it_lacks
from keysteward.facts import Approval, Job, KeyVersions, ProjectFacts, Unknown
from keysteward.policy import Policy, RotationPolicy, parse_policy
from keysteward.policy.windows import Window
from keysteward.vocabulary import KeyIdentifier, KeyVersion
from tests.builders import KEY, NOW, OPERATIONS, V1, V2, V3, V4, a_hold, a_version, encryption, facts

NAMES = (V1, V2, V3, V4)
LATER = NOW + timedelta(days=1)
ages = st.sampled_from([0.001, 0.5, 1, 1, 30, 100])
expiries = st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(hours=71), NOW + timedelta(days=400)])
begins = st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(days=1)])
unknowns = st.builds(Unknown, st.just("HTTP_503"), st.just("503"), passing=st.booleans())


@st.composite
def key_versions(draw: st.DrawFn) -> KeyVersions:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=0, max_size=4))
    found = [
        a_version(
            name,
            age_days=draw(ages),
            enabled=draw(st.booleans()),
            expires_at=draw(expiries),
            not_before=draw(begins),
            key_type=draw(st.sampled_from(["RSA", "RSA-HSM", "EC", None])),
            operations=draw(st.sampled_from([OPERATIONS, frozenset({"encrypt"}), None])),
        )
        for name in names
    ]
    return KeyVersions(tuple(found), complete=draw(st.booleans()), source="dataPlane")


identifiers = st.sampled_from([*(str(KEY.with_version(n)) for n in NAMES), str(KEY), "nonsense", None])
encryptions = st.builds(
    encryption,
    identifiers,
    enabled=st.booleans(),
    valid=st.sampled_from([True, True, False, None]),
    vault_name=st.sampled_from(["kv-acme-cmk", "kv-other"]),
)
requests = st.one_of(
    st.none(),
    st.builds(RotateRequest, st.just("op"), st.sampled_from([None, *(KEY.with_version(n) for n in NAMES)])),
)
attempts = st.one_of(
    st.none(),
    st.builds(
        Attempt,
        st.sampled_from(NAMES),
        st.just("AZURE_KEY_VAULT_KEY_NOT_FOUND"),
        st.just(NOW - timedelta(hours=1)),
        st.sampled_from([NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)]),
        st.booleans(),
    ),
)
all_facts = st.builds(
    lambda e, v: facts(encryption=e, key_versions=v),
    st.one_of(encryptions, encryptions, unknowns),
    st.one_of(key_versions(), key_versions(), unknowns),
)
NEVER_NOW = '{"cron": "0 2 * * SAT", "minutes": 60, "timeZone": "Europe/Berlin"}'
ALWAYS = '{"cron": "0 * * * *", "minutes": 60, "timeZone": "Europe/Berlin"}'


def _windows(text: str) -> tuple[Window, ...]:
    policy = parse_policy(f'{{"defaults":{{"rotation":{{"windows":[{text}]}}}}}}')
    assert isinstance(policy, Policy)
    return policy.project("64b0c1d2e3f405162738495a").rotation.windows


policies = st.builds(
    RotationPolicy,
    mode=st.sampled_from(["auto", "auto", "approve", "off"]),
    windows=st.sampled_from([(), (), _windows(ALWAYS), _windows(NEVER_NOW)]),
    max_reversals=st.integers(1, 3),
)
holds = st.one_of(
    st.none(),
    st.none(),
    st.builds(lambda job, until: a_hold(job, until=until), st.sampled_from(Job), st.sampled_from([None, NOW, LATER])),
)
approvals = st.lists(
    st.builds(Approval, st.sampled_from([KEY.with_version(n) for n in NAMES]), st.booleans()), max_size=3
)
reversals = st.builds(
    Reversals,
    st.sampled_from([None, *(KEY.with_version(n) for n in NAMES)]),
    st.booleans(),
    st.lists(st.sampled_from([NOW - timedelta(hours=h) for h in (30, 20, 1)]), max_size=3).map(tuple),
)
inputs = st.builds(RotationInput, all_facts, policies, st.just(NOW), requests, attempts, holds, approvals, reversals)


def _created(found: ProjectFacts, identifier: KeyIdentifier) -> Any:
    assert isinstance(found.key_versions, KeyVersions)
    version = found.key_versions.find(identifier.version or "")
    return version.created_at if version is not None else None


@for_all(inputs)
def test_there_is_an_action_or_a_hold_or_nothing_to_do_never_two(case: RotationInput) -> None:
    decision = decide_rotation(case)
    assert len(decision.plan.actions) + len(decision.plan.held) <= 1
    assert (decision.state == "due") == bool(decision.plan.actions)
    assert (decision.state in {"held", "unknown"}) == bool(decision.plan.held)


@for_all(inputs)
def test_never_an_older_version_another_key_or_an_unusable_one(case: RotationInput) -> None:
    decision = decide_rotation(case)
    if not decision.plan.actions:
        return
    assert decision.target is not None
    assert decision.current is not None
    assert decision.target.same_key(decision.current)
    if decision.current.version is not None:
        assert _created(case.facts, decision.target) > _created(case.facts, decision.current)
    assert isinstance(case.facts.key_versions, KeyVersions)
    target = case.facts.key_versions.find(decision.target.version or "")
    assert target is not None
    assert what_it_lacks(target, timedelta(hours=case.policy.minimum_remaining_hours), case.now) is None


@for_all(inputs)
def test_unless_held_or_off_it_pushes_if_and_only_if_a_newer_usable_version_exists(case: RotationInput) -> None:
    decision = decide_rotation(case)
    if decision.state not in {"due", "current"} or (case.request is not None and case.request.identifier is not None):
        return
    assert isinstance(case.facts.key_versions, KeyVersions)
    current = _created(case.facts, decision.current) if decision.current and decision.current.version else None
    lasting = timedelta(hours=case.policy.minimum_remaining_hours)
    usable = [
        v
        for v in case.facts.key_versions.versions
        if (current is None or v.created_at > current) and what_it_lacks(v, lasting, case.now) is None
    ]
    assert bool(decision.plan.actions) == bool(usable)


@for_all(inputs)
def test_a_plan_applied_plans_nothing_more(case: RotationInput) -> None:
    decision = decide_rotation(case)
    if not decision.plan.actions or (case.request is not None and case.request.identifier is not None):
        return
    assert not isinstance(case.facts.encryption, Unknown)
    applied = replace(case.facts.encryption, key_identifier=str(decision.target))
    after = decide_rotation(replace(case, facts=replace(case.facts, encryption=applied), request=None))
    assert not after.plan.actions


@for_all(inputs, st.randoms(use_true_random=False))
def test_the_order_of_versions_is_irrelevant(case: RotationInput, random: Any) -> None:
    if isinstance(case.facts.key_versions, Unknown):
        return
    shuffled: list[KeyVersion] = list(case.facts.key_versions.versions)
    random.shuffle(shuffled)
    other = replace(case.facts, key_versions=replace(case.facts.key_versions, versions=tuple(shuffled)))
    assert decide_rotation(case).plan.digest == decide_rotation(replace(case, facts=other)).plan.digest


@for_all(inputs, unknowns)
def test_a_fact_that_becomes_unknown_never_adds_an_action(case: RotationInput, unknown: Unknown) -> None:
    for less in (replace(case.facts, encryption=unknown), replace(case.facts, key_versions=unknown)):
        assert not decide_rotation(replace(case, facts=less)).plan.actions


@for_all(inputs)
def test_clusters_do_not_decide_a_rotation(case: RotationInput) -> None:
    gone = Unknown("HTTP_503", "503")
    other = replace(case, facts=replace(case.facts, clusters=gone))
    assert decide_rotation(case).plan == decide_rotation(other).plan


@for_all(inputs)
def test_nothing_is_pushed_under_an_operators_hold_whoever_asks(case: RotationInput) -> None:
    if case.hold is not None and case.hold.stops(Job.ROTATION, case.now):
        assert not decide_rotation(case).plan.actions


@for_all(inputs)
def test_without_an_operator_only_what_mode_window_approval_and_reversals_allow_is_pushed(case: RotationInput) -> None:
    decision = decide_rotation(case)
    if not decision.plan.actions or case.request is not None:
        return
    assert decision.target is not None
    assert case.policy.mode != "off"
    assert len(case.reversals.within_a_day(case.now)) < case.policy.max_reversals
    assert case.policy.windows != _windows(NEVER_NOW)
    if case.policy.mode == "approve":
        repaired = case.reversals.rotated_to
        assert decision.target in {a.identifier for a in case.approvals if not a.used or a.identifier == repaired}


@for_all(inputs)
def test_an_operators_hold_never_adds_an_action(case: RotationInput) -> None:
    without, under = decide_rotation(replace(case, hold=None)), decide_rotation(replace(case, hold=a_hold()))
    assert not under.plan.actions
    assert bool(under.plan.held) >= bool(without.plan.actions)


@for_all(inputs)
def test_the_next_look_is_ahead(case: RotationInput) -> None:
    at = decide_rotation(case).look_again_at
    assert at is None or at > case.now
