"""
The harness finds what it is there to find: break the product on purpose, and an invariant breaks within few histories.

Each case takes one safeguard out of the product. If its test fails, the histories no longer reach that safeguard.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keysteward import app as composition
from keysteward.act import push as act_push
from keysteward.clients.atlas import auth
from keysteward.clients.atlas.client import AtlasClient
from keysteward.decide import rotation
from keysteward.decide.settlement import decide_settlement
from keysteward.facts import KeyVersions
from keysteward.reconcile import project, runner, under_way
from keysteward.reconcile.project import ProjectReconciler
from keysteward.reconcile.runner import RunResult, ScopeRunner
from keysteward.reconcile.under_way import UnderWay
from keysteward.store import lease
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.store.ports import ANY_VERSION
from keysteward.store.state import State
from simulator.faults import Fault
from tests.harness import player
from tests.harness.history import History, Step
from tests.harness.judge import INVARIANTS, judge
from tests.harness.player import play
from tests.harness.processes import Strike, StrikeKind
from tests.harness.steps import draw_history

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keysteward.vocabulary import KeyIdentifier, KeyVersion

    type Break = Callable[[pytest.MonkeyPatch], None]
    type Tilt = Callable[[History], History]

MOST_HISTORIES = 100


def as_drawn(history: History) -> History:
    return history


def frozen_often(history: History) -> History:
    """The same history, in which processes stand still again and again for longer than a lease."""
    freeze = Strike(StrikeKind.FREEZE, "* keysteward*", 9, 130.0)
    return replace(history, steps=[s for step in history.steps for s in (Step(0, "strike", (freeze,)), step)])


def slow_storage(history: History) -> History:
    """The same history, in which storage takes its time before a push."""
    wait = Strike(StrikeKind.WAIT, "* insert keystewardAudit", 0, 4.0)
    return replace(history, steps=[s for step in history.steps for s in (Step(0, "strike", (wait,)), step)])


def as_dry_run(history: History) -> History:
    return replace(history, dry_run=True)


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
    patch.setattr(project, "attempt_of", lambda _: None)


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
    (records_are_written_blindly, frozen_often, ["no_run_writes_over_another"]),
    (dry_run_is_forgotten, as_dry_run, ["pushes_only_where_allowed"]),
    (mode_is_ignored, as_drawn, ["pushes_only_where_allowed"]),
    (a_member_is_left_out, as_drawn, ["pushes_change_nothing_else"]),
    (history_is_not_written, as_drawn, ["identifiers_are_in_the_history"]),
    (a_rotation_is_complete_at_once, as_drawn, ["successes_are_true"]),
    (nobody_looks_after_a_push, as_drawn, ["intents_are_closed"]),
    (the_token_is_logged, as_drawn, ["keeps_secrets"]),
)
"""What is broken, what the histories are made to hold more of, and the invariants that must notice."""


@pytest.mark.parametrize(
    ("break_it", "tilt", "names"), [pytest.param(*row, id=row[0].__name__.replace("_", " ")) for row in BREAKS]
)
def test_a_broken_product_breaks_an_invariant(
    break_it: Break, tilt: Tilt, names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    invariants = [i for i in INVARIANTS if i.__name__ in names]
    assert len(invariants) == len(names)
    break_it(monkeypatch)
    assert any(judge(play(tilt(draw_history(seed))), invariants) for seed in range(MOST_HISTORIES)), names
