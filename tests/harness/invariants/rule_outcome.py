"""How vaults stand: after each sync, and once it is quiet, whoever is to get in does, or it is on record why not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from simulator.key_vault.for_atlas import named
from tests.harness.evidence import NEVER, record_of, rows_of, writes_to
from tests.harness.network_evidence import (
    became_ours,
    is_ordered,
    less,
    listed,
    of_run,
    properties_of,
    read_before,
    rules_writes,
    sent_list,
    shown,
    span_of,
    spans_of,
    users_as_told,
    vault_runs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.network_evidence import Span, VaultRun
    from tests.harness.player import Played
    from tests.harness.wire import Sent

PLANNED = frozenset(
    {"addressMissing", "rulesRegrouped", "addressGone", "rangeTooWide", "largeRemoval", "orphanedRules"}
)
"""What a dry run has to say of a plan, in whole or in part."""
NEVER_USABLE = spans_of(("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
FIRST_PAUSE_SECONDS = 900.0
APART_SECONDS = 30.0
SETTLES_SECONDS = 400.0
"""What stood still or was killed has come back by then."""
FULL_BITS = 32


def a_sync_allows_everybody_or_says_why_not(played: Played) -> Iterator[str]:
    """
    After a run that came to its end the list has all that the run was told of, or the record does not call it in step.

    By the last list that the run was told: what others do after it, the next run sees.
    """
    for found in vault_runs(played):
        record = _record_of_run(played, found)
        rules = _last_list(played, found)
        if record is None or rules is None or record["reason"] not in {"rulesInStep", "nothingToDo"}:
            continue
        missing = less(_usable(played, found), spans_of(rules))
        if missing:
            yield f"{found.run}: {found.vault} is called in step, and {shown(missing)} is not let in"


def whoever_is_wanted_is_let_in_at_the_end(played: Played) -> Iterator[str]:
    """Once it is quiet, by the world alone; where somebody is not, what is on record is what the world explains."""
    firewall = played.history.firewall
    if firewall is None:
        return
    records = {row["vault"]: row["firewall"] for row in _vault_records(played)}
    for owner in (played.networks.owner(0), played.networks.owner(1)):
        vault, network = owner.state.name.lower(), owner.state.network
        missing = less(_needed(played, vault), spans_of(network.ip_rules))
        if not missing or not network.filters:
            continue
        record = records.get(vault)
        if record is None:
            yield f"{vault} was never synced, and {shown(missing)} is not let in"
            continue
        explained = _Explained(played, vault).codes()
        code = (record.get("hold") or {}).get("code") or record["reason"]
        if code not in explained:
            told = " or ".join(sorted(explained)) or "nothing"
            yield f"{vault}: {shown(missing)} is not let in; on record is {code}, the world explains {told}"


def syncs_come_with_every_timer(played: Played) -> Iterator[str]:
    """While it is quiet a vault that is ours is read at every timer: no loss lasts longer unseen."""
    firewall = played.history.firewall
    if firewall is None:
        return
    rows = [w for w in writes_to(played, "keystewardLedger") if not w.partition.startswith(".")]
    left = {row.partition for row in played.tables.rows("keystewardLedger")}
    for vault in {w.partition for w in rows} & left:
        # From when rules there are ours: a project that has just moved there is seen first by its own timer.
        first = min(w.loop_at for w in rows if w.partition == vault)
        begins = max(played.timers_back_at + SETTLES_SECONDS, first)
        times = [found.run.began_at for found in vault_runs(played) if found.vault == vault]
        times = sorted(at for at in times if at >= begins)
        gaps = zip([begins, *times], [*times, played.ended_at], strict=True)
        longest = max(later - earlier for earlier, later in gaps)
        if longest > firewall.timer_seconds + 2 * APART_SECONDS:
            yield f"{vault} was not looked at for {longest:.0f} s"


def rules_that_do_not_last_are_left_alone(played: Played) -> Iterator[str]:
    """
    A rule that was ours and lost twice is not written for 15 minutes, unless an operator asks.

    Only writes count that the app knows to have worked: it heard the answer, and its run came to its end. An operator's
    sync that works begins the count anew.
    """
    for vault, span in {(o.vault, o.span) for o in became_ours(played) if not o.claimed}:
        came = [w for w in rules_writes(played) if w.vault == vault and _brings(played, w, span)]
        known = [w for w in came if w.told is not None and w.run.outcome == "ran" and not w.run.frozen]
        for first, second in pairwise(known):
            again = [
                w
                for w in rules_writes(played)
                if w.vault == vault
                and (w.done_at or 0.0) > (second.done_at or 0.0)
                and span in spans_of(sent_list(w)) - spans_of((w.rules or ((), ()))[0])
            ]
            if not again or second.asked_at - first.asked_at < APART_SECONDS:
                continue
            if any(is_ordered(played, w) for w in (second, again[0])):
                continue
            wait = again[0].asked_at - second.asked_at
            if APART_SECONDS < wait < FIRST_PAUSE_SECONDS:
                yield f"{again[0].run}: wrote {shown([span])} into {vault} {wait:.0f} s after it was lost again"


def writes_of_rules_do_not_storm(played: Played) -> Iterator[str]:
    """Nobody orders more than a few writes of a vault in ten minutes: what undoes them would undo the next one."""
    for vault in {w.vault for w in rules_writes(played)}:
        times = [w.asked_at for w in rules_writes(played) if w.vault == vault]
        news = [(at - played.began).total_seconds() for at, _ in played.world.changes]
        news += [run.began_at for run in played.host.runs if run.kind == "operator"]
        news += [at for at, *_ in played.gates.fallen]
        for place, at in enumerate(times):
            count = sum(1 for other in times[place:] if other <= at + 600.0)
            asked = sum(1 for when in news if at - 900.0 <= when <= at + 600.0)
            if count > MOST_WRITES + 3 * asked:
                yield f"the rules of {vault} were written {count} times in the ten minutes from {at:.0f} s on"
                break


MOST_WRITES = 12


def _brings(played: Played, write: Sent, span: Span) -> bool:
    """Whether a write brought a rule, as the app knew that it would: its last read had shown it absent."""
    read = read_before(played, write)
    known = listed((properties_of(read) or {}).get("networkAcls")) if read is not None else ()
    return write.rules is not None and span in spans_of(write.rules[1]) - spans_of(write.rules[0]) - spans_of(known)


def _record_of_run(played: Played, found: VaultRun) -> Mapping[str, Any] | None:
    """What a run that came to its end left on record of the firewall."""
    if not found.ended:
        return None
    rows = [w for w in writes_to(played, "keystewardRecords", found.vault) if w.run is found.run]
    record: Mapping[str, Any] | None = record_of(rows[-1].values)["firewall"] if rows else None
    return record


def _last_list(played: Played, found: VaultRun) -> tuple[str, ...] | None:
    """The list that a run was told last; a write's answer tells it too."""
    told = [s for s in of_run(played, found.run) if s.vault == found.vault and properties_of(s) is not None]
    last = max(told, key=lambda s: s.heard_at or 0.0, default=None)
    properties = properties_of(last) if last is not None else None
    return listed(properties.get("networkAcls")) if properties is not None else None


def _usable(played: Played, found: VaultRun) -> list[Span]:
    """What a run was told that a rule can allow, of those who, as it was told too, use the vault."""
    firewall = played.history.firewall
    counted = users_as_told(played, found)
    texts = [a for p in counted for listed_ in found.seen.addresses.get(p, {}).values() for a in listed_]
    if counted and firewall is not None and firewall.control_plane:
        texts += found.seen.plane or ()
    return _allowable(played, texts)


def _allowable(played: Played, texts: list[str]) -> list[Span]:
    """The addresses of *texts* that a rule may allow: not private ones, and no range that is too wide."""
    firewall = played.history.firewall
    widest = 1 << FULL_BITS - (firewall.widest_prefix if firewall is not None else FULL_BITS)
    spans = [span for span in map(span_of, texts) if span is not None]
    return less([span for span in spans if span[1] - span[0] < widest], NEVER_USABLE)


def _needed(played: Played, vault: str) -> list[Span]:
    """What the world needs a vault to let in, of the projects that the app can ask about."""
    world, firewall = played.world, played.history.firewall
    assert firewall is not None, "asked where vaults filter"
    texts: list[str] = []
    out = world.hidden | played.networks.out_of_settings
    users = 0
    for project_id in world.project_ids:
        project = world.cloud.atlas.project(project_id)
        parts = named(project.key_identifier or "")
        if parts is None or parts.vault != vault or project_id in out:
            continue
        users += 1
        for cluster in project.clusters.values():
            texts += cluster.future_outbound if cluster.paused else [*cluster.outbound, *cluster.future_outbound]
    if users and firewall.control_plane:
        texts += world.cloud.atlas.control_plane.outbound
    if users:
        texts += firewall.extra
    return _allowable(played, [text for text in texts if text not in firewall.extra]) + [
        span for span in map(span_of, firewall.extra) if span is not None and users
    ]


@dataclass(frozen=True, slots=True)
class _Explained:
    """What may be on record of a vault that does not let everybody in, by how the world is."""

    played: Played
    vault: str

    def codes(self) -> set[str]:
        played, firewall = self.played, self.played.history.firewall
        assert firewall is not None, "asked where vaults filter"
        found: set[str] = set()
        found |= PLANNED if played.history.dry_run else set()
        found |= {"firewallOff"} if firewall.mode == "off" else set()
        found |= {"alertOnly"} if firewall.mode == "alert" else set()
        found |= self._of_vault()
        found |= self._of_writes()
        if firewall.crowd:
            found |= {"tooManyRules"}
        return found

    def _of_vault(self) -> set[str]:
        owner = self.played.world.cloud.key_vault.vault(self.vault)
        network, acls = owner.state.network, owner.state.network.acls
        found: set[str] = set()
        if not network.is_public or acls is None or acls["defaultAction"] == "Allow":
            found.add("vaultNotFiltering")
        if not owner.manager_actions >= _NEEDED_ACTIONS["read"]:
            found.add("networkUnknown")
        if self.played.world.hidden or self.played.networks.out_of_settings:
            # A project whose block cannot be read leaves open whether anybody uses the vault.
            found |= {"networkUnknown"}
        if any((r.partition, r.key) == ("vault", self.vault) for r in self.played.tables.rows("keystewardHolds")):
            found.add("heldByOperator")
        return found

    def _of_writes(self) -> set[str]:
        """Writes that were refused or undone hold the next ones back for hours."""
        played = self.played
        writes = [w for w in rules_writes(played) if w.vault == self.vault]
        found: set[str] = set()
        if any(400 <= w.response.status < 500 for w in writes if w.response is not None):
            found.add("firewallWriteRefused")
        if _lost_twice(played, self.vault):
            found.add("rulesReverted")
        return found


_NEEDED_ACTIONS = {"read": frozenset({"Microsoft.KeyVault/vaults/read"})}


def _lost_twice(played: Played, vault: str) -> bool:
    """Whether what the app wrote was undone at least twice, by whomever."""
    writes = [w for w in rules_writes(played) if w.vault == vault and w.rules is not None and w.changed]
    lost = 0
    for number, write in enumerate(writes):
        sent = spans_of(sent_list(write))
        later = writes[number + 1 :]
        seen = [spans_of(w.rules[0]) for w in later if w.rules is not None]
        reads = [
            spans_of(listed((properties_of(s) or {}).get("networkAcls")))
            for s in played.wire.sent
            if s.reads_rules and s.vault == vault and s.asked_at > (write.done_at or NEVER) and properties_of(s)
        ]
        lost += any(sent - one for one in [*seen, *reads])
    return lost > 1


def _vault_records(played: Played) -> list[dict[str, Any]]:
    return [row for row in rows_of(played, "keystewardRecords") if "firewall" in row]
