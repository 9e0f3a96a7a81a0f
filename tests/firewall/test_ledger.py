"""Which rules become ours and which are lost, by the reads before and after a write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from keysteward.decide.firewall.ledger import after_write
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.decide.firewall.reverts import Reverts
from keysteward.network_facts import LedgerRow
from tests.builders import NOW
from tests.firewall.vault import PAY, a_project, acl, carry_out, given, nodes, row

NEW = row("20.1.1.1/32", state="intended")
OLD = row("20.1.1.2/32")


@pytest.mark.parametrize(
    ("before", "written", "after", "ledger", "ours"),
    [
        pytest.param(
            [], ["20.1.1.1/32"], ["20.1.1.1/32"], [NEW], ["20.1.1.1/32"], id="absent before and there after: ours"
        ),
        pytest.param(["20.1.1.1"], ["20.1.1.1"], ["20.1.1.1/32"], [NEW], [], id="there before: somebody else's"),
        pytest.param([], ["20.1.1.1/32"], [], [NEW], [], id="absent after: not ours"),
        pytest.param([], ["8.8.8.8"], ["8.8.8.8", "20.1.1.1/32"], [NEW], [], id="there after, but not sent: not ours"),
        pytest.param(["20.1.1.2/32"], ["20.1.1.2/32"], ["20.1.1.2/32"], [OLD], ["20.1.1.2/32"], id="ours stays ours"),
        pytest.param(["20.1.1.2/32"], ["20.1.1.2/32"], [], [OLD], [], id="ours that is absent after is ours no more"),
        pytest.param(
            ["20.1.1.2/32"],
            [],
            ["20.1.1.2/32"],
            [replace(OLD, leaving=True)],
            ["20.1.1.2/32"],
            id="a removal that did not happen leaves it ours",
        ),
        pytest.param(["20.1.1.2/32"], [], [], [replace(OLD, leaving=True)], [], id="a removal ends ownership"),
    ],
)
def test_ownership_after_a_write(
    before: Sequence[str], written: Sequence[str], after: Sequence[str], ledger: Sequence[LedgerRow], ours: list[str]
) -> None:
    found = after_write(acl(*before), written, acl(*after), ledger)
    assert [str(kept.network) for kept in found.ledger] == ours
    assert all(kept.state == "ours" and not kept.leaving for kept in found.ledger)


def test_a_rule_is_ours_since_the_decision_that_added_it() -> None:
    start = given(a_project(nodes("pay", "20.1.1.1")), now=NOW + timedelta(minutes=3))
    (found,) = carry_out(start).ledger
    assert found.since == NOW + timedelta(minutes=3)


@pytest.mark.parametrize(
    ("after", "gone", "new"),
    [
        pytest.param(["8.8.8.8/32", "20.1.1.1/32"], (), (), id="only the form of a rule changed"),
        pytest.param(["20.1.1.1/32"], ("8.8.8.8",), (), id="a rule of others vanished"),
        pytest.param(["8.8.8.8", "20.1.1.1/32", "7.7.7.7"], (), ("7.7.7.7",), id="a rule of others appeared"),
        pytest.param(["8.8.8.8"], (), (), id="only ours is missing"),
    ],
)
def test_a_write_of_somebody_else_betrays_itself(after: list[str], gone: tuple[str, ...], new: tuple[str, ...]) -> None:
    found = after_write(acl("8.8.8.8"), ["8.8.8.8", "20.1.1.1/32"], acl(*after), [NEW])
    assert (found.foreign_gone, found.foreign_new) == (gone, new)
    assert (found.warning is not None) is bool(gone or new)


def test_texts_that_are_no_addresses_betray_nobody() -> None:
    found = after_write(acl("odd"), ["odd", "20.1.1.1/32"], acl("odd", "20.1.1.1/32"), [NEW])
    assert found.warning is None


def test_a_rule_that_is_gone_in_the_same_answer_counts_as_a_write_that_did_not_last() -> None:
    first = after_write(acl(), ["20.1.1.1/32"], acl(), [NEW])
    assert (first.reverts.count, first.reverts.by) == (1, "deployer")
    assert [lost.network for lost in first.not_kept] == [NEW.network]
    later = NOW + timedelta(minutes=5)
    second = after_write(acl(read_at=later), ["20.1.1.1/32"], acl(read_at=later), [NEW], first.reverts)
    assert second.reverts.count == 2
    kept = after_write(acl(), ["20.1.1.1/32"], acl("20.1.1.1/32"), [NEW], Reverts())
    assert kept.reverts == Reverts()


def test_a_rule_that_was_intended_and_not_confirmed_is_somebody_elses() -> None:
    start = given(a_project(nodes("pay", "20.1.1.9")), rules=["20.1.1.1/32"], ledger=[NEW])
    written = carry_out(start)
    assert "20.1.1.1/32" in written.rules
    assert NEW.network not in {found.network for found in written.ledger}


def test_a_crash_between_the_write_and_its_record_gives_the_rule_away_and_no_more() -> None:
    start = given(a_project(nodes("pay", "20.1.1.1")))
    decision = decide_firewall(start)
    assert [(found.state, str(found.network)) for found in decision.ledger] == [("intended", "20.1.1.1/32")]
    again = given(a_project(nodes("pay", "20.1.1.1")), rules=decision.write or (), ledger=decision.ledger)
    assert decide_firewall(again).write is None
    assert decide_firewall(again).ledger == ()


def test_what_a_rule_is_for_survives_the_write() -> None:
    (found,) = carry_out(given(a_project(nodes("pay", "20.1.1.1")))).ledger
    assert (found.state, found.reasons, found.gone_since) == ("ours", (f"node:{PAY}/pay",), None)
