"""The story, a step a method. A step ends when the simulator has seen it, or the demo ends with what was missing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from demo.cloud import CLUSTERS, KEY, OK, PROJECT_NAME, VAULT, age_alert, pushed_identifier, taken_by
from demo.errors import NotObservedError
from demo.firewall import FirewallStory

if TYPE_CHECKING:
    from demo.cloud import Cloud
    from demo.operator import Operator
    from demo.stage import Stage
    from demo.timeline import Timeline

type Json = dict[str, Any]

QUICK, SLOW = 30.0, 120.0
"""Seconds: for what takes a moment, and for a rotation until its last cluster."""
UNPROCESSABLE = 422


@dataclass
class Story:
    """One telling. ``observed`` collects what each step proved."""

    stage: Stage
    timeline: Timeline
    observed: list[tuple[str, str]] = field(default_factory=list)
    in_use: str = ""
    """The identifier that Atlas should hold by now."""
    lost_events: int = 0
    """How many events should be lost by now."""

    @property
    def cloud(self) -> Cloud:
        return self.stage.cloud

    @property
    def operator(self) -> Operator:
        return self.stage.operator

    def tell(self) -> None:
        """
        Tell it from the beginning to the end.

        Raises:
            NotObservedError: a step was not seen.
            StageError: a process ended.
        """
        self._learn()
        self._rotate()
        self._repair()
        self._refuse()
        self._ignore()
        firewall = FirewallStory(self.stage, self.timeline, self.observed)
        firewall.tell(6)
        self._finish(firewall.writes)

    def _learn(self) -> None:
        say = self.timeline
        say.chapter(1, "The app meets a project whose key is too old")
        self.in_use = self.cloud.build()
        project = self.stage.until(
            lambda: found if age_alert(found := self.cloud.project()) == "OPEN" else None,
            QUICK,
            "Atlas's alert on the age of the key",
        )
        names = ", ".join(CLUSTERS)
        say.row("Atlas", f"project {PROJECT_NAME} has three encrypted clusters: {names}")
        say.row(
            "Atlas", f"alert open: {short(self.in_use)} is in use since {project['identifierSince'][:10]}, over 90 days"
        )
        self.cloud.subscribe(self.stage.event_endpoint("key_vault_events"))
        say.row("Event Grid", "subscription made; the app's endpoint passed the handshake")
        begun = self.cloud.mark()
        self.operator.run_timer()
        self.stage.until(lambda: self.cloud.looks_at_key(begun), QUICK, "the app's first look at the key")
        known = self.stage.until(lambda: self._known_since(self.in_use), QUICK, "the app's own record of the project")
        say.row(
            "Keysteward",
            f"first look: {known['name']} uses {known['vault']}/{known['key']}, {known['clusters']['encrypted']} "
            f"encrypted clusters; rotation: {known['rotation']['state']}",
            "Everything is derived from what Atlas holds; the only setting is the project's id.",
        )
        if self.cloud.pushes():
            raise NotObservedError("a first look that changes nothing: the app sent a change")
        self._proved("the app learnt the project", f"{len(self.cloud.requests())} requests, none of them a change")

    def _rotate(self) -> None:
        say = self.timeline
        say.chapter(2, "A new key version: the event, the push, the clusters, the alert")
        begun = self.cloud.mark()
        target = self.cloud.new_version(expiresInDays=365)
        say.row("Key Vault", f"{VAULT}/{KEY} has a new version: {short(target)}")
        self._delivered("KeyNewVersionCreated")
        self._pushed(target, begun)
        self._taken(target)
        self._alert_ends()
        say.row(
            "Keysteward",
            "follows the clusters: it looks 15 s after Atlas's answer, and again ..",
            "A cluster counts as settled once it was seen UPDATING and then IDLE, or IDLE twice, 15 s apart.",
        )
        operation = self._succeeded()
        for step in operation["steps"][2:]:
            say.row("Keysteward", step["what"])
        self._tell_why(operation["operationId"])
        say.row(
            "Keysteward", "next: nothing, until a newer version comes; the timer looks every 15 minutes all the same"
        )
        self._proved("a new version was rotated to", f"1 push, taken by {', '.join(CLUSTERS)}; the age alert ended")

    def _repair(self) -> None:
        say = self.timeline
        say.chapter(3, "An event is lost, and the watch repairs it")
        begun = self.cloud.mark()
        self.cloud.lose_next_event()
        target = self.cloud.new_version(expiresInDays=365)
        say.row("Key Vault", f"{VAULT}/{KEY} has a new version: {short(target)}")
        lost = self.stage.until(lambda: self.cloud.state()["eventGrid"]["lost"], QUICK, "the loss of the event")
        self.lost_events = len(lost)
        say.row("Event Grid", f"{kind(lost[-1])} is lost on order: nobody tells the app")
        say.row("Operator", "runs the watch of the keys now (it comes by itself every minute)")
        self.operator.run_timer("watch_keys")
        self._pushed(target, begun)
        self._taken(target)
        self._proved("a lost event was repaired by the watch", f"push of {short(target)} without any event")

    def _refuse(self) -> None:
        say = self.timeline
        say.chapter(4, "A version that must not be taken")
        begun, at = self.cloud.mark(), datetime.now(UTC)
        bad = self.cloud.new_version(expiresInDays=20 / 24)
        say.row("Key Vault", f"{VAULT}/{KEY} has a new version: {short(bad)}, which expires in 20 hours")
        self._delivered("KeyNewVersionCreated and KeyNearExpiry")
        self._looked(begun, at)
        look = self.operator.look()
        check = next(c for c in look["checks"] if c["check"] == "newerUsableVersionExists")
        if check["answer"] != "no" or look["plan"]["actions"]:
            raise NotObservedError(f"that the app explains why it does not push {short(bad)}: it says {check}")
        why = "A push would trade a good key for an outage tomorrow; policy: rotation.minimumRemainingHours."
        say.row("Keysteward", f"does not push it: {check['evidence']}", why)
        answer = self.operator.rotate(bad, "trying to force it")
        if answer.status_code != UNPROCESSABLE:
            raise NotObservedError(f"that a rotation to {short(bad)} is refused: the API answers {answer.status_code}")
        say.row("Operator", "asks for it by name: 422 " + str(answer.json()["code"]))
        self._unchanged(begun)
        self._proved("a version that must not be taken was not", f"{short(bad)} was read, explained and never pushed")

    def _ignore(self) -> None:
        say = self.timeline
        say.chapter(5, "Events come twice, late and in the wrong order")
        begun = self.cloud.mark()
        self.cloud.double_and_delay(4, 1, 3.0)
        first = self.cloud.new_version(enabled=False)
        second = self.cloud.new_version(enabled=False)
        say.row("Key Vault", f"two disabled versions are made: {short(first)}, {short(second)}")
        say.row("Event Grid", "sends each event twice, and the first one late")
        self._delivered("all of them")
        self._looked(begun, datetime.now(UTC))
        self._unchanged(begun)
        say.row(
            "Keysteward",
            "looked afresh and changed nothing",
            "Events say where to look, never what is true; a hint too many costs a look at most.",
        )
        self._proved("doubled and reordered events changed nothing", "the same identifier, no further push")

    def _finish(self, vault_writes: int) -> None:
        operation = self._succeeded()
        self.timeline.row("Keysteward", f"meanwhile: {operation['steps'][-1]['what']}")
        pushes = [pushed_identifier(one) for one in self.cloud.pushes()]
        if len(pushes) != 2 or pushes[-1] != self.in_use:  # noqa: PLR2004 - one for each good version of the story
            raise NotObservedError(f"two pushes in the whole story; seen: {[short(one) for one in pushes]}")
        changes = len(self.cloud.changes())
        if changes != len(pushes) + vault_writes or len(self.cloud.vault_writes()) != vault_writes:
            raise NotObservedError(f"2 pushes and {vault_writes} writes of rules in the whole story; seen: {changes}")
        evidence = f"2 pushes and {vault_writes} writes of rules in {len(self.cloud.requests())} requests"
        self._proved("nothing else was ever changed", evidence)

    # What the steps have in common

    def _known_since(self, identifier: str) -> Json | None:
        known = self.operator.project()
        return known if identifier.endswith(str(known["currentVersion"])) and known["observedAt"] else None

    def _delivered(self, what: str) -> None:
        self.stage.until(lambda: not self.cloud.state()["eventGrid"]["pending"], QUICK, f"the delivery of {what}")
        lost = self.cloud.state()["eventGrid"]["lost"][self.lost_events :]
        if lost:
            raise NotObservedError(f"the delivery of {what}: given up after {lost}")
        self.timeline.row("Event Grid", f"{what} delivered, and acknowledged by the app")

    def _pushed(self, target: str, begun: int) -> None:
        self.timeline.row(
            "Keysteward",
            "looks at the project afresh, decides, writes down its intent, and calls Atlas ..",
            "Looks that events ask for are at least 5 s apart; the last is never lost.",
        )
        pushes = self.stage.until(lambda: self.cloud.pushes(begun), QUICK, f"a push of {short(target)}")
        push = pushes[-1]
        if len(pushes) != 1 or pushed_identifier(push) != target or push["status"] != OK or not push["changes"]:
            raise NotObservedError(f"exactly one good push of {short(target)}; seen: {push['status']} {push['body']}")
        self.in_use = target
        self.timeline.row("Atlas", f"takes PATCH encryptionAtRest: the project's key is {short(target)} now")

    def _taken(self, target: str) -> None:
        told: set[tuple[str, str]] = set()

        def all_have_it() -> bool:
            project = self.cloud.project()
            for cluster in project["clusters"]:
                has_it = cluster["keyIdentifier"] == target and cluster["stateName"] == "IDLE"
                state = "runs under it" if has_it else "takes it .." if cluster["stateName"] == "UPDATING" else ""
                if state and (cluster["name"], state) not in told:
                    told.add((cluster["name"], state))
                    self.timeline.row("Atlas", f"{cluster['name']} {state}")
            return len(taken_by(project, target)) == len(CLUSTERS)

        self.stage.until(all_have_it, SLOW, f"every cluster under {short(target)}")

    def _alert_ends(self) -> None:
        if age_alert(self.cloud.project()) == "OPEN":
            now = datetime.fromisoformat(self.cloud.state()["now"])
            seconds = math.ceil(60.1 - now.second)
            self.timeline.row("Demo", f"moves Atlas's clock on by {seconds} s, to its next look at alerts")
            self.cloud.skip(seconds)
        closed = "the end of Atlas's alert on the age of the key"
        self.stage.until(lambda: age_alert(self.cloud.project()) == "CLOSED", QUICK, closed)
        self.timeline.row("Atlas", "alert closed: the key is no longer too old")

    def _succeeded(self) -> Json:
        """Wait for the end of the rotation that the latest push began."""
        push = self.stage.until(self._latest_push, QUICK, "the push in the audit trail")
        what = f"the success of operation {push['operationId']}"
        return self.stage.until(lambda: self._ended(push["operationId"]), SLOW, what)

    def _latest_push(self) -> Json | None:
        records = [r for r in self.operator.audit() if r["what"] == "pushKeyIdentifier" and r["after"] == self.in_use]
        return records[0] if records else None

    def _ended(self, operation_id: str) -> Json | None:
        operation = self.operator.operation(operation_id)
        if operation["state"] in {"failed", "held"}:
            raise NotObservedError(f"the success of operation {operation_id}: it is {operation['state']}: {operation}")
        return operation if operation["state"] == "succeeded" else None

    def _tell_why(self, operation_id: str) -> None:
        records = [r for r in self.operator.audit() if r.get("operationId") == operation_id]
        push = next((r for r in records if r["what"] == "pushKeyIdentifier"), None)
        if push is None or push["result"] != "done" or not push["reason"]:
            raise NotObservedError(f"the reason of operation {operation_id} in the audit trail: {records}")
        self.timeline.row(
            "Operator",
            f"asks the audit trail: {push['who']} did {push['what']} because {push['reason']}: {push['result']}",
            f"before {push['before']}\nafter  {push['after']}",
        )

    def _looked(self, begun: int, since: datetime) -> None:
        """Wait for a whole run of the app that started after *since*."""
        self.stage.until(lambda: self.cloud.looks_at_key(begun), QUICK, "the app's look at the key")
        self.stage.until(lambda: self._observed_after(since), QUICK, "the end of the app's look")

    def _observed_after(self, since: datetime) -> bool:
        at = self.operator.project()["observedAt"]
        return at is not None and datetime.fromisoformat(at) > since

    def _unchanged(self, begun: int) -> None:
        if self.cloud.pushes(begun) or self.cloud.project()["keyIdentifier"] != self.in_use:
            raise NotObservedError("that nothing changes: the app sent a change")

    def _proved(self, step: str, evidence: str) -> None:
        self.observed.append((step, evidence))


def short(identifier: str) -> str:
    """The beginning of a version, for people."""
    return f"{identifier.rpartition('/')[2][:8]}.."


def kind(delivery: Json) -> str:
    return str(delivery["type"]).rpartition(".")[2]
