"""The story's second half: who is let into the vault, while nodes come and go and others write the same list."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from demo.cloud import OK, RESHAPING_SECONDS
from demo.errors import NotObservedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from demo.cloud import Cloud
    from demo.operator import Operator
    from demo.stage import Stage
    from demo.timeline import Timeline

type Json = dict[str, Any]

QUICK = 30.0
NEW, GROWING = "orders", "payments"
"""The cluster that is created in the story, and the one that gets a shard."""
TIMER = "sync_firewalls"
APART_SECONDS = 31.0
"""The app counts what is undone within half a minute of its write with that write."""


@dataclass
class FirewallStory:
    """One telling. ``observed`` collects what each step proved."""

    stage: Stage
    timeline: Timeline
    observed: list[tuple[str, str]]
    rules: frozenset[str] = frozenset()
    """The rules that the vault should have by now."""
    foreign: frozenset[str] = frozenset()
    """Those of them that are somebody else's."""
    writes: int = 0
    """How often the app should have written the rules by now."""
    _added_at: float = field(default=0.0, repr=False)
    _begun: tuple[int, datetime] = field(default=(0, datetime.min.replace(tzinfo=UTC)), repr=False)
    """The latest request, and the time, when the present step began."""

    @property
    def cloud(self) -> Cloud:
        return self.stage.cloud

    @property
    def operator(self) -> Operator:
        return self.stage.operator

    def tell(self, first_chapter: int) -> None:
        """
        Tell it from the beginning to the end, in chapters of these numbers.

        Raises:
            NotObservedError: a step was not seen.
            StageError: a process ended.
        """
        for number, part in enumerate((self._open, self._grow, self._shrink, self._give_way), first_chapter):
            part(number)

    def _open(self, number: int) -> None:
        say = self.timeline
        say.chapter(number, "A vault closes, and Atlas has to get in")
        self.rules = self.foreign = self.cloud.close_vault()
        say.row("Key Vault", f"its owner shuts out all but two: an office and the app ({listed(self.foreign)})")
        say.row("Operator", "runs the timer of the firewalls now (by default it comes every five minutes)")
        nodes, control_plane = self.cloud.nodes(), self.cloud.control_plane()
        self._sync(added=nodes | control_plane)
        say.row(
            "Keysteward",
            f"adds {len(nodes)} addresses of nodes and {len(control_plane)} of Atlas's control plane, in one write",
            "None wider than Atlas names them. The owner's two stay: no rule of somebody else is ever removed.",
        )
        self._proved("Atlas was let into a closed vault", f"{len(self.rules)} rules, the owner's two untouched")

    def _grow(self, number: int) -> None:
        say = self.timeline
        say.chapter(number, "A new sharded cluster, and a new shard")
        nodes = self.cloud.create_sharded(NEW)
        say.row("Atlas", f"{NEW} is created, with two shards; {len(nodes)} addresses are announced, none is in use")
        self._hangs()
        self._sync(added=nodes)
        say.row("Keysteward", f"adds the {len(nodes)}")
        self._skip(2 * RESHAPING_SECONDS)
        self._idle(NEW)
        say.row("Atlas", f"{NEW} has gone on, and is IDLE")
        self._proved("a sharded cluster hung in CREATING until its nodes were let in", f"{len(nodes)} addresses")

        nodes = self.cloud.shard(GROWING)
        say.row("Atlas", f"{GROWING} gets a second shard; {len(nodes)} addresses are announced")
        self._sync(added=nodes)
        written_at = self.cloud.vault_writes()[-1]["at"]
        say.row("Keysteward", f"adds the {len(nodes)}, this time before they are in use")
        self._skip(2 * RESHAPING_SECONDS)
        cluster = self._idle(GROWING)
        used_at = self._last_event("CLUSTER_UPDATE_STARTED", GROWING)
        if cluster["shards"] != 2 or written_at >= used_at:  # noqa: PLR2004 - the second shard
            raise NotObservedError(f"rules before use: {cluster}, written at {written_at}, in use from {used_at}")
        say.row("Atlas", f"{GROWING} takes them into use, and is IDLE: nothing waited")
        self._proved("a new shard was let in before it was used", f"{len(nodes)} addresses, from their announcement")

    def _shrink(self, number: int) -> None:
        say = self.timeline
        say.chapter(number, "A cluster goes, and its rules with it")
        nodes = self.cloud.delete_cluster(NEW)
        say.row("Atlas", f"{NEW} is deleted")
        self._sync(removed=nodes)
        say.row(
            "Keysteward",
            f"removes the {len(nodes)} rules that it had added for it",
            "By default 48 hours later (here 0; policy: firewall.removeAfterHours), and only what is its own.",
        )
        self._proved("a deleted cluster's rules left", f"{len(nodes)} rules, all of them Keysteward's own")

    def _give_way(self, number: int) -> None:
        say = self.timeline
        say.chapter(number, "Terraform writes a list of its own")
        left = APART_SECONDS - (time.monotonic() - self._added_at)
        if left > 0:
            say.row("Demo", f"waits {left:.0f} s: what is undone sooner counts with the write before")
            self.stage.until(lambda: time.monotonic() - self._added_at > APART_SECONDS, QUICK + left, "time going by")
        ours = self.rules - self.foreign
        self.cloud.subscribe(self.stage.event_endpoint("resource_events"))
        say.row("Event Grid", "subscription made to writes of the vault, by whomever")
        self._revert(ours)
        self._written(added=ours)
        say.row("Keysteward", f"hears of it, and puts the {len(ours)} back, once")
        culprit = self._revert(ours)
        self._let_be(culprit)
        say.row("Operator", "lets Terraform ignore the list, and orders a sync: that is tried at once")
        self._begin()
        operation = self.operator.sync("Terraform ignores the list now")
        if operation["state"] != "succeeded":
            raise NotObservedError(f"the success of the sync: {operation}")
        self._written(added=ours)
        say.row("Keysteward", f"puts the {len(ours)} back")
        self._proved("rules that were taken away twice were not fought over", f"rulesReverted names {culprit[:8]}..")

    # What the steps have in common

    def _hangs(self) -> None:
        """Let the announced addresses be used while nobody has let them in."""
        self._skip(10 * RESHAPING_SECONDS)
        cluster = self.cloud.cluster(NEW)
        if cluster["stateName"] != "CREATING" or not cluster["keptOut"]:
            raise NotObservedError(f"that {NEW} hangs in CREATING, kept out by the vault: {cluster}")
        minutes = 2 * RESHAPING_SECONDS / 60
        why = f"Nobody has looked at the vault meanwhile. Let in, it would have been IDLE after {minutes:.0f} minutes."
        self.timeline.row("Atlas", f"{NEW} hangs in CREATING: the vault keeps its nodes out", why)

    def _skip(self, seconds: float) -> None:
        self.timeline.row("Demo", f"moves Atlas's clock on by {seconds / 60:.0f} minutes")
        self.cloud.skip(seconds)

    def _idle(self, name: str) -> Json:
        def idle() -> Json | None:
            cluster = self.cloud.cluster(name)
            return cluster if cluster["stateName"] == "IDLE" and not cluster["keptOut"] else None

        return self.stage.until(idle, QUICK, f"{name} being IDLE")

    def _last_event(self, kind: str, cluster: str) -> str:
        found = [e["at"] for e in self.cloud.project()["events"] if (e["type"], e["cluster"]) == (kind, cluster)]
        if not found:
            raise NotObservedError(f"{kind} of {cluster}")
        return str(found[-1])

    def _revert(self, ours: Collection[str]) -> str:
        """Let Terraform put its list in the place of all; give who that was, as Azure names it."""
        self._begin()
        culprit = self.cloud.apply_terraform(self.foreign)
        if self.cloud.rules() != self.foreign:
            raise NotObservedError(f"Terraform's own list in the vault: it is {listed(self.cloud.rules())}")
        self.rules = self.foreign
        what = f"(application {culprit[:8]}..) applies its own list, the owner's two: Keysteward's {len(ours)} are gone"
        self.timeline.row("Terraform", what)
        return culprit

    def _let_be(self, culprit: str) -> None:
        """Wait until the app says who undoes its rules, and see that it writes nothing."""
        known = self.stage.until(lambda: self._known("held", "rulesReverted"), QUICK, "the hold rulesReverted")
        evidence, remedy = known["hold"]["evidence"], known["hold"]["remedy"]
        if culprit not in evidence:
            raise NotObservedError(f"that the app names {culprit}: it says {evidence}")
        if self.cloud.vault_writes(self._begun[0]) or self.cloud.rules() != self.rules:
            raise NotObservedError("that the app lets the rules be: it wrote them")
        advice = next(part for part in remedy.split(". ") if part.startswith("Terraform"))
        self.timeline.row("Keysteward", f"says rulesReverted, and does not fight: {evidence}", f"{advice}.")

    def _sync(self, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        self._begin()
        self.operator.run_timer(TIMER)
        self._written(added, removed)

    def _begin(self) -> None:
        self._begun = self.cloud.mark(), datetime.now(UTC)

    def _written(self, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        """Wait for the app's write of the rules; believe it if it is one, and changed exactly what it should."""
        begun, _ = self._begun
        writes = self.stage.until(lambda: self.cloud.vault_writes(begun), QUICK, "a write of the vault's rules")
        wanted, found = (self.rules - frozenset(removed)) | frozenset(added), self.cloud.rules()
        if len(writes) != 1 or writes[0]["status"] != OK or found != wanted:
            answers = [one["status"] for one in writes]
            differs = f"missing {listed(wanted - found)}, too many {listed(found - wanted)}"
            raise NotObservedError(f"one good write of the rules as they should be; seen: {answers}, {differs}")
        if added:
            self._added_at = time.monotonic()
        self.rules, self.writes = found, self.writes + 1
        self.stage.until(lambda: self._known("current"), QUICK, "the app's own record of its rules")

    def _known(self, state: str, reason: str = "") -> Json | None:
        """What the app remembers, if it is so, and of a run since the step began."""
        known = self.operator.vault()
        if known["observedAt"] is None or datetime.fromisoformat(known["observedAt"]) < self._begun[1]:
            return None
        firewall, own = known["firewall"], len(self.rules - self.foreign)
        is_so = firewall["state"] == state and reason in {"", firewall["reason"]} and known["ownRules"] == own
        return known if is_so else None

    def _proved(self, step: str, evidence: str) -> None:
        self.observed.append((step, evidence))


def listed(rules: Collection[str]) -> str:
    """Rules in order, for people."""
    return ", ".join(sorted(rules)) or "none"
