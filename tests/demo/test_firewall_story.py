"""What the firewall's part of the story believes: the list in the vault decides, never the word of the app."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from demo import firewall
from demo.cloud import RESHAPING_SECONDS, Cloud
from demo.errors import NotObservedError
from demo.firewall import GROWING, NEW, FirewallStory
from demo.operator import Operator
from demo.stage import Stage
from demo.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable

OWNERS = frozenset({"198.51.100.0/24", "203.0.113.10/32"})
OURS = frozenset({"20.40.1.1/32", "20.40.1.2/32"})
NODE = "20.50.1.1/32"
TERRAFORM = "55caf23b-209e-5435-8c77-1784d9195c86"
LATE = "2999-01-01T00:00:00Z"
GOOD = {"status": 200, "at": "2026-03-01T10:00:00.000Z"}


@dataclass(frozen=True)
class Scripted(Cloud):
    """A cloud whose vault and record say what a test wants them to say."""

    holds: frozenset[str] = OWNERS | OURS
    written: tuple[dict[str, Any], ...] = ()
    shown: dict[str, Any] = field(default_factory=dict)
    keeps_terraform_out: bool = False
    skipped: list[float] = field(default_factory=list)

    def mark(self) -> int:
        return 0

    def rules(self) -> frozenset[str]:
        return self.holds

    def vault_writes(self, since: int = 0) -> list[dict[str, Any]]:
        return list(self.written)

    def cluster(self, name: str) -> dict[str, Any]:
        return {"name": name, **self.shown}

    def skip(self, seconds: float) -> None:
        self.skipped.append(seconds)

    def project(self) -> dict[str, Any]:
        used = {"type": "CLUSTER_UPDATE_STARTED", "cluster": GROWING, "at": "2026-03-01T10:02:00.000Z"}
        return {"events": [used]}

    def create_sharded(self, name: str) -> list[str]:
        return [NODE]

    def shard(self, name: str) -> list[str]:
        return [NODE]

    def apply_terraform(self, rules: Iterable[str]) -> str:
        object.__setattr__(self, "holds", self.holds if self.keeps_terraform_out else frozenset(rules))
        return TERRAFORM


@dataclass(frozen=True)
class Answering(Operator):
    """An app that says of its vault, and of a sync, what a test wants it to say."""

    known: dict[str, Any] = field(default_factory=dict)
    ended: str = "succeeded"

    def run_timer(self, name: str = "") -> None:
        """Whatever it brings is set up already."""

    def vault(self) -> dict[str, Any]:
        return self.known

    def sync(self, reason: str) -> dict[str, Any]:
        return {"state": self.ended}


def known(own: int, state: str = "current", reason: str = "rulesInStep", evidence: str = "") -> dict[str, Any]:
    remedy = "Find the tool. Terraform: let it ignore the list. Bicep: leave it out."
    hold = {"evidence": evidence, "remedy": remedy} if evidence else None
    firewall_state = {"state": state, "reason": reason}
    return {"firewall": firewall_state, "ownRules": own, "hold": hold, "observedAt": LATE}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test has not set up will not come."""
    monkeypatch.setattr(firewall, "QUICK", 0.0)


def story_of(cloud: Cloud, operator: Operator, rules: frozenset[str] = OWNERS | OURS) -> FirewallStory:
    stage = Stage(cloud, operator, "", "", ())
    return FirewallStory(stage, Timeline(io.StringIO()), [], rules, OWNERS)


def client() -> httpx.Client:
    return httpx.Client(trust_env=False)


ADDED = OWNERS | OURS | {NODE}
LONG_AGO = {**known(3), "observedAt": "2026-03-01T10:00:00Z"}


@pytest.mark.parametrize(
    ("holds", "writes", "said", "missing"),
    [
        pytest.param(ADDED, [], known(3), "a write of the vault's rules", id="a vault that nobody wrote"),
        pytest.param(ADDED, [GOOD, GOOD], known(3), "one good write", id="two writes"),
        pytest.param(ADDED, [{**GOOD, "status": 403}], known(3), "one good write", id="a write that was refused"),
        pytest.param(OWNERS | OURS, [GOOD], known(2), f"missing {NODE}", id="an address that is not let in"),
        pytest.param(ADDED | {"20.60.0.0/24"}, [GOOD], known(4), "too many 20.60.0.0/24", id="a needless rule"),
        pytest.param(ADDED - {"198.51.100.0/24"}, [GOOD], known(3), "missing 198", id="an owner without a rule"),
        pytest.param(ADDED, [GOOD], known(2), "the app's own record", id="an app that does not know its own rules"),
        pytest.param(ADDED, [GOOD], known(3, "due"), "the app's own record", id="an app that is not done"),
        pytest.param(ADDED, [GOOD], LONG_AGO, "the app's own record", id="an app that has said nothing since"),
    ],
)
def test_a_sync_is_not_believed_with(
    holds: frozenset[str], writes: list[dict[str, Any]], said: dict[str, Any], missing: str
) -> None:
    story = story_of(Scripted(client(), holds, tuple(writes)), Answering(client(), said))
    with pytest.raises(NotObservedError, match=missing):
        story._sync(added=[NODE])


def test_one_write_of_just_these_rules_is_believed_and_counted() -> None:
    story = story_of(Scripted(client(), ADDED - {"20.40.1.1/32"}, (GOOD,)), Answering(client(), known(2)))
    story._sync(added=[NODE], removed=["20.40.1.1/32"])
    assert (story.rules, story.writes) == (ADDED - {"20.40.1.1/32"}, 1)


@pytest.mark.parametrize(
    "shown",
    [
        {"stateName": "IDLE", "keptOut": False},
        {"stateName": "CREATING", "keptOut": False},
        {"stateName": "UPDATING", "keptOut": True},
    ],
    ids=["a cluster that is ready", "one that is only slow", "one that hangs in another state"],
)
def test_no_hang_is_seen_in(shown: dict[str, Any]) -> None:
    story = story_of(Scripted(client(), shown=shown), Answering(client()))
    with pytest.raises(NotObservedError, match=f"that {NEW} hangs in CREATING"):
        story._hangs()


def test_a_hang_is_looked_at_after_far_more_time_than_a_creation_takes() -> None:
    cloud = Scripted(client(), shown={"stateName": "CREATING", "keptOut": True})
    story_of(cloud, Answering(client()))._hangs()
    assert sum(cloud.skipped) >= 5 * 2 * RESHAPING_SECONDS


@pytest.mark.parametrize(
    ("shards", "written_at"),
    [
        pytest.param(2, "2026-03-01T10:02:30.000Z", id="written after the addresses were in use"),
        pytest.param(1, "2026-03-01T10:00:00.000Z", id="no second shard"),
    ],
)
def test_a_new_shard_was_not_let_in_in_time_where_it_was(
    monkeypatch: pytest.MonkeyPatch, shards: int, written_at: str
) -> None:
    monkeypatch.setattr(FirewallStory, "_hangs", lambda _: None)
    shown = {"stateName": "IDLE", "keptOut": False, "shards": shards}
    cloud = Scripted(client(), ADDED, ({**GOOD, "at": written_at},), shown)
    with pytest.raises(NotObservedError, match="rules before use"):
        story_of(cloud, Answering(client(), known(3)))._grow(7)


def test_a_terraform_whose_list_did_not_stand_is_no_adversary() -> None:
    story = story_of(Scripted(client(), keeps_terraform_out=True), Answering(client()))
    with pytest.raises(NotObservedError, match="Terraform's own list in the vault"):
        story._revert(OURS)


HELD = known(0, "held", "rulesReverted", f"2 writes did not last; the vault was changed last by {TERRAFORM}")
NAMELESS = known(0, "held", "rulesReverted", "2 writes did not last")
OTHERWISE = known(0, "held", "alertOnly", TERRAFORM)


@pytest.mark.parametrize(
    ("app", "writes", "holds", "missing"),
    [
        pytest.param(OTHERWISE, [], OWNERS, "the hold rulesReverted", id="an app that holds for another reason"),
        pytest.param(NAMELESS, [], OWNERS, f"names {TERRAFORM}", id="an app that names nobody"),
        pytest.param(HELD, [GOOD], OWNERS, "lets the rules be", id="an app that writes all the same"),
        pytest.param(HELD, [], OWNERS | OURS, "lets the rules be", id="a vault whose rules are back"),
    ],
)
def test_no_peace_is_seen_with(
    app: dict[str, Any], writes: list[dict[str, Any]], holds: frozenset[str], missing: str
) -> None:
    story = story_of(Scripted(client(), holds, tuple(writes)), Answering(client(), app), OWNERS)
    with pytest.raises(NotObservedError, match=missing):
        story._let_be(TERRAFORM)


def test_peace_is_told_with_the_culprit_and_what_to_do_about_it() -> None:
    stream = io.StringIO()
    story = story_of(Scripted(client(), OWNERS), Answering(client(), HELD), OWNERS)
    story.timeline = Timeline(stream)
    story._let_be(TERRAFORM)
    told = " ".join(stream.getvalue().split())
    assert f"changed last by {TERRAFORM}" in told
    assert told.endswith("Terraform: let it ignore the list.")


def test_the_end_of_the_fight_is_a_sync_that_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    for step in ("_revert", "_written", "_let_be"):
        monkeypatch.setattr(FirewallStory, step, lambda *_, **__: TERRAFORM)
    monkeypatch.setattr(firewall, "APART_SECONDS", 0.0)
    monkeypatch.setattr(Scripted, "subscribe", lambda *_: None)
    with pytest.raises(NotObservedError, match="the success of the sync"):
        story_of(Scripted(client()), Answering(client(), ended="held"))._give_way(9)
