"""
The harness finds what it is there to find: break the product on purpose, and an invariant breaks within few histories.

Each case takes one safeguard out of the product. If its test fails, the histories no longer reach that safeguard.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from keysteward import app as composition
from keysteward import watch
from keysteward.act import push as act_push
from keysteward.act.push import KeyIdentifierPusher
from keysteward.clients import read_only
from keysteward.clients.atlas import auth
from keysteward.clients.atlas.client import AtlasClient
from keysteward.decide import rotation, version_creation
from keysteward.decide.settlement import decide_settlement
from keysteward.facts import KeyVersions
from keysteward.reconcile import inputs, runner, under_way, vault
from keysteward.reconcile.operations import Ending
from keysteward.reconcile.project import ProjectReconciler
from keysteward.reconcile.runner import RunResult, ScopeRunner
from keysteward.reconcile.stop_button import ScopeStopButton
from keysteward.reconcile.under_way import UnderWay
from keysteward.secret import Secret
from keysteward.store import lease
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.store.outbox import Outbox
from keysteward.store.ports import ANY_VERSION
from keysteward.store.state import State
from keysteward.voice import webhook
from keysteward.voice.deliver import Deliverer
from keysteward.voice.signature import signed_headers
from keysteward.watch import KeyWatcher
from simulator.faults import Fault
from tests.harness import player
from tests.harness.history import Creates, History, Step, WindowSpec
from tests.harness.invariants.guard_rails import nothing_changes_under_dry_run
from tests.harness.judge import INVARIANTS, OF_FIREWALLS, judge
from tests.harness.player import play
from tests.harness.processes import Strike, StrikeKind
from tests.harness.steps import draw_history

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import httpx

    from keysteward.facts import Approval
    from keysteward.vocabulary import KeyIdentifier, KeyVersion

    type Break = Callable[[pytest.MonkeyPatch], None]
    type Tilt = Callable[[History], History]

MOST_HISTORIES = 100
AFTER_AN_ANNOUNCEMENT = "after insert keystewardOutbox"


def as_drawn(history: History) -> History:
    return history


def frozen_often(history: History) -> History:
    """The same history, in which processes stand still again and again for longer than a lease."""
    freeze = Strike(StrikeKind.FREEZE, "* keysteward*", 9, 130.0)
    return replace(history, steps=[s for step in history.steps for s in (Step(0, "strike", (freeze,)), step)])


def frozen_while_it_writes(table: str) -> Tilt:
    """A run stands still for longer than a lease before it writes what it did; meanwhile another one goes on."""
    freeze = Strike(StrikeKind.FREEZE, f"before replace {table}", 0, 300.0)

    def frozen(history: History) -> History:
        steps = [s for _ in range(4) for s in (Step(400, "strike", (freeze,)), Step(0, "reconcile", (0,)))]
        return replace(plain(history), steps=[Step(60, "new_version", ("good",)), *steps, Step(400, "fan_out")])

    frozen.__name__ = f"frozen_while_it_writes_{table}"
    return frozen


def slow_storage(history: History) -> History:
    """The same history, in which storage takes its time before a push."""
    wait = Strike(StrikeKind.WAIT, "* insert keystewardAudit", 0, 4.0)
    return replace(history, steps=[s for step in history.steps for s in (Step(0, "strike", (wait,)), step)])


def as_dry_run(history: History) -> History:
    return replace(history, dry_run=True)


def in_mode_approve(history: History) -> History:
    return replace(history, mode="approve")


def with_an_approval_that_was_used(history: History) -> History:
    """Two versions approved and taken one after the other; then the first again is the newest that can be used."""
    steps = [
        *(Step(60, "new_version", ("good",)), Step(20, "approve", (0, 1))),
        *(Step(400, "new_version", ("good",)), Step(20, "approve", (0, 2))),
        *(Step(400, "put_back", (0, 0, "terraform")), Step(0, "set_enabled", (2, False)), Step(60, "fan_out")),
    ]
    return replace(plain(history), mode="approve", steps=steps)


def when_no_window_is_open(history: History) -> History:
    far = WindowSpec(minute=0, hour=(history.start.hour + 12) % 24, weekday=None, minutes=30, zone="UTC")
    return replace(history, windows=(far,))


def with_a_window_that_closes_while_a_push_is_prepared(history: History) -> History:
    """It closes five minutes after the beginning, and the push is kept waiting from a minute before to one after it."""
    window = WindowSpec(minute=55, hour=(history.start.hour - 1) % 24, weekday=None, minutes=10, zone="UTC")
    wait = Strike(StrikeKind.WAIT, "* insert keystewardAudit", 0, 110.0)
    steps = [Step(215, "strike", (wait,)), Step(0, "new_version", ("good",)), Step(20, "fan_out")]
    return replace(plain(history), windows=(window,), steps=steps)


def held_all_the_time(history: History) -> History:
    hold = [Step(5, "hold_project", (n, ("rotation",), None)) for n in range(history.projects)]
    return replace(history, steps=[*hold, *(s for s in history.steps if s.what != "lift_project")])


def held_while_a_push_is_prepared(history: History) -> History:
    wait = Strike(StrikeKind.WAIT, "* insert keystewardAudit", 0, 15.0)
    hold = Step(6, "hold_project", (0, ("rotation",), None))
    return replace(plain(history), steps=[Step(60, "strike", (wait,)), Step(0, "new_version", ("good",)), hold])


def with_a_tool_that_stands(history: History) -> History:
    """Terraform applies the first version every 40 s."""
    tool = Step(300, "let_tool_stand", (0, 0, 40.0, 4000.0))
    return replace(plain(history), steps=[Step(60, "new_version", ("good",)), tool, Step(1500, "fan_out")])


def killed_after_each_announcement(history: History) -> History:
    kill = Strike(StrikeKind.KILL, AFTER_AN_ANNOUNCEMENT)
    return replace(history, steps=[s for step in history.steps for s in (Step(0, "strike", (kill,)), step)])


def killed_at_the_limit(history: History) -> History:
    """One step back is one too many, and the run that says so is killed before it has remembered that it did."""
    back, kill = Step(900, "put_back", (0, 0, "terraform")), Strike(StrikeKind.KILL, AFTER_AN_ANNOUNCEMENT)
    steps = [Step(60, "new_version", ("good",)), back, Step(0, "strike", (kill,)), *[Step(60, "fan_out")] * 3]
    return replace(plain(history), max_reversals=1, steps=steps)


def near_the_end_of_its_key(history: History) -> History:
    return replace(history, creates=Creates(timedelta(minutes=-1), too_old=False, rotation_policy=True))


def held_near_the_end_of_its_key(history: History) -> History:
    """The hold comes before the end is near."""
    steps = [Step(30, "hold_vault", (None,)), Step(900, "fan_out"), Step(900, "fan_out")]
    return replace(history, steps=steps, creates=Creates(timedelta(minutes=10), too_old=False, rotation_policy=True))


def near_the_end_and_unapproved(history: History) -> History:
    """The version in use stays in use, so that a new one is wanted again and again."""
    return replace(near_the_end_of_its_key(history), mode="approve", steps=[Step(900, "fan_out")] * 3)


def near_the_end_in_mode_off(history: History) -> History:
    return replace(near_the_end_of_its_key(history), mode="off")


def targets_that_fail(history: History) -> History:
    fail = Step(0, "answer_targets", (5, 500, None, 0.0))
    return replace(history, targets=1, steps=[fail, *history.steps])


def with_targets(history: History) -> History:
    return replace(history, targets=2)


def watched_every_minute(history: History) -> History:
    return replace(history, watches=True, timer_seconds=900.0)


def watched_and_nothing_else(history: History) -> History:
    steps = [Step(60, "new_version", ("good",))]
    return replace(plain(history), watches=True, timers=False, events=False, steps=steps)


def plain(history: History) -> History:
    """The same seed, in a history with nothing unusual."""
    return History(history.seed, history.steps)


def refused_for_good(history: History) -> History:
    """The same history, in which Atlas refuses every push."""
    fault = Fault(host="cloud.mongodb.com", method="PATCH", status=400, code="AZURE_KEY_VAULT_KEY_NOT_FOUND", times=99)
    return replace(history, steps=[Step(0, "order_fault", (fault,)), *history.steps])


def settings_are_never_stale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(act_push, "FRESH_SECONDS", 1e6)


def any_other_version_is_newer(patch: pytest.MonkeyPatch) -> None:
    def all_others(versions: KeyVersions, current: KeyIdentifier) -> list[KeyVersion]:
        return sorted((v for v in versions.versions if v.version != current.version), key=lambda v: v.created_at)

    patch.setattr(rotation, "newer_versions", all_others)


def every_version_is_usable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rotation, "what_it_lacks", lambda *_: None)


def every_lease_is_free(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease, "is_free", lambda *_: True)


def no_lease_is_ever_renewed(patch: pytest.MonkeyPatch) -> None:
    async def renew(self: Lease) -> None:
        return

    patch.setattr(Lease, "renew", renew)


def wake_ups_are_not_sent(patch: pytest.MonkeyPatch) -> None:
    async def wake(*_: object) -> str:
        return "delayed"

    patch.setattr(ScopeRunner, "_wake", wake)


def every_message_is_covered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runner, "_is_covered", lambda _message, _sent_at, rows: rows.lease is not None)


def hints_are_not_spaced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runner, "_earliest_start", lambda *_: None)


def refusals_are_not_remembered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inputs, "attempt_of", lambda _: None)


def every_run_asks_for_another(patch: pytest.MonkeyPatch) -> None:
    reconcile = ProjectReconciler.__call__

    async def again(self: ProjectReconciler, *given: Any) -> RunResult:
        return replace(await reconcile(self, *given), look_again_seconds=4.0)

    patch.setattr(player, "QUIET_SECONDS", 0.0)
    patch.setattr(ProjectReconciler, "__call__", again)


def nothing_is_intended(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    patch.setattr(Audit, "add_at", nothing)


def records_are_written_blindly(patch: pytest.MonkeyPatch) -> None:
    save = State.save_project

    async def blindly(self: State, stored: Any) -> None:
        stored.etag = ANY_VERSION if stored.etag else ""
        await save(self, stored)

    patch.setattr(State, "save_project", blindly)


def dry_run_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    class Reckless(ProjectReconciler):
        def __init__(self, **parts: Any) -> None:
            super().__init__(**(parts | {"dry_run": False}))

    patch.setattr(composition, "ProjectReconciler", Reckless)


def both_locks_of_the_dry_run_are_open(patch: pytest.MonkeyPatch) -> None:
    async def through(self: read_only.ReadOnlyTransport, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)

    dry_run_is_forgotten(patch)
    patch.setattr(read_only.ReadOnlyTransport, "handle_async_request", through)


def without(chain_of: Any, *names: str) -> Break:
    """Take checks out of the rotation's, or the creation's, chain."""

    def without_checks(patch: pytest.MonkeyPatch) -> None:
        left = [check for check in chain_of.CHAIN if check.name not in names]
        assert len(left) == len(chain_of.CHAIN) - len(names)
        patch.setattr(chain_of, "CHAIN", left)

    without_checks.__name__ = f"without_{'_and_'.join(names)}"
    return without_checks


def every_version_counts_as_approved(patch: pytest.MonkeyPatch) -> None:
    def approved(given: rotation.RotationInput) -> frozenset[str]:
        versions = given.facts.key_versions
        assert isinstance(versions, KeyVersions)
        return frozenset(v.version for v in versions.versions)

    patch.setattr(rotation, "_approved_versions", approved)


def _versions(approvals: Sequence[Approval]) -> frozenset[str]:
    return frozenset(a.identifier.version for a in approvals if a.identifier.version is not None)


def approvals_are_never_used_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rotation, "_approved_versions", lambda given: _versions(given.approvals))


def nobody_looks_at_the_stop_button_again(patch: pytest.MonkeyPatch) -> None:
    async def is_pressed(self: ScopeStopButton) -> bool:
        self.read_at = self.clock.now()
        return False

    patch.setattr(ScopeStopButton, "is_pressed", is_pressed)


def the_end_of_a_window_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    push = KeyIdentifierPusher.push

    async def at_any_time(self: KeyIdentifierPusher, *given: Any, **named: Any) -> Any:
        return await push(self, *given, **(named | {"before": None}))

    patch.setattr(KeyIdentifierPusher, "push", at_any_time)


def a_day_between_versions_lasts_ten_minutes(patch: pytest.MonkeyPatch) -> None:
    without(version_creation, "noNewerVersionExists")(patch)
    patch.setattr(version_creation, "APART", timedelta(minutes=10))


def every_policy_asks_for_versions(patch: pytest.MonkeyPatch) -> None:
    without(version_creation, "policyAsksForIt")(patch)
    for module in (vault, inputs):
        patch.setattr(module, "asks_for_versions", lambda _: True)


def failures_of_targets_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    send = Deliverer._send

    async def forget(self: Deliverer, *given: Any) -> None:
        await send(self, *given)

    patch.setattr(Deliverer, "_send", forget)


def every_announcement_is_a_new_one(patch: pytest.MonkeyPatch) -> None:
    announce, numbers = Outbox.announce, count()

    async def anew(self: Outbox, kind: str, subject: str, at: datetime, once: str, data: dict[str, Any]) -> None:
        await announce(self, kind, subject, at, f"{once}-{next(numbers)}", data)

    patch.setattr(Outbox, "announce", anew)


def webhooks_are_signed_with_another_secret(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(webhook, "signed_headers", lambda _, at, body: signed_headers(Secret("another"), at, body))


def the_version_in_use_is_always_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch, "needs_current", lambda *_: True)


def the_watch_tells_nobody(patch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object) -> int:
        return 0

    patch.setattr(KeyWatcher, "_hint", nobody)


def the_address_of_a_webhook_is_logged(patch: pytest.MonkeyPatch) -> None:
    send = webhook.WebhookTarget.send

    async def loudly(self: webhook.WebhookTarget, event: dict[str, Any]) -> Any:
        logging.getLogger("keysteward.voice").info("told %s", self._url.reveal())
        return await send(self, event)

    patch.setattr(webhook.WebhookTarget, "send", loudly)


def mode_is_ignored(patch: pytest.MonkeyPatch) -> None:
    chain = [check for check in rotation.CHAIN if check.name != "modeAllows"]
    patch.setattr(rotation, "CHAIN", chain)


def a_member_is_left_out(patch: pytest.MonkeyPatch) -> None:
    push = AtlasClient.push_key_identifier

    async def less(self: AtlasClient, project_id: str, block: dict[str, Any], *rest: Any) -> Any:
        return await push(self, project_id, {k: v for k, v in block.items() if k != "roleId"}, *rest)

    patch.setattr(AtlasClient, "push_key_identifier", less)


def history_is_not_written(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    patch.setattr(State, "note_identifier", nothing)


def a_rotation_is_complete_at_once(patch: pytest.MonkeyPatch) -> None:
    def at_once(*given: Any, **named: Any) -> Any:
        return replace(decide_settlement(*given, **named), complete=True, look_again_seconds=None)

    patch.setattr(under_way, "decide_settlement", at_once)


def nothing_is_ever_pushed(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    patch.setattr(ProjectReconciler, "_act", nothing)


def no_operation_is_ever_ended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ending, "of", lambda *_: None)


def operations_are_written_blindly(patch: pytest.MonkeyPatch) -> None:
    save = State.save_operation

    async def blindly(self: State, stored: Any) -> None:
        stored.etag = ANY_VERSION if stored.etag else ""
        await save(self, stored)

    patch.setattr(State, "save_operation", blindly)


def whatever_was_intended_is_called_done(patch: pytest.MonkeyPatch) -> None:
    close = Audit.close

    async def done(self: Audit, key: str, result: str, after: str | None = None, evidence: str | None = None) -> None:
        await close(self, key, "done", after, evidence)

    patch.setattr(Audit, "close", done)


def addresses_are_not_written(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> None:
        return

    patch.setattr(State, "note_addresses", nothing)


def the_history_runs_backwards(patch: pytest.MonkeyPatch) -> None:
    note, days = State._note, count()

    async def earlier(self: State, project_id: str, kind: str, at: datetime, values: dict[str, str]) -> None:
        await note(self, project_id, kind, at - timedelta(days=next(days)), values)

    patch.setattr(State, "_note", earlier)


def nobody_looks_after_a_push(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    patch.setattr(UnderWay, "recall", nothing)


def the_token_is_logged(patch: pytest.MonkeyPatch) -> None:
    read = auth._read_token

    def loudly(answer: Any) -> Any:
        found = read(answer)
        logging.getLogger("keysteward.auth").info("a token", extra={"token": found[0]})
        return found

    patch.setattr(auth, "_read_token", loudly)


BREAKS: Sequence[tuple[Break, Tilt, Sequence[str]]] = (
    (settings_are_never_stale, slow_storage, ["pushes_on_fresh_ground"]),
    (any_other_version_is_newer, as_drawn, ["pushes_only_forwards"]),
    (every_version_is_usable, as_drawn, ["pushes_only_what_it_saw_usable"]),
    (every_lease_is_free, as_drawn, ["one_run_at_a_time", "requests_end_within_the_lease"]),
    (no_lease_is_ever_renewed, frozen_often, ["pushes_only_under_its_lease"]),
    (wake_ups_are_not_sent, as_drawn, ["every_hint_was_looked_at", "no_rotation_is_left_open"]),
    (every_message_is_covered, as_drawn, ["every_hint_was_looked_at"]),
    (hints_are_not_spaced, as_drawn, ["hinted_runs_are_spaced"]),
    (refusals_are_not_remembered, refused_for_good, ["does_not_storm_refusals"]),
    (every_run_asks_for_another, as_drawn, ["work_is_bounded"]),
    (nothing_is_intended, as_drawn, ["pushes_are_intended_first"]),
    (nothing_is_ever_pushed, as_drawn, ["atlas_has_the_newest_usable_version"]),
    (no_operation_is_ever_ended, as_drawn, ["no_operation_is_left_open"]),
    (operations_are_written_blindly, frozen_while_it_writes("keystewardOperations"), ["ended_operations_stay_ended"]),
    (whatever_was_intended_is_called_done, refused_for_good, ["done_is_true"]),
    (addresses_are_not_written, as_drawn, ["addresses_are_in_the_history"]),
    (the_history_runs_backwards, as_drawn, ["history_is_in_order"]),
    (records_are_written_blindly, frozen_while_it_writes("keystewardRecords"), ["no_run_writes_over_another"]),
    (dry_run_is_forgotten, as_dry_run, ["fails_only_where_storage_fails"]),
    (both_locks_of_the_dry_run_are_open, as_dry_run, ["nothing_changes_under_dry_run"]),
    (mode_is_ignored, as_drawn, ["pushes_only_where_allowed"]),
    (a_member_is_left_out, as_drawn, ["pushes_change_nothing_else"]),
    (history_is_not_written, as_drawn, ["identifiers_are_in_the_history"]),
    (a_rotation_is_complete_at_once, as_drawn, ["successes_are_true"]),
    (nobody_looks_after_a_push, as_drawn, ["intents_are_closed"]),
    (the_token_is_logged, as_drawn, ["keeps_secrets"]),
    (the_address_of_a_webhook_is_logged, with_targets, ["keeps_secrets"]),
    (every_version_counts_as_approved, in_mode_approve, ["pushes_only_where_allowed"]),
    (approvals_are_never_used_up, with_an_approval_that_was_used, ["pushes_only_where_allowed"]),
    (without(rotation, "windowIsOpen"), when_no_window_is_open, ["pushes_only_inside_windows"]),
    (
        the_end_of_a_window_is_forgotten,
        with_a_window_that_closes_while_a_push_is_prepared,
        ["pushes_only_inside_windows"],
    ),
    (without(rotation, "noOperatorHoldsIt"), held_all_the_time, ["nothing_is_sent_under_a_hold"]),
    (nobody_looks_at_the_stop_button_again, held_while_a_push_is_prepared, ["nothing_is_sent_under_a_hold"]),
    (without(version_creation, "noOperatorHoldsIt"), held_near_the_end_of_its_key, ["nothing_is_sent_under_a_hold"]),
    (without(rotation, "reversalsAreBelowLimit"), with_a_tool_that_stands, ["gives_way_at_the_limit"]),
    (a_day_between_versions_lasts_ten_minutes, near_the_end_and_unapproved, ["makes_one_version_a_day"]),
    (every_policy_asks_for_versions, near_the_end_in_mode_off, ["makes_versions_only_by_policy"]),
    (nothing_is_intended, near_the_end_of_its_key, ["versions_are_intended_first"]),
    (failures_of_targets_are_forgotten, targets_that_fail, ["everybody_is_told", "deliveries_are_true"]),
    (webhooks_are_signed_with_another_secret, with_targets, ["webhooks_are_signed"]),
    (every_announcement_is_a_new_one, killed_after_each_announcement, ["rotations_are_told_once"]),
    (every_announcement_is_a_new_one, killed_at_the_limit, ["the_limit_is_told_once"]),
    (the_version_in_use_is_always_read, watched_every_minute, ["watching_costs_one_request_a_key"]),
    (the_watch_tells_nobody, watched_and_nothing_else, ["a_lost_event_is_repaired_by_the_watch"]),
)
"""What is broken, what the histories are made to hold more of, and the invariants that must notice."""


@pytest.mark.parametrize(
    ("break_it", "tilt", "names"),
    [pytest.param(*row, id=f"{row[0].__name__}, {row[1].__name__}".replace("_", " ")) for row in BREAKS],
)
def test_a_broken_product_breaks_an_invariant(
    break_it: Break, tilt: Tilt, names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    invariants = [i for i in INVARIANTS if i.__name__ in names]
    assert len(invariants) == len(names)
    break_it(monkeypatch)
    assert any(judge(play(tilt(draw_history(seed))), invariants) for seed in range(MOST_HISTORIES)), names


def test_the_second_lock_of_the_dry_run_holds_where_the_first_one_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    dry_run_is_forgotten(monkeypatch)
    for seed in range(20):
        assert not list(nothing_changes_under_dry_run(play(as_dry_run(draw_history(seed)))))


def test_every_invariant_is_shown_to_be_able_to_fail() -> None:
    of_firewalls = {one.__name__ for one in OF_FIREWALLS}
    assert {name for _, _, names in BREAKS for name in names} == {one.__name__ for one in INVARIANTS} - of_firewalls
