"""``watch_keys``: it costs next to nothing, and it makes good what a lost event leaves behind."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.harness.evidence import projects_recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played

STEADY_SECONDS = 600.0
UNAUTHORIZED = 401


def watching_costs_one_request_a_key(played: Played) -> Iterator[str]:
    """At the end, where the newest version is in use and the vault answers, each watch has sent one request."""
    world = played.world
    in_use = {(world.cloud.atlas.projects[p].key_identifier or "").rpartition("/")[2] for p in world.project_ids}
    steady = world.vault.posture == "open" and in_use == {world.key.newest.version}
    if not steady:
        return
    # The key itself changes no more since it is quiet; what Atlas has may follow later, when a window opens.
    changed_at = max(held[-1][0] for held in played.identifiers.values())
    since = max(played.ended_at, changed_at + 2 * STEADY_SECONDS) - STEADY_SECONDS
    began = {
        run.number: run
        for run in played.host.runs
        if run.text == "watch_keys" and run.began_at > since and run.ended_at is not None
    }
    asked = Counter(
        sent.run.number
        for sent in played.wire.sent
        if sent.run.number in began and sent.response is not None and sent.response.status != UNAUTHORIZED
    )
    keys = 1 if any(row.get("identifier") for row in projects_recorded(played)) else 0
    for number, run in began.items():
        if asked[number] != keys and run.error is None:
            yield f"{run}: sent {asked[number]} requests to watch {keys} key"


def a_lost_event_is_repaired_by_the_watch(played: Played) -> Iterator[str]:
    """Without the timer of reconciles, and with events lost, the app comes to know of the newest version."""
    history, world = played.history, played.world
    if history.timers or not history.watches or not world.app_reads_key:
        return
    if played.host.poisoned:
        return  # the host gave a message up, and the next timer of reconciles repairs that
    for project_id, (known, newest) in played.newest_known.items():
        if project_id in world.once_hidden or world.cloud.atlas.projects[project_id].block is None:
            continue
        if known != newest:
            yield f"project {project_id[-2:]}: the newest version known is {known}, not {newest}"
