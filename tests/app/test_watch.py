"""The watch in its host: a lost event is repaired within its minute, for one request a key."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.app.conftest import host_with
from tests.app.stage import KEY, App, Cloud, Project
from tests.devhost.processes import ROOT, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.conftest import Accounts

pytestmark = pytest.mark.host

WATCHED = tuple(f"{number:024x}" for number in range(0xC01, 0xC04))
SHARED, ALONE = "kv-watch-shared", "kv-watch-alone"


@pytest.fixture(scope="module")
def watched(cloud: Cloud) -> tuple[Project, ...]:
    """Two projects on one key, and one with a key of its own."""
    vaults = (SHARED, SHARED, ALONE)
    found = tuple(Project(cloud, one, vault, ("one",)) for one, vault in zip(WATCHED, vaults, strict=True))
    cloud.ask("POST", "/world", {"vaults": [{"name": SHARED}, {"name": ALONE}]})
    firsts = {vault: found[n].new_version(event=False) for n, vault in enumerate(vaults) if n != 1}
    for one in found:
        one.first = firsts[one.vault]
    bodies = [
        {"id": one.id, "name": one.vault, "keyIdentifier": one.first, "clusters": [{"name": "one"}]} for one in found
    ]
    cloud.ask("POST", "/world", {"projects": bodies})
    return found


@pytest.fixture(scope="module")
def watching(good_settings: dict[str, str], accounts: Accounts, watched: tuple[Project, ...]) -> Iterator[App]:
    """An app that no event reaches, and that has seen its projects once."""
    settings = {**good_settings, "AzureWebJobsStorage": accounts["watch"].connection_string}
    settings["ATLAS_PROJECT_IDS"] = ",".join(one.id for one in watched)
    with host_with(ROOT, settings) as running:
        running.run_timer()
        eventually(lambda: all(running.summary(one)["newestVersion"] for one in WATCHED))
        yield running


class Reads:
    """What the app asks of the vaults of these tests from now on; Atlas's own reads are not counted."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._since = cloud.ask("GET", "/requests")["next"]

    @property
    def paths(self) -> Counter[tuple[str, str]]:
        """How often each path was asked for, by vault."""
        found = self._cloud.ask("GET", f"/requests?since={self._since}")["requests"]
        hosts = ((one["host"].partition(".")[0], one) for one in found if one["sender"] == "app")
        return Counter((vault, one["path"]) for vault, one in hosts if vault in {SHARED, ALONE})

    def of(self, vault: str) -> int:
        return sum(count for (one, _), count in self.paths.items() if one == vault)


def watch(app: App) -> None:
    assert app.call("POST", "/admin/functions/watch_keys", {"input": ""}).status == 202


def test_a_quiet_watch_costs_one_request_a_key_and_leads_to_no_look(
    watching: App, watched: tuple[Project, ...], cloud: Cloud
) -> None:
    looks = len(cloud.requests(watched[2].id))
    reads = Reads(cloud)
    watch(watching)
    eventually(lambda: reads.of(SHARED) and reads.of(ALONE))
    # Timers of one name run one after the other: once a second watch has read, the first has hinted what it would.
    watch(watching)
    eventually(lambda: reads.paths.total() >= 4)
    assert reads.paths == {(vault, f"/keys/{KEY}/"): 2 for vault in (SHARED, ALONE)}
    assert watching.call("POST", f"/api/projects/{watched[0].id}/reconcile?wait=25", {}).status == 200
    assert len(cloud.requests(watched[2].id)) == looks


def test_a_lost_event_is_repaired_by_the_watch_for_every_project_on_the_key(
    watching: App, watched: tuple[Project, ...], cloud: Cloud
) -> None:
    target = watched[0].new_version(event=False)
    reads = Reads(cloud)
    watch(watching)
    for one in watched[:2]:
        eventually(lambda one=one: one.in_use == target)  # type: ignore[misc] # bound at once
    assert [len(cloud.pushes(one.id)) for one in watched] == [1, 1, 0]
    assert reads.of(ALONE) == 1, "the other key: by the watch, and by no look"
    eventually(lambda: "watchKeys:newestIsAnother" in watching.host.log())


def test_a_disabled_version_is_noticed_though_no_event_tells_of_it(
    watching: App, watched: tuple[Project, ...], cloud: Cloud
) -> None:
    alone = watched[2]
    cloud.ask("PATCH", f"/vaults/{ALONE}/keys/{KEY}/versions/{alone.first.rpartition('/')[2]}", {"enabled": False})
    before = watching.summary(alone.id)["observedAt"]
    watch(watching)
    eventually(lambda: watching.summary(alone.id)["observedAt"] > before)
    eventually(lambda: "watchKeys:newestChanged" in watching.host.log())
    assert cloud.pushes(alone.id) == []


def test_the_daily_timer_leads_to_a_look_at_every_project(watching: App) -> None:
    before = {one: watching.summary(one)["observedAt"] for one in WATCHED}
    assert watching.call("POST", "/admin/functions/daily_report", {"input": ""}).status == 202
    eventually(lambda: all(watching.summary(one)["observedAt"] > before[one] for one in WATCHED))
