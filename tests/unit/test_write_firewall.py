"""How a vault's IP rules are written: on a read that is two seconds old at most, once, and with a trace before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from keysteward.act.write_firewall import FirewallIntent, FirewallWriter, NothingToWrite, NotWritten, Written
from keysteward.clients.resource_manager import NetworkWrite
from keysteward.errors import AnswerLostError, KeystewardError, LeaseLostError, RefusedError, TryLaterError
from keysteward.facts import Unknown
from keysteward.network_facts import NetworkAcl
from keysteward.vocabulary import VaultPlace
from tests.builders import NOW
from tests.resource_manager_answers import PLACE, network_rules

THEIRS, OURS, NEW = "198.51.100.0/24", "203.0.113.7/32", "203.0.113.9/32"
ID = "0a1b2c3d-0a1b-4c3d-8a1b-2c3d0a1b2c3d"
WENT_BY = "7f6e5d4c-0000-4000-8000-0123456789ab"
type Outcome = Written | NothingToWrite | NotWritten


class World:
    """The vault, the lease and the stop button in one, with a clock of their own. The plan adds one rule."""

    def __init__(self) -> None:
        self.time = NOW
        self.raw: dict[str, Any] | None = network_rules(THEIRS, OURS)
        self.seconds: dict[str, list[float]] = {"read": [], "intend": [], "button": []}
        """How long each call takes, the first first; 0.1 s once the list is used up."""
        self.fails: dict[str, KeystewardError] = {}
        """By the name of a call: what it raises."""
        self.between: Callable[[int], None] = lambda _: None
        """What another writer does after each read, counted from 1."""
        self.undone_at_once = False
        self.pressed_from: datetime | None = None
        self.button_read_at = NOW
        self.lease_lost_after = 1000
        self.log: list[str] = []
        self.patches: list[tuple[datetime, Mapping[str, Any], str]] = []
        self.reads: list[NetworkAcl] = []
        self.intents: list[FirewallIntent] = []
        self.answers: list[NetworkAcl] = []

    def now(self) -> datetime:
        return self.time

    def _take(self, what: str) -> None:
        waiting = self.seconds.get(what, [])
        self.time += timedelta(seconds=waiting.pop(0) if waiting else 0.1)

    def _raise(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    def acl(self, read_at: datetime) -> NetworkAcl:
        rules = tuple(rule["value"] for rule in self.raw["ipRules"]) if self.raw is not None else ()
        return NetworkAcl("Enabled", "Deny" if self.raw else None, rules, self.raw, None, None, read_at)

    async def vault_network(self, _place: VaultPlace) -> NetworkAcl:
        self.log.append("read")
        read_at = self.time
        self._raise("readBack" if self.patches else "read")
        found = self.acl(read_at)
        self._take("read")
        self.reads.append(found)
        self.between(len(self.reads))
        return found

    async def write_network_acls(self, _place: VaultPlace, raw: Mapping[str, Any], correlation_id: str) -> NetworkWrite:
        self.log.append("patch")
        self.patches.append((self.time, raw, correlation_id))
        self._raise("patch")
        before, self.raw = self.raw, dict(raw)
        self._raise("answer")
        answer = NetworkWrite(self.acl(self.time), WENT_BY)
        self.raw = before if self.undone_at_once else self.raw
        return answer

    async def intend(self, intent: FirewallIntent) -> None:
        self.log.append("intend")
        self.intents.append(intent)
        self._take("intend")

    async def answered(self, answer: NetworkAcl) -> None:
        self.log.append("answered")
        self.answers.append(answer)

    async def renew(self) -> None:
        self.log.append("renew")
        await self.ensure()

    async def ensure(self) -> None:
        if len(self.log) > self.lease_lost_after:
            raise LeaseLostError("leaseLost", "another instance has it")

    @property
    def read_at(self) -> datetime:
        return self.button_read_at

    async def is_pressed(self) -> bool:
        self.log.append("button")
        before = self.time
        pressed = self.pressed_from is not None and self.time >= self.pressed_from
        self._take("button")
        self.button_read_at = before
        return pressed

    async def write(self, plan: Callable[[NetworkAcl], Any] | None = None) -> Outcome:
        whole = cast("Any", self)
        return await FirewallWriter(whole, whole, lambda size: "0a1b2c3d" * (size // 4)).write(
            PLACE,
            plan_again=plan or adds_one,
            lease=whole,
            stop_button=whole,
            intend=self.intend,
            answered=self.answered,
        )


def adds_one(acl: NetworkAcl) -> tuple[str, ...] | None:
    return (*acl.ip_rules, NEW) if NEW not in acl.ip_rules else None


def another_adds(world: World, value: str) -> None:
    assert world.raw is not None
    world.raw = world.raw | {"ipRules": [*world.raw["ipRules"], {"value": value}]}


@pytest.fixture
def world() -> World:
    return World()


async def test_a_write_is_read_planned_intended_sent_and_read_again(world: World) -> None:
    raw = world.raw
    outcome = await world.write()
    assert world.log == ["renew", "read", "intend", "patch", "answered", "read"]
    assert isinstance(outcome, Written)
    assert outcome.before.raw == raw
    assert outcome.sent == (THEIRS, OURS, NEW)
    assert isinstance(outcome.answer, NetworkAcl)
    assert isinstance(outcome.after, NetworkAcl)
    assert outcome.answer.ip_rules == outcome.after.ip_rules == outcome.sent
    assert outcome.correlation_ids == (ID, WENT_BY)
    assert world.intents == [FirewallIntent(outcome.before, outcome.sent, ID)]


async def test_the_rules_go_back_as_read_with_every_other_member(world: World) -> None:
    world.raw = network_rules(OURS, bypass="None", aMemberOfNextYear={"kept": [1]})
    world.raw["ipRules"] = [{"value": THEIRS, "note": "theirs"}, {"value": OURS}]
    before = dict(world.raw)
    await world.write(lambda _: (THEIRS, NEW))
    ((_, sent, correlation_id),) = world.patches
    assert sent == before | {"ipRules": [{"value": THEIRS, "note": "theirs"}, {"value": NEW}]}
    assert list(sent) == list(before)
    assert correlation_id == ID


async def test_a_member_that_the_vault_lacks_is_not_made_up(world: World) -> None:
    world.raw = {"defaultAction": "Deny", "ipRules": []}
    await world.write()
    assert world.patches[0][1] == {"defaultAction": "Deny", "ipRules": [{"value": NEW}]}


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(lambda _: None, id="the plan writes nothing"),
        pytest.param(lambda acl: acl.ip_rules, id="the plan gives what is there"),
        pytest.param(lambda acl: acl.ip_rules[::-1], id="only the order differs, which means nothing"),
    ],
)
async def test_nothing_is_written_or_intended_where_nothing_differs(world: World, plan: Any) -> None:
    outcome = await world.write(plan)
    assert outcome == NothingToWrite(world.reads[0])
    assert world.log == ["renew", "read"]


async def test_rules_are_never_given_to_a_vault_that_has_none(world: World) -> None:
    world.raw = None
    with pytest.raises(ValueError, match="begin to filter"):
        await world.write()
    assert world.log == ["renew", "read"]


async def test_what_was_read_two_seconds_before_is_fresh_enough(world: World) -> None:
    world.seconds["read"], world.seconds["intend"] = [1.0], [1.0]
    assert isinstance(await world.write(), Written)
    assert len(world.reads) == 2


async def test_an_intent_that_takes_long_is_followed_by_another_read_and_not_written_again(world: World) -> None:
    world.seconds["intend"] = [30]
    assert isinstance(await world.write(), Written)
    assert world.log == ["renew", "read", "intend", "read", "button", "patch", "answered", "read"]
    ((at, _, _),) = world.patches
    assert at - world.reads[1].read_at <= timedelta(seconds=2)


async def test_what_another_writer_added_meanwhile_is_kept_and_intended(world: World) -> None:
    theirs_too = "192.0.2.0/28"
    world.seconds["intend"] = [30]
    world.between = lambda count: another_adds(world, theirs_too) if count == 1 else None
    outcome = await world.write()
    assert isinstance(outcome, Written)
    assert outcome.sent == (THEIRS, OURS, theirs_too, NEW)
    assert [i.rules for i in world.intents] == [(THEIRS, OURS, NEW), outcome.sent]
    assert {i.correlation_id for i in world.intents} == {ID}
    assert outcome.before.ip_rules == (THEIRS, OURS, theirs_too)


async def test_a_change_beside_the_rules_is_a_new_intent(world: World) -> None:
    def opened(count: int) -> None:
        assert world.raw is not None
        world.raw = world.raw | {"bypass": "None"} if count == 1 else world.raw

    world.seconds["intend"] = [30]
    world.between = opened
    await world.write()
    assert len(world.intents) == 2
    assert world.patches[0][1]["bypass"] == "None"


async def test_what_another_writer_did_for_us_meanwhile_is_not_done_again(world: World) -> None:
    world.seconds["intend"] = [30]
    world.between = lambda count: another_adds(world, NEW) if count == 1 else None
    assert await world.write() == NothingToWrite(world.reads[1])
    assert world.patches == []


async def test_what_is_undone_in_the_same_moment_shows_in_the_read_after(world: World) -> None:
    world.undone_at_once = True
    outcome = await world.write()
    assert isinstance(outcome, Written)
    assert isinstance(outcome.answer, NetworkAcl)
    assert NEW in outcome.answer.ip_rules
    assert outcome.after == replace(outcome.before, read_at=world.reads[-1].read_at)
    assert len(world.patches) == 1


@pytest.mark.parametrize(
    ("seconds", "reads"),
    [
        pytest.param({"read": [2.5, 2.5, 2.5]}, 3, id="the vault answers slowly"),
        pytest.param({"intend": [3], "button": [3, 3, 3]}, 3, id="the storage answers slowly"),
    ],
)
async def test_nothing_is_sent_on_anything_older_than_two_seconds(
    world: World, seconds: dict[str, list[float]], reads: int
) -> None:
    world.seconds |= seconds
    outcome = await world.write()
    assert isinstance(outcome, NotWritten)
    assert (outcome.code, outcome.permanent, outcome.changed) == ("readsTooSlow", False, False)
    assert (len(world.reads), world.patches) == (reads, [])
    assert len(world.intents) == 1


@pytest.mark.parametrize("pressed_after", [0, 25])
async def test_a_hold_that_was_set_since_the_look_stops_the_write(world: World, pressed_after: float) -> None:
    world.button_read_at = NOW - timedelta(seconds=3) if pressed_after == 0 else NOW
    world.pressed_from = NOW + timedelta(seconds=pressed_after)
    world.seconds["intend"] = [30]
    outcome = await world.write()
    assert isinstance(outcome, NotWritten)
    assert (outcome.code, outcome.changed) == ("heldByOperator", True)
    assert world.patches == []
    assert len(world.intents) == (0 if pressed_after == 0 else 1)


async def test_a_stop_button_that_would_soon_be_too_old_is_read_beside_the_rules(world: World) -> None:
    """Found too old after the intent only, it would cost one more read of the rules."""
    world.button_read_at = NOW - timedelta(seconds=1.6)
    world.seconds["intend"] = [0.9]
    assert isinstance(await world.write(), Written)
    assert world.log == ["renew", "read", "button", "intend", "patch", "answered", "read"]


async def test_a_stop_button_that_was_just_read_is_not_read_again(world: World) -> None:
    world.button_read_at = NOW - timedelta(seconds=0.5)
    await world.write()
    assert "button" not in world.log


async def test_a_stop_button_that_has_grown_old_is_read_again_though_the_vault_was_just_read(world: World) -> None:
    world.button_read_at, world.seconds["intend"] = NOW - timedelta(seconds=1.5), [1.0]
    assert isinstance(await world.write(), Written)
    ((at, _, _),) = world.patches
    assert at - world.read_at <= timedelta(seconds=2)
    assert len(world.intents) == 1


ENDS: dict[str, tuple[str, KeystewardError, NotWritten]] = {
    "the vault cannot be read": (
        "read",
        TryLaterError("HTTP_503", "503", 9.0),
        NotWritten("HTTP_503", "503", retry_after_seconds=9.0),
    ),
    "the vault may not be read": (
        "read",
        RefusedError("AuthorizationFailed", "403", 403),
        NotWritten("AuthorizationFailed", "403"),
    ),
    "the write is refused": (
        "patch",
        RefusedError("ScopeLocked", "409: a lock", 409),
        NotWritten("ScopeLocked", "409: a lock", permanent=True),
    ),
    "another write is under way": (
        "patch",
        TryLaterError("ConflictError", "409", 5.0),
        NotWritten("ConflictError", "409", retry_after_seconds=5.0),
    ),
}


@pytest.mark.parametrize(("call", "error", "outcome"), ENDS.values(), ids=ENDS.keys())
async def test_nothing_is_written_and_nothing_tried_again_where(
    world: World, call: str, error: KeystewardError, outcome: NotWritten
) -> None:
    world.fails[call] = error
    assert await world.write() == outcome
    assert len(world.patches) == (1 if call == "patch" else 0)
    assert len(world.intents) == len(world.patches)


@pytest.mark.parametrize("call", ["patch", "answer"])
async def test_after_a_lost_answer_the_vault_is_read_again_and_the_answer_stays_unknown(
    world: World, call: str
) -> None:
    """Whether it was written or not: what stands there now may be somebody else's, and the write may be on its way."""
    world.fails[call] = AnswerLostError("answerLost", "ReadTimeout")
    outcome = await world.write()
    assert isinstance(outcome, Written)
    assert outcome.answer == Unknown("answerLost", "ReadTimeout")
    assert outcome.correlation_ids == (ID,)
    assert isinstance(outcome.after, NetworkAcl)
    assert (NEW in outcome.after.ip_rules) is (call == "answer")
    assert len(world.patches) == 1


async def test_a_read_after_that_fails_does_not_hide_the_write(world: World) -> None:
    world.fails["readBack"] = TryLaterError("HTTP_503", "503")
    outcome = await world.write()
    assert isinstance(outcome, Written)
    assert isinstance(outcome.answer, NetworkAcl)
    assert outcome.after == Unknown("HTTP_503", "503")


@pytest.mark.parametrize(
    ("steps", "log"),
    [
        pytest.param(0, ["renew"], id="before anything"),
        pytest.param(2, ["renew", "read", "intend"], id="while the intent is written"),
        pytest.param(3, ["renew", "read", "intend", "patch", "answered"], id="while the request is under way"),
    ],
)
async def test_nothing_more_is_sent_once_the_lease_is_lost(world: World, steps: int, log: list[str]) -> None:
    world.lease_lost_after = steps
    with pytest.raises(LeaseLostError):
        await world.write()
    assert world.log == log
