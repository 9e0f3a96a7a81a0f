"""How a cluster's addresses change: announced first, in use beside the old ones, and then alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.atlas.reshaping import Reshaping
from simulator.wire import Refused
from tests.simulator.callers import Caller, a_caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.atlas.service import Atlas

NAME = "payments"
FIGURES = Reshaping(announced=(100, 100), change=(50, 50), creation=(50, 50), restart=(10, 10))


def _caller() -> Caller:
    caller = a_caller()
    caller.cloud.atlas.reshapings.figures = FIGURES
    return caller


def _row(caller: Caller, name: str = NAME) -> tuple[list[str], list[str]]:
    """Return what the list of addresses shows: in use, and announced."""
    rows = caller.project("/ipAddresses").json()["services"]["clusters"]
    (row,) = [one for one in rows if one["clusterName"] == name]
    return row["outbound"], row["futureOutbound"]


def _state(caller: Caller, name: str = NAME) -> object:
    return caller.clusters()[name]["stateName"]


CHANGES: dict[str, tuple[Callable[[Atlas, str], None], int, int]] = {
    "five nodes in place of three": (lambda atlas, p: atlas.scale_cluster(p, NAME, nodes=5), 3, 2),
    "a tier with local disks": (lambda atlas, p: atlas.scale_cluster(p, NAME, tier="M40_NVME"), 0, 3),
    "another tier": (lambda atlas, p: atlas.scale_cluster(p, NAME, tier="M50"), 3, 0),
    "two shards and config servers": (lambda atlas, p: atlas.shard_cluster(p, NAME), 3, 6),
    "three shards": (lambda atlas, p: atlas.shard_cluster(p, NAME, 3), 3, 9),
    "another region": (lambda atlas, p: atlas.move_cluster(p, NAME, "EUROPE_NORTH"), 0, 3),
}
"""The order, how many of the three addresses stay, and how many come."""


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES.keys())
def test_new_addresses_are_announced_used_beside_the_old_ones_and_then_alone(
    case: tuple[Callable[[Atlas, str], None], int, int],
) -> None:
    order, stay, come = case
    caller = _caller()
    before, _ = _row(caller)
    order(caller.cloud.atlas, caller.world.project_id)
    used, announced = _row(caller)
    assert (used, len(announced), _state(caller)) == (before, come, "IDLE")
    caller.cloud.clock.advance(100)
    both, none = _row(caller)
    assert (both, none, _state(caller)) == (before + announced, [], "UPDATING")
    caller.cloud.clock.advance(50)
    after, none = _row(caller)

    assert (after, none, _state(caller)) == (before[:stay] + announced, [], "IDLE")


def test_the_clusters_document_follows_once_the_change_has_ended() -> None:
    caller = _caller()
    atlas, project_id = caller.cloud.atlas, caller.world.project_id
    atlas.shard_cluster(project_id, NAME, 2)
    atlas.scale_cluster(project_id, "ledger", tier="M50", nodes=5)
    atlas.move_cluster(project_id, "search", "EUROPE_NORTH")
    caller.cloud.clock.advance(150)
    rows = caller.clusters()

    def region(name: str) -> dict[str, object]:
        found: dict[str, object] = rows[name]["replicationSpecs"][0]["regionConfigs"][0]  # type: ignore[index]
        return found

    specs = region("ledger")["electableSpecs"]
    assert (rows[NAME]["clusterType"], len(rows[NAME]["replicationSpecs"])) == ("SHARDED", 2)  # type: ignore[arg-type]
    assert (specs["instanceSize"], specs["nodeCount"]) == ("M50", 5)  # type: ignore[index]
    assert region("search")["regionName"] == "EUROPE_NORTH"


def test_fewer_nodes_give_their_addresses_back() -> None:
    caller = _caller()
    caller.cloud.atlas.scale_cluster(caller.world.project_id, NAME, nodes=5)
    caller.cloud.clock.advance(150)
    five, _ = _row(caller)
    caller.cloud.atlas.scale_cluster(caller.world.project_id, NAME, nodes=3)
    assert _row(caller)[1] == []
    caller.cloud.clock.advance(150)

    assert (len(five), _row(caller)[0]) == (5, five[:3])


def test_a_deleted_cluster_keeps_nothing_in_the_list_whatever_was_announced() -> None:
    caller = _caller()
    caller.cloud.atlas.shard_cluster(caller.world.project_id, NAME)
    caller.cloud.atlas.remove_cluster(caller.world.project_id, NAME)
    events = len(caller.cloud.atlas.project(caller.world.project_id).events)
    caller.cloud.clock.advance(1000)
    names = [row["clusterName"] for row in caller.project("/ipAddresses").json()["services"]["clusters"]]

    assert NAME not in names
    assert len(caller.cloud.atlas.project(caller.world.project_id).events) == events


def test_a_new_cluster_is_creating_first_announces_its_addresses_and_takes_the_projects_key() -> None:
    caller = _caller()
    caller.cloud.atlas.add_cluster(caller.world.project_id, "new", kind="SHARDED", creating=True)
    used, announced = _row(caller, "new")
    assert (used, len(announced), _state(caller, "new")) == ([], 9, "CREATING")
    caller.cloud.clock.advance(100)
    assert (_row(caller, "new"), _state(caller, "new")) == ((announced, []), "CREATING")
    caller.cloud.clock.advance(50)

    assert _state(caller, "new") == "IDLE"
    assert caller.cloud.atlas.settled(caller.world.project_id)
    assert caller.cloud.atlas.cluster(caller.world.project_id, "new").key_identifier == caller.world.identifier


def test_a_change_waits_for_a_cluster_that_is_being_changed_or_paused() -> None:
    caller = _caller()
    atlas, project_id = caller.cloud.atlas, caller.world.project_id
    atlas.shard_cluster(project_id, NAME)
    atlas.pause_cluster(project_id, NAME)
    caller.cloud.clock.advance(600)
    assert (_state(caller), len(_row(caller)[1])) == ("IDLE", 6)
    atlas.resume_cluster(project_id, NAME)
    caller.cloud.clock.advance(600)

    assert (_state(caller), len(_row(caller)[0]), _row(caller)[1]) == ("IDLE", 9, [])


@pytest.mark.parametrize(
    ("order", "error", "says"),
    [
        (lambda atlas, p: atlas.shard_cluster(p, NAME), ValueError, "announced"),
        (lambda atlas, p: atlas.shard_cluster(p, "ledger", 1), ValueError, "only added"),
        (lambda atlas, p: (atlas.pause_cluster(p, "ledger"), atlas.shard_cluster(p, "ledger")), Refused, "PAUSED"),
        (lambda atlas, p: (atlas.restart_cluster(p, "search"), atlas.restart_cluster(p, "search")), ValueError, "REPA"),
        (lambda atlas, p: atlas.scale_cluster(p, "nobody", nodes=5), KeyError, "nobody"),
    ],
    ids=["one change too many", "no more shards", "a paused cluster", "a cluster that restarts", "an unknown cluster"],
)
def test_a_change_that_cannot_be_is_refused(
    order: Callable[[Atlas, str], object], error: type[Exception], says: str
) -> None:
    caller = _caller()
    caller.cloud.atlas.shard_cluster(caller.world.project_id, NAME)

    with pytest.raises(error, match=says):
        order(caller.cloud.atlas, caller.world.project_id)


def test_a_list_can_be_shown_without_the_addresses_that_are_there() -> None:
    caller = _caller()
    cluster = caller.cloud.atlas.cluster(caller.world.project_id, NAME)
    before = list(cluster.outbound)
    cluster.lists_addresses = False

    assert (_row(caller), cluster.outbound) == (([], []), before)


def test_the_control_plane_grows_shrinks_and_can_be_shown_wrongly() -> None:
    caller = _caller()
    plane = caller.cloud.atlas.control_plane

    def shown() -> dict[str, dict[str, list[str]]]:
        answer = caller.atlas("/unauth/controlPlaneIPAddresses", version="2023-11-15", headers={"authorization": ""})
        listed: dict[str, dict[str, list[str]]] = answer.json()["outbound"]
        return listed

    before = plane.outbound
    (drawn,) = plane.grow()
    plane.grow("gcp", "europe-west1", ["20.7.7.7/32"])
    assert shown()["azure"]["eastus"][-1] == drawn
    assert shown()["gcp"]["europe-west1"] == ["20.7.7.7/32"]
    assert set(plane.outbound) == {*before, drawn, "20.7.7.7/32"}
    plane.shrink([drawn])
    assert drawn not in plane.outbound
    plane.show({"azure": {}})
    assert (shown(), len(plane.outbound)) == ({"azure": {}}, len(before) + 1)
    plane.show(None)
    assert "gcp" in shown()


def test_the_control_planes_list_has_a_gateway_of_another_service() -> None:
    caller = _caller()
    document = caller.atlas("/unauth/controlPlaneIPAddresses", version="2023-11-15").json()
    (gateway,) = document["gateways"]
    addresses = [
        text for regions in gateway["ips"]["outbound"].values() for listed in regions.values() for text in listed
    ]

    assert addresses
    assert not set(addresses) & set(caller.cloud.atlas.control_plane.outbound)
