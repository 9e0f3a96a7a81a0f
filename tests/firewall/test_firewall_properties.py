"""What holds of every plan, over random vaults, neighbours, failures and histories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keysteward.decide.firewall.addresses import projects_named, remember_addresses
from keysteward.decide.firewall.given import FirewallInput
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.decide.firewall.ranges import read_range, to_range
from keysteward.facts import Fact, Unknown
from keysteward.network_facts import ControlPlaneRange, LedgerRow, Membership, NetworkAcl, ProjectAddresses, RowState
from keysteward.vocabulary import NodeAddresses
from tests.builders import NOW
from tests.firewall import vault
from tests.firewall.vault import LOST, PAY, SHOP, Written, a_project, a_sync, acl, carry_out, codes, next_run

# Few addresses, so that neighbours, overlaps and shared addresses are common.
TEXTS = st.one_of(
    st.integers(0, 31).map(lambda n: f"20.1.1.{n}"),
    st.integers(0, 31).map(lambda n: f"20.1.1.{n}/32"),
    st.integers(0, 15).map(lambda n: f"20.1.1.{n << 1}/31"),
    st.sampled_from(["20.1.1.0/28", "20.1.1.16/28", "20.1.1.0/24", "2603::1", "10.0.0.1", "no address"]),
)
RULES = st.lists(st.one_of(TEXTS, st.sampled_from(["8.8.8.8", "20.1.1.9/29"])), max_size=8, unique=True)
MEMBERSHIPS = {
    Membership.COUNTS: True,
    Membership.OFF: False,
    Membership.ELSEWHERE: False,
    Membership.DISAGREES: False,
    Membership.NOT_READ: None,
}


def unread(project: ProjectAddresses, what: str) -> ProjectAddresses:
    return replace(project, clusters=LOST) if what == "clusters" else replace(project, addresses=LOST)


@st.composite
def projects(draw: st.DrawFn, project_id: str) -> ProjectAddresses:
    listed = []
    for name in draw(st.sets(st.sampled_from(["a", "b", "c"]))):
        texts = draw(st.lists(TEXTS, max_size=5)), draw(st.lists(TEXTS, max_size=2))
        listed.append(NodeAddresses(name, tuple(texts[0]), tuple(texts[1])))
    found = draw(st.sampled_from(sorted(MEMBERSHIPS) + [Membership.COUNTS] * 6))
    project = a_project(*listed, project_id=project_id, membership=found, counts=MEMBERSHIPS[found])
    if draw(st.integers(0, 5)) == 0:
        project = unread(project, draw(st.sampled_from(["clusters", "addresses"])))
    return project


STRANGER = "9" * 24
"""A project that left the settings; its record still names the vault."""
REASONS = st.sampled_from([
    f"node:{PAY}/a",
    f"node:{PAY}/b",
    f"announced:{SHOP}/a",
    "controlPlane:aws/eu-1",
    "extra:vault",
    f"node:{STRANGER}/x",
])  # fmt: skip


STATES: tuple[RowState, ...] = ("ours", "ours", "ours", "orphaned", "intended")


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[LedgerRow, ...]:
    found = {}
    for text in draw(st.lists(TEXTS, max_size=6)):
        key = read_range(text)
        if key is None or key[1] < 24:
            continue
        gone = draw(st.sampled_from([None, vault.LONG_AGO]))
        reasons = tuple(sorted(draw(st.sets(REASONS, max_size=2))))
        state: RowState = draw(st.sampled_from(STATES))
        leaving = draw(st.booleans())
        found[key] = LedgerRow(IPv4Network(key), state, reasons, vault.LONG_AGO, gone, leaving=leaving)
    return tuple(found.values())


@st.composite
def starts(draw: st.DrawFn) -> FirewallInput:
    ledger = draw(ledgers())
    own = [str(found.network) for found in ledger if draw(st.integers(0, 3)) > 0]
    rules = draw(st.permutations(list(dict.fromkeys([*own, *draw(RULES)]))))
    texts = draw(st.lists(TEXTS, max_size=4))
    plane: Fact[tuple[ControlPlaneRange, ...]] = tuple(ControlPlaneRange("aws/eu-1", text) for text in texts)
    if draw(st.integers(0, 5)) == 0:
        plane = LOST
    policy: dict[str, Any] = {
        "control_plane": draw(st.booleans()),
        "widest_prefix": draw(st.sampled_from([25, 28, 30, 32])),
        "remove_after_hours": draw(st.sampled_from([0, 48])),
        "max_removals_percent": draw(st.sampled_from([0, 50, 100])),
        "extra_ip_rules": draw(st.sampled_from([(), (IPv4Network("20.1.1.0/27"),), (IPv4Network("9.9.9.9/32"),)])),
    }
    remembered: dict[str, list[NodeAddresses]] = {
        project: [NodeAddresses(name, tuple(draw(st.lists(TEXTS, max_size=2))), ())]
        for project in draw(st.sets(st.sampled_from([PAY, SHOP])))
        for name in ("a",)
    }
    for project_id in projects_named(ledger):
        remembered.setdefault(project_id, [])
    return vault.given(
        *(draw(projects(project_id)) for project_id in draw(st.sets(st.sampled_from([PAY, SHOP])))),
        rules=rules,
        plane=plane,
        policy=policy,
        ledger=ledger,
        remembered=remembered,
        frozen=draw(st.sampled_from([{}, {}, {}, {PAY: "suspected"}])),
        request=draw(st.sampled_from([None, None, a_sync(), a_sync(allow_large_removal=True)])),
        rule_limit=draw(st.sampled_from([1000, 1000, 8, 12, 20])),
    )


def allowed(texts: Iterable[str]) -> set[int]:
    """Every address that some text allows."""
    found: set[int] = set()
    for first, prefix in filter(None, map(read_range, texts)):
        found.update(range(first, first + (1 << 32 - prefix)))
    return found


def of_rows(rows: Iterable[LedgerRow]) -> set[int]:
    return allowed(str(found.network) for found in rows)


def rules_of(start: FirewallInput) -> tuple[str, ...]:
    return start.facts.acl.ip_rules if isinstance(start.facts.acl, NetworkAcl) else ()


def foreign(start: FirewallInput) -> list[str]:
    """The texts of others: one of each rule that the ledger calls ours is taken out."""
    ours = {to_range(found.network) for found in start.ledger if found.state != "intended"}
    texts = []
    for text in rules_of(start):
        found = read_range(text)
        if found in ours:
            ours.discard(found)
        else:
            texts.append(text)
    return texts


def check(start: FirewallInput, written: Written) -> None:
    """What every run promises."""
    decision, after = written.decision, allowed(written.rules)
    unmet = allowed(decision.unmet)
    # Everybody who is wanted gets in, or it is said what keeps him out.
    assert allowed(decision.wanted) <= after | unmet
    assert not [code for code in decision.unmet.values() if not code]
    # Nobody gets in who did not before and is not wanted; what is not called ours stays, text by text.
    known = {found for found in start.ledger for reason in found.reasons if reason}
    assert after <= allowed(rules_of(start)) | allowed(decision.wanted) | of_rows(known)
    if decision.write is not None:
        assert list(decision.write[: len(foreign(start))]) == foreign(start)
        assert len(decision.write) <= max(start.rule_limit, len(rules_of(start)))
        new = [text for text in decision.write if text not in rules_of(start)]
        asked = {*decision.wanted, *(str(p.network) for r in start.ledger for p in r.pieces)}
        widths = [(found[1], text) for text in new if (found := read_range(text)) is not None]
        assert all(width >= start.policy.widest_prefix or text in asked for width, text in widths)
    # What leaves was ours, nobody wants it, and it had been gone for long enough.
    left = allowed(rules_of(start)) - after
    assert left <= of_rows(found for found in start.ledger if found.state != "intended")
    assert not left & allowed(decision.wanted)
    if left:
        assert not whole_of(start)


def _is_unread(p: ProjectAddresses) -> bool:
    return p.counts is True and (isinstance(p.clusters, Unknown) or isinstance(p.addresses, Unknown))


def whole_of(start: FirewallInput) -> list[str]:
    """Which sources did not answer."""
    failed = [p.project_id for p in start.facts.projects if p.membership is Membership.NOT_READ or _is_unread(p)]
    plane = start.facts.control_plane
    left = all(p.membership in {Membership.OFF, Membership.ELSEWHERE} for p in start.facts.projects)
    if start.policy.control_plane and not left and (isinstance(plane, Unknown) or not plane):
        failed.append("control plane")
    return failed


@given(starts())
@settings(max_examples=300, deadline=None)
def test_every_run_keeps_its_promises(start: FirewallInput) -> None:
    check(start, carry_out(start))


@given(starts())
@settings(max_examples=200, deadline=None)
def test_a_second_run_changes_nothing(start: FirewallInput) -> None:
    first = carry_out(start)
    again = carry_out(next_run(start, first))
    assert again.decision.write is None
    assert (again.rules, again.ledger) == (first.rules, first.ledger) or first.decision.write is None
    third = carry_out(next_run(start, again))
    assert (third.decision.plan.digest, third.ledger) == (again.decision.plan.digest, again.ledger)


FAILURES = ("acl", "control_plane", "clusters", "addresses", "block")


def broken(start: FirewallInput, what: str, at: int) -> FirewallInput:
    facts = start.facts
    if what == "acl":
        return replace(start, facts=replace(facts, acl=LOST))
    if what == "control_plane":
        return replace(start, facts=replace(facts, control_plane=LOST))
    found = list(facts.projects)
    if not found:
        return replace(start, facts=replace(facts, acl=LOST))
    at %= len(found)
    if what == "block":
        found[at] = replace(found[at], membership=Membership.NOT_READ, counts=None)
    else:
        found[at] = unread(replace(found[at], membership=Membership.COUNTS, counts=True), what)
    return replace(start, facts=replace(facts, projects=tuple(found)))


@given(starts(), st.sampled_from(FAILURES), st.integers(0, 1))
@settings(max_examples=300, deadline=None)
def test_a_single_source_that_fails_removes_nothing(start: FirewallInput, what: str, at: int) -> None:
    if what == "control_plane":
        user = a_project(project_id="7" * 24)
        facts = replace(start.facts, projects=(*start.facts.projects, user))
        start = replace(start, facts=facts, policy=replace(start.policy, control_plane=True))
    failing = broken(start, what, at)
    if failing.facts.acl is LOST:
        assert carry_out(failing).decision.write is None
    else:
        assert allowed(rules_of(start)) <= allowed(carry_out(failing).rules)


@given(starts(), st.sampled_from(["empty addresses", "empty clusters", "a cluster less", "empty control plane"]))
@settings(max_examples=200, deadline=None)
def test_a_single_empty_or_partial_list_removes_nothing(start: FirewallInput, what: str) -> None:
    """From a vault in step, one list alone says less than before."""
    whole = []
    for project in start.facts.projects:
        listed = () if isinstance(project.addresses, Unknown) else project.addresses
        whole.append(a_project(*map(_without_oddities, listed), project_id=project.project_id))
    plane = (ControlPlaneRange("aws/eu-1", "20.1.1.31"),)
    policy = replace(start.policy, remove_after_hours=0, control_plane=True)
    facts = replace(start.facts, projects=tuple(whole), control_plane=plane)
    good = replace(start, facts=facts, policy=policy, frozen={}, request=a_sync(allow_large_removal=True))
    remembered = {p.project_id: remember_addresses(p, ()) for p in whole}
    written = carry_out(good)
    lesser = _lesser(next_run(replace(good, remembered=remembered), written), what)
    before, after = allowed(written.rules), allowed(carry_out(lesser).rules)
    assert before <= after
    # Only at the limit of rules it may add: what there was no room for in the first run.
    assert before == after or "tooManyRules" in codes(written.decision)


def _without_oddities(listed: NodeAddresses) -> NodeAddresses:
    """A list with a text that is no address keeps rules by itself."""
    outbound, announced = (
        tuple(t for t in texts if t != "no address") for texts in (listed.outbound, listed.announced)
    )
    return replace(listed, outbound=(*outbound, "20.1.1.30"), announced=announced)


def _lesser(start: FirewallInput, what: str) -> FirewallInput:
    facts = start.facts
    if what == "empty control plane":
        return replace(start, facts=replace(facts, control_plane=()))
    cut: dict[str, Any] = {"empty addresses": {"addresses": ()}, "empty clusters": {"clusters": ()}}.get(what, {})
    found = [replace(p, **cut) for p in facts.projects[:1]]
    if what == "a cluster less":
        found = [replace(p, addresses=tuple(p.addresses)[1:]) for p in found if not isinstance(p.addresses, Unknown)]
    return replace(start, facts=replace(facts, projects=(*found, *facts.projects[1:])))


@given(starts(), st.integers(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_project_that_leaves_the_settings_removes_nothing(start: FirewallInput, at: int) -> None:
    """Its own rules stay, and those of the control plane; that it was unreadable may have kept rules of others."""
    there = replace(start, request=None, policy=replace(start.policy, remove_after_hours=0))
    seen = next_run(there, carry_out(there))
    found = seen.facts.projects
    left = found[at % len(found)].project_id if found else PAY
    staying = tuple(project for project in found if project.project_id != left)
    # Its record still names the vault.
    remembered = {**seen.remembered, left: seen.remembered.get(left, ())}
    facts = replace(seen.facts, projects=staying, control_plane=LOST)
    without = replace(seen, facts=facts, remembered=remembered)
    reasons = (f"node:{left}/", f"announced:{left}/", "controlPlane:")
    its_own = [kept for kept in seen.ledger if any(reason.startswith(reasons) for reason in kept.reasons)]
    assert of_rows(its_own) & allowed(rules_of(seen)) <= allowed(carry_out(without).rules)


@given(starts(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order_and_form_of_the_input_do_not_matter(start: FirewallInput, random: Any) -> None:
    mixed = _mixed(start, random)
    one, other = decide_firewall(start), decide_firewall(mixed)
    assert (one.plan.digest, one.state, one.reason) == (other.plan.digest, other.state, other.reason)
    assert (one.wanted, one.missing, one.unmet, one.ledger) == (other.wanted, other.missing, other.unmet, other.ledger)
    assert sorted(map(_value, one.write or ())) == sorted(map(_value, other.write or ()))


def _value(text: str) -> str:
    return str(read_range(text) or text)


def _mixed(start: FirewallInput, random: Any) -> FirewallInput:
    def shuffled[T](items: Iterable[T]) -> tuple[T, ...]:
        found = list(items)
        random.shuffle(found)
        return tuple(found)

    def form(text: str) -> str:
        return text.removesuffix("/32") if random.random() < 0.5 else text

    def project(p: ProjectAddresses) -> ProjectAddresses:
        clusters = p.clusters if isinstance(p.clusters, Unknown) else shuffled(p.clusters)
        if isinstance(p.addresses, Unknown):
            return replace(p, clusters=clusters)
        listed = [NodeAddresses(n.cluster, shuffled(map(form, n.outbound)), n.announced) for n in p.addresses]
        return replace(p, clusters=clusters, addresses=shuffled(listed))

    facts = start.facts
    plane = facts.control_plane
    if not isinstance(plane, Unknown):
        plane = shuffled(replace(found, text=form(found.text)) for found in plane)
    rules = acl(*shuffled(map(form, rules_of(start))))
    seen = replace(facts, acl=rules, projects=shuffled(map(project, facts.projects)), control_plane=plane)
    return replace(start, facts=seen, ledger=shuffled(start.ledger))


@dataclass(frozen=True, slots=True)
class Step:
    """What happens between two runs."""

    hours: float
    world: FirewallInput
    foreign: Sequence[str]
    stolen: int


STEPS = st.lists(
    st.builds(Step, st.sampled_from([0.1, 5, 30, 60]), starts(), RULES, st.integers(0, 5)), min_size=2, max_size=6
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_a_history_of_runs_keeps_every_promise(steps: list[Step]) -> None:
    """Worlds replace each other, others write the list, our rules are taken away; what is remembered goes on."""
    now, written, start = NOW, None, steps[0].world
    for step in steps:
        now += timedelta(hours=step.hours)
        facts = replace(step.world.facts, observed_at=now)
        if written is None:
            start = replace(step.world, now=now, ledger=())
        else:
            rules = [text for n, text in enumerate(written.rules) if n != step.stolen]
            facts = replace(facts, acl=acl(*dict.fromkeys([*rules, *step.foreign]), read_at=now))
            reverts = written.after.reverts if written.after else written.decision.reverts
            start = replace(step.world, facts=facts, now=now, ledger=written.ledger, reverts=reverts)
        written = carry_out(start)
        check(start, written)
