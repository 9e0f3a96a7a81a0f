"""Delivery: who is told when, who waits for whom, and when it is given up."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from keysteward.errors import LeaseLostError
from keysteward.reconcile.runner import RunResult
from keysteward.store.audit import Audit
from keysteward.store.lease import TABLE as SCOPES
from keysteward.store.lease import Lease, take_lease
from keysteward.store.outbox import KEPT, OPEN_TABLE, PARTITION, TABLE, AnnouncementRecord, DeliveryRecord, Outbox
from keysteward.store.ports import StorageError
from keysteward.store.records import from_columns
from keysteward.vocabulary import Scope
from keysteward.voice.deliver import RUN_SECONDS, Deliverer
from keysteward.voice.lanes import GIVE_UP_AFTER, LEAST_TRIES, LONGEST_REST, pause_after
from keysteward.voice.targets import NotDelivered
from tests.builders import NOW
from tests.harness.storage_model import ModelQueue, ModelTables

SUBJECT = "project:64b0c1d2e3f405162738495a"
SCOPE = Scope.outbox()
EPSILON = timedelta(seconds=1)


@dataclass
class Receiver:
    """A target: answers as a test says, one answer an event in turn, then takes all."""

    world: World
    id: str
    answers: list[NotDelivered | Exception | None] = field(default_factory=list)
    always: NotDelivered | Exception | None = None
    chokes_on: frozenset[str] = frozenset()
    """Events that it answers with 500, whatever it does with others."""
    takes_seconds: float = 0.0
    hangs: bool = False
    was_cut_off: bool = False
    seen: list[str] = field(default_factory=list)
    taken: dict[str, datetime] = field(default_factory=dict)

    async def send(self, event: dict[str, Any]) -> NotDelivered | None:
        self.seen.append(event["id"])
        self.world.pass_seconds(self.takes_seconds)
        if self.hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.was_cut_off = True
                raise
        answer = self.answers.pop(0) if self.answers else self.always
        if event["id"] in self.chokes_on:
            answer = NotDelivered("HTTP_500")
        if answer is None:
            self.taken.setdefault(event["id"], self.world.time)
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """An outbox, its receivers, and a deliverer, on one clock."""

    def __init__(self, *names: str) -> None:
        self.time = NOW
        self.fails_at = ""
        numbers = itertools.count(1)
        self.tables = ModelTables(lambda: self.time, self.gate)
        self.receivers = {name: Receiver(self, name) for name in names or ("a", "b")}
        self.outbox = Outbox(self.tables, ModelQueue(lambda: self.time), list(self.receivers))
        self.audit = Audit(self.tables, lambda size: f"{next(numbers):0{size * 2}x}")
        self.holder = (f"holder-{number}" for number in itertools.count())

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a delivery never sleeps, and this one wants {seconds} s")

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    async def gate(self, point: str) -> None:
        # As real storage does: others get their turn, so that lanes meet at every point.
        await asyncio.sleep(0)
        if point == self.fails_at:
            raise StorageError("storage fails here")

    async def announce(self, *names: str) -> None:
        for name in names:
            await self.outbox.announce("RotationHeld", SUBJECT, self.time, name, {"code": "approvalMissing"})
            self.pass_seconds(0.001)

    async def lease(self) -> Lease:
        page = await self.tables.query(SCOPES, str(SCOPE))
        while page.next_key is not None and not page.rows:
            page = await self.tables.query(SCOPES, str(SCOPE), from_key=page.next_key)
        lease = await take_lease(self.tables, self, SCOPE, next(self.holder), page.rows[0] if page.rows else None, page)
        assert lease is not None
        return lease

    async def run(self, *, later: float = 0) -> RunResult:
        self.pass_seconds(later)
        lease = await self.lease()
        deliver = Deliverer(self.outbox, list(self.receivers.values()), self.audit, self, "/keysteward")
        result = await deliver(SCOPE, "test", lease)
        await lease.release(covered=True)
        return result

    async def run_to_the_end(self, *, for_: timedelta = timedelta(days=30)) -> None:
        """Run whenever the last run asked for it, until nothing waits or the time is over."""
        end, result = self.time + for_, await self.run()
        while result.look_again_seconds is not None and self.time < end:
            result = await self.run(later=max(1.0, result.look_again_seconds))

    def kept(self) -> dict[str, AnnouncementRecord]:
        """All rows, closed ones too, by the name of the announcement."""
        return {row.key: from_columns(AnnouncementRecord, row.values) for row in self.tables.rows(TABLE)}

    async def deliveries(self, name: str) -> dict[str, DeliveryRecord]:
        return next(s.record.deliveries for s in await self.outbox.waiting() if s.record.event_id == name)

    async def audited(self) -> list[tuple[str, str, str | None]]:
        records, _ = await self.audit.read(scope=SUBJECT, since=None, limit=100, cursor=None)
        return [(record.what, record.result, record.evidence) for record in records]


async def test_everybody_is_told_once_oldest_first() -> None:
    world = World()
    await world.announce("z", "y", "x")
    assert await world.run() == RunResult("delivered:6", None)
    assert [receiver.seen for receiver in world.receivers.values()] == [["z", "y", "x"]] * 2
    assert {row.values["open"] for row in world.tables.rows(TABLE)} == {"no"}
    assert await world.run(later=60) == RunResult("nothingToDeliver", None)
    assert len(world.receivers["a"].seen) == 3


async def test_a_dead_target_delays_no_other_and_is_asked_for_one_event_only() -> None:
    world = World()
    world.receivers["a"].always = NotDelivered("timedOut")
    world.receivers["a"].takes_seconds = 10
    await world.announce(*map(str, range(20)))
    result = await world.run()
    assert len(world.receivers["b"].seen) == 20
    assert world.receivers["a"].seen == ["0"]
    assert (result.summary, result.look_again_seconds) == ("delivered:20 failed:1", 15)
    # While its lane rests, a run leaves it alone, whatever is new.
    await world.announce("new")
    assert (await world.run(later=5)).summary == "delivered:1"
    assert world.receivers["a"].seen == ["0"]


async def test_a_target_that_rests_is_asked_with_another_event_than_before_and_told_all_once_it_recovers() -> None:
    world = World("a")
    world.receivers["a"].answers = [NotDelivered("HTTP_503"), NotDelivered("HTTP_503")]
    await world.announce("1", "2", "3")
    assert (await world.run()).look_again_seconds == 15
    assert (await world.run(later=15)).look_again_seconds == 30
    assert await world.run(later=30) == RunResult("delivered:3", None)
    assert world.receivers["a"].seen == ["1", "2", "3", "1", "2"]


async def test_an_event_that_a_target_chokes_on_delays_no_other() -> None:
    world = World("a")
    world.receivers["a"].chokes_on = frozenset({"choking"})
    await world.announce("choking", "2", "3")
    await world.run_to_the_end(for_=timedelta(minutes=1))
    assert world.receivers["a"].taken.keys() == {"2", "3"}
    # By now the event rests for an hour at a time. What is new is not held up by that.
    await world.run_to_the_end(for_=timedelta(hours=12))
    await world.announce("alarm")
    asked_at = world.time
    await world.run_to_the_end(for_=timedelta(minutes=1))
    assert world.receivers["a"].taken["alarm"] - asked_at <= timedelta(seconds=15)
    assert (await world.deliveries("choking"))["a"].state == "waiting"


async def test_several_events_that_a_target_chokes_on_take_turns_until_another_one_gets_through() -> None:
    world = World("a")
    world.receivers["a"].chokes_on = frozenset({"bad", "worse", "worst"})
    await world.announce("bad", "worse", "worst", "good")
    await world.run_to_the_end(for_=timedelta(minutes=5))
    assert world.receivers["a"].seen[:4] == ["bad", "worse", "worst", "good"]
    assert world.receivers["a"].taken["good"] - NOW == pytest.approx(timedelta(seconds=15 + 30 + 60), abs=EPSILON)


async def test_once_a_target_takes_an_event_its_earlier_failures_make_no_rest_longer() -> None:
    world = World("a")
    world.receivers["a"].chokes_on = frozenset({"bad", "worse", "worst"})
    await world.announce("bad", "worse", "worst", "good")
    rests = [(await world.run(later=later)).look_again_seconds for later in (0, 15, 30, 60)]
    assert world.receivers["a"].seen == ["bad", "worse", "worst", "good", "bad"]
    assert rests == [15, 30, 60, 15]


async def test_a_dead_target_with_much_to_be_told_is_asked_every_quarter_of_an_hour() -> None:
    world = World("a")
    world.receivers["a"].always = NotDelivered("ConnectError")
    await world.announce(*map(str, range(40)))
    await world.run_to_the_end(for_=timedelta(hours=12))
    seen = world.receivers["a"].seen
    assert 45 <= len(seen) <= 55
    assert seen[:40] == [str(number) for number in range(40)], "none again before each was tried"
    world.receivers["a"].always = None
    await world.run_to_the_end(for_=LONGEST_REST)
    assert len(world.receivers["a"].taken) == 40


async def test_what_is_too_old_is_tried_several_times_before_it_is_given_up() -> None:
    world = World("a")
    world.receivers["a"].always = NotDelivered("ConnectError")
    await world.announce(*map(str, range(300)))
    await world.run_to_the_end(for_=timedelta(days=5))
    ends = [row.deliveries["a"] for row in world.kept().values()]
    assert {delivery.state for delivery in ends} == {"givenUp"}
    assert min(delivery.attempts for delivery in ends) == LEAST_TRIES


async def test_a_target_that_was_long_away_is_told_what_had_no_turn_in_three_days() -> None:
    world = World("a")
    world.receivers["a"].always = NotDelivered("timedOut")
    world.receivers["a"].takes_seconds = 10
    await world.announce(*map(str, range(500)))
    await world.run_to_the_end(for_=GIVE_UP_AFTER + timedelta(minutes=1))
    world.receivers["a"].always, world.receivers["a"].takes_seconds = None, 0
    await world.run_to_the_end(for_=timedelta(hours=1))
    assert {row.deliveries["a"].state for row in world.kept().values()} == {"delivered"}


async def test_what_this_release_cannot_read_waits_for_one_that_can_and_delays_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("a")
    await world.announce("newer", "2")
    row = await world.tables.get(TABLE, PARTITION, "newer")
    assert row is not None
    text = str(row.values["json0"])
    unreadable = text.replace('"a":{}', '"a":{"state":"paused"}')
    assert unreadable != text
    await world.tables.upsert(TABLE, PARTITION, "newer", {**row.values, "json0": unreadable})
    assert await world.run() == RunResult("delivered:1", None)
    assert world.receivers["a"].seen == ["2"]
    assert "an announcement cannot be read by this release; it waits for one that can | event=newer" in caplog.text
    assert await world.outbox.oldest_open(world.time) is not None, "the app's health says that it waits"
    await world.tables.upsert(TABLE, PARTITION, "newer", row.values)
    assert await world.run(later=60) == RunResult("delivered:1", None)


async def test_a_delivery_sweeps_what_was_told_long_ago() -> None:
    world = World("a")
    await world.announce("1")
    assert (await world.run()).summary == "delivered:1"
    assert (await world.run(later=KEPT.total_seconds() - 1)).summary == "nothingToDeliver"
    assert (await world.run(later=2 * 86_400)).summary == "swept:1"
    assert world.kept() == {}


async def test_where_the_sweep_fails_the_delivery_still_says_when_to_look_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("a")
    world.receivers["a"].always = NotDelivered("HTTP_503")
    await world.announce("1")
    world.fails_at = f"before get {OPEN_TABLE}"
    assert await world.run() == RunResult("failed:1", 15)
    assert "old announcements could not be swept" in caplog.text


@pytest.mark.parametrize("code", ["HTTP_400", "HTTP_413", "HTTP_422"])
async def test_a_refusal_of_one_event_holds_up_that_one_alone(code: str) -> None:
    world = World("a")
    world.receivers["a"].answers = [NotDelivered(code)]
    await world.announce("poison", "2", "3")
    assert (await world.run()).summary == "delivered:2 failed:1"
    assert world.receivers["a"].seen == ["poison", "2", "3"]
    result = await world.run(later=5)
    assert result.summary == "nothingToDeliver"
    assert result.look_again_seconds == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(
    ("attempts", "asked", "seconds"),
    [
        pytest.param(1, None, 15, id="15 s at first"),
        pytest.param(2, None, 30, id="doubling"),
        pytest.param(8, None, 1920, id="and doubling"),
        pytest.param(9, None, 3600, id="to an hour"),
        pytest.param(5000, None, 3600, id="and no further, however often"),
        pytest.param(1, 120, 120, id="longer where the target asks for it"),
        pytest.param(9, 120, 3600, id="never shorter because it asks"),
        pytest.param(1, 0, 15, id="nor at once"),
    ],
)
def test_the_pause_after_a_failure(attempts: int, asked: float | None, seconds: float) -> None:
    assert pause_after(attempts, asked) == timedelta(seconds=seconds)


async def test_retry_after_is_obeyed_by_the_whole_lane() -> None:
    world = World("a")
    world.receivers["a"].answers = [NotDelivered("HTTP_429", 900)]
    await world.announce("1", "2")
    assert (await world.run()).look_again_seconds == 900
    assert (await world.run(later=899)).summary == "nothingToDeliver"
    assert (await world.run(later=1)).summary == "delivered:2"


async def test_what_fails_is_kept_by_target_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.receivers["a"].always = RuntimeError("https://hooks.example.com/planted")
    await world.announce("1")
    await world.run()
    row = await world.deliveries("1")
    assert (row["a"].state, row["a"].attempts, row["a"].error) == ("waiting", 1, "RuntimeError")
    assert row["a"].next_at == world.time + timedelta(seconds=15)
    assert (row["b"].state, row["b"].attempts, row["b"].ended_at) == ("delivered", 1, world.time)
    assert "a notification was not delivered; it is tried again | target=a event=1 why=RuntimeError" in caplog.text
    assert "planted" not in caplog.text + str([dict(row.values) for row in world.tables.rows(TABLE)])


async def test_after_three_days_it_is_given_up_with_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.receivers["a"].always = NotDelivered("HTTP_404")
    await world.announce("1")
    result = await world.run()
    while result.look_again_seconds is not None:
        assert world.time < NOW + GIVE_UP_AFTER
        assert await world.audited() == []
        result = await world.run(later=result.look_again_seconds)
    tries = len(world.receivers["a"].seen)
    assert GIVE_UP_AFTER <= world.time - NOW <= GIVE_UP_AFTER + timedelta(hours=1)
    assert 70 < tries < 90, "an hour apart for most of the time"
    evidence = f"RotationHeld 1 to a: HTTP_404; {tries} tries in 3 days"
    assert await world.audited() == [("notificationGivenUp", "failed", evidence)]
    assert result.summary == "givenUp:1"
    assert await world.outbox.waiting() == []
    assert world.receivers["b"].seen == ["1"]
    assert "a notification was given up | target=a event=1 why=HTTP_404" in caplog.text


async def test_what_waited_behind_a_dead_target_for_three_days_is_given_up_one_by_one_with_its_tries() -> None:
    world = World("a")
    world.receivers["a"].always = NotDelivered("ConnectError")
    await world.announce("old", "alsoOld")
    world.pass_seconds(GIVE_UP_AFTER.total_seconds())
    await world.announce("young")
    result = await world.run()
    assert (result.summary, world.receivers["a"].seen) == ("failed:2", ["old", "alsoOld"])
    await world.run_to_the_end(for_=timedelta(minutes=30))
    assert [stored.record.event_id for stored in await world.outbox.waiting()] == ["young"]
    assert {row.deliveries["a"].attempts for row in world.kept().values() if not row.is_open} == {LEAST_TRIES}


async def test_a_target_that_says_when_it_will_take_more_is_left_alone_until_then_even_with_what_is_old() -> None:
    world = World("a")
    world.receivers["a"].always = NotDelivered("HTTP_503", 1800)
    await world.announce("old", "alsoOld")
    result = await world.run(later=GIVE_UP_AFTER.total_seconds())
    assert (result.summary, result.look_again_seconds, world.receivers["a"].seen) == ("failed:1", 1800, ["old"])


async def test_what_was_too_old_to_wait_is_still_told_by_an_app_that_was_switched_off() -> None:
    world = World("a")
    await world.announce("old")
    assert (await world.run(later=10 * GIVE_UP_AFTER.total_seconds())).summary == "delivered:1"


async def test_a_run_begins_no_send_after_its_time_and_goes_on_at_once() -> None:
    world = World("a")
    world.receivers["a"].takes_seconds = 9
    await world.announce(*map(str, range(7)))
    assert await world.run() == RunResult("delivered:5", 0)
    assert world.time - NOW < timedelta(seconds=RUN_SECONDS + 10)
    assert (await world.run()).summary == "delivered:2"


async def test_a_target_that_has_left_the_settings_is_struck_off_once_no_old_instance_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    await world.announce("1")
    del world.receivers["b"]
    result = await world.run(later=600)
    assert result.summary == "delivered:1"
    assert result.look_again_seconds == pytest.approx(3000)
    assert (await world.deliveries("1"))["b"].state == "waiting"
    assert (await world.run(later=3000)).summary == "removed:1"
    assert await world.outbox.waiting() == []
    assert "it is not told | target=b event=1" in caplog.text


async def test_a_target_that_came_later_is_not_told_what_was_before() -> None:
    world = World("a")
    await world.announce("1")
    world.receivers["late"] = Receiver(world, "late")
    await world.run()
    assert world.receivers["late"].seen == []


async def test_many_lanes_renew_one_lease_without_taking_it_from_each_other() -> None:
    world = World(*"abcdefgh")
    for receiver in world.receivers.values():
        receiver.takes_seconds = 4
    await world.announce("1", "2")
    world.receivers["a"].takes_seconds = 31
    # Every send passes 4 s and more of the lease's first minute, so that several lanes find it short at once.
    result = await world.run()
    assert result.summary.startswith("delivered:")
    await world.run()
    assert {tuple(receiver.seen) for receiver in world.receivers.values()} == {("1", "2")}


async def test_a_lease_that_is_taken_stops_every_lane() -> None:
    world = World()
    await world.announce("1", "2", "3")
    lease = await world.lease()
    world.pass_seconds(200)
    await world.lease()
    deliver = Deliverer(world.outbox, list(world.receivers.values()), world.audit, world, "/keysteward")
    with pytest.raises(LeaseLostError):
        await deliver(SCOPE, "test", lease)
    assert [receiver.seen for receiver in world.receivers.values()] == [[], []]


async def test_where_one_lane_cannot_go_on_the_others_stop_before_the_run_ends() -> None:
    world = World()
    world.receivers["a"].hangs = True
    await world.announce("1")
    world.fails_at = f"before replace {TABLE}"
    with pytest.raises(StorageError):
        await asyncio.wait_for(world.run(), 5)
    assert world.receivers["a"].was_cut_off


async def test_what_could_not_be_recorded_is_sent_again_under_the_same_id() -> None:
    world = World("a")
    await world.announce("1")
    world.fails_at = f"before replace {TABLE}"
    with pytest.raises(StorageError):
        await world.run()
    world.fails_at = ""
    world.pass_seconds(200)
    assert (await world.run()).summary == "delivered:1"
    assert world.receivers["a"].seen == ["1", "1"]
