"""What a look at a vault's firewall costs, and what becomes of reads that fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keysteward.clients.atlas.client import EncryptionRead
from keysteward.errors import LeaseLostError, RefusedError, TryLaterError
from keysteward.facts import EncryptionAtRest, Unknown
from keysteward.network_facts import (
    NOT_ASKED,
    ControlPlaneRange,
    Membership,
    NetworkAcl,
    ProjectAddresses,
    VaultNetworkFacts,
)
from keysteward.observe.network import MOST_AT_ONCE, NetworkObserver, RecordedProject
from keysteward.observe.permit import NoPermitNeeded
from keysteward.vocabulary import Cluster, NodeAddresses, VaultPlace
from tests.builders import NOW, a_cluster, encryption
from tests.hand_clock import HandClock
from tests.resource_manager_answers import PLACE

PROJECTS = [f"{number:024x}" for number in range(3)]
RECORDED = [RecordedProject(p, counts=True, why="as read at 05:45 UTC") for p in PROJECTS]
ACL = NetworkAcl("Enabled", "Deny", (), {"defaultAction": "Deny", "ipRules": []}, None, None, NOW)
CONTROL_PLANE = (ControlPlaneRange("azure/westeurope", "203.0.113.7"),)


class Outside:
    """Atlas and Resource Manager, with one cluster a project; a call named in *broken* raises what stands there."""

    def __init__(self, **broken: Exception) -> None:
        self.broken = broken
        self.calls: list[str] = []
        self.blocks: dict[str, EncryptionAtRest] = {}
        self.under_way, self.most_under_way = 0, 0

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if name in self.broken:
            raise self.broken[name]

    async def node_addresses(self, project_id: str) -> list[NodeAddresses]:
        await self._call("addresses")
        return [NodeAddresses(f"c-{project_id[-1]}", ("203.0.113.8",), ())]

    async def control_plane_addresses(self) -> tuple[ControlPlaneRange, ...]:
        await self._call("controlPlane")
        return CONTROL_PLANE

    async def encryption_at_rest(self, project_id: str) -> EncryptionRead:
        await self._call("encryption")
        return EncryptionRead(self.blocks.get(project_id, encryption()), {})

    async def clusters(self, project_id: str) -> list[Cluster]:
        await self._call("clusters")
        return [a_cluster(f"c-{project_id[-1]}")]

    async def vault_network(self, place: VaultPlace) -> NetworkAcl:
        assert place == PLACE
        await self._call("acl")
        return ACL


class Permits:
    """Counts how often it was asked; no two may ask at once, and from the one after *last* on the lease is lost."""

    def __init__(self, last: int = 1000) -> None:
        self.asked, self.last, self.busy = 0, last, False

    async def ensure(self) -> None:
        assert not self.busy, "two callers would renew one lease at once"
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        self.asked += 1
        if self.asked > self.last:
            raise LeaseLostError("leaseLost", "another instance has it")


def observer(outside: Outside) -> NetworkObserver:
    return NetworkObserver(outside, outside, HandClock())


async def lightly(outside: Outside, recorded: Sequence[RecordedProject] = RECORDED) -> VaultNetworkFacts:
    return await observer(outside).observe_lightly(PLACE, recorded, NoPermitNeeded())


async def whole(outside: Outside, recorded: Sequence[RecordedProject] = RECORDED) -> VaultNetworkFacts:
    return await observer(outside).observe(PLACE, recorded, NoPermitNeeded())


@pytest.mark.parametrize("projects", [0, 1, 3])
async def test_a_light_look_costs_a_request_a_project_and_two(projects: int) -> None:
    outside = Outside()
    facts = await lightly(outside, RECORDED[:projects])
    assert Counter(outside.calls) == Counter({"addresses": projects, "acl": 1, "controlPlane": 1})
    assert (facts.acl, facts.control_plane) == (ACL, CONTROL_PLANE)
    assert [p.project_id for p in facts.projects] == PROJECTS[:projects]


@pytest.mark.parametrize("counts", [True, False, None])
async def test_a_light_look_takes_from_records_which_projects_count_and_claims_to_have_read_no_block(
    counts: bool | None,
) -> None:
    facts = await lightly(Outside(), [RecordedProject(PROJECTS[0], counts, "as read at 05:45 UTC")])
    read = [NodeAddresses("c-0", ("203.0.113.8",), ())]
    expected = ProjectAddresses(PROJECTS[0], counts, "as read at 05:45 UTC", NOT_ASKED, read, Membership.NOT_READ)
    assert facts.projects == (expected,)


async def test_a_whole_look_costs_two_requests_a_project_more() -> None:
    outside = Outside()
    facts = await whole(outside)
    assert Counter(outside.calls) == Counter(addresses=3, acl=1, controlPlane=1, encryption=3, clusters=3)
    for number, project in enumerate(facts.projects):
        assert (project.counts, project.membership) == (True, Membership.COUNTS)
        assert project.clusters == [a_cluster(f"c-{number}")]
        assert project.addresses == [NodeAddresses(f"c-{number}", ("203.0.113.8",), ())]


async def test_completing_a_look_reads_nothing_of_it_again() -> None:
    outside = Outside()
    before = await lightly(outside)
    outside.calls.clear()
    after = await observer(outside).complete(PLACE, before, NoPermitNeeded())
    assert Counter(outside.calls) == Counter(encryption=3, clusters=3)
    assert replace(after, projects=()) == replace(before, projects=())
    assert [p.addresses for p in after.projects] == [p.addresses for p in before.projects]


@pytest.mark.parametrize(
    ("block", "found", "counts"),
    [
        pytest.param(encryption(), Membership.COUNTS, True, id="the block names this vault"),
        pytest.param(encryption(enabled=False), Membership.OFF, False, id="encryption is off"),
        pytest.param(
            encryption("https://kv-other.vault.azure.net/keys/k/" + "1" * 32, vault_name="kv-other"),
            Membership.ELSEWHERE,
            False,
            id="the block names another vault",
        ),
        pytest.param(encryption(vault_name="kv-other"), Membership.DISAGREES, False, id="the block names two vaults"),
    ],
)
async def test_what_is_read_of_a_block_goes_before_what_records_say(
    block: EncryptionAtRest, found: Membership, counts: bool
) -> None:
    outside = Outside()
    outside.blocks[PROJECTS[1]] = block
    facts = await whole(outside, [replace(r, counts=not counts) for r in RECORDED])
    assert (facts.projects[1].membership, facts.projects[1].counts) == (found, counts)
    assert [facts.projects[n].membership for n in (0, 2)] == [Membership.COUNTS] * 2


FAILURES: dict[str, tuple[Exception, Unknown]] = {
    "a busy service": (TryLaterError("HTTP_503", "503", 7.0), Unknown("HTTP_503", "503", 7.0)),
    "a refusal": (
        RefusedError("AuthorizationFailed", "403", 403),
        Unknown("AuthorizationFailed", "403", passing=False),
    ),
}


@pytest.mark.parametrize(("error", "unknown"), FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("call", ["acl", "controlPlane", "addresses", "clusters", "encryption"])
async def test_a_read_that_fails_is_an_unknown_fact_and_spoils_no_other(
    call: str, error: Exception, unknown: Unknown
) -> None:
    facts = await whole(Outside(**{call: error}))
    assert (facts.acl == ACL) is (call != "acl")
    assert (facts.control_plane == CONTROL_PLANE) is (call != "controlPlane")
    read: dict[str, Any] = {"acl": facts.acl, "controlPlane": facts.control_plane}
    for project in facts.projects:
        read |= {"addresses": project.addresses, "clusters": project.clusters}
        assert isinstance(project.addresses, Unknown) is (call == "addresses")
        assert isinstance(project.clusters, Unknown) is (call == "clusters")
        is_read = project.membership is Membership.COUNTS
        assert is_read is (call != "encryption")
        assert (project.counts is None) is (call == "encryption")
    if call in read:
        assert read[call] == unknown
    else:
        assert facts.projects[0].why == f"{unknown.code}: {unknown.why}"


async def test_no_more_than_a_bounded_number_of_reads_is_under_way_at_once() -> None:
    outside = Outside()
    many = [RecordedProject(f"{number:024x}", counts=True, why="") for number in range(3 * MOST_AT_ONCE)]
    await whole(outside, many)
    assert outside.most_under_way == MOST_AT_ONCE
    assert len(outside.calls) == 9 * MOST_AT_ONCE + 2


async def test_the_lease_is_asked_before_every_request_by_one_at_a_time() -> None:
    outside, permits = Outside(), Permits()
    await observer(outside).observe(PLACE, RECORDED, permits)
    assert permits.asked == len(outside.calls) == 11


@pytest.mark.parametrize("last", [0, 4, 8])
async def test_nothing_is_read_any_more_once_the_lease_is_lost(last: int) -> None:
    outside = Outside()
    with pytest.raises(LeaseLostError):
        await observer(outside).observe(PLACE, RECORDED, Permits(last))
    for _ in range(50):
        await asyncio.sleep(0)  # reads that were begun beside the one that found out
    assert len(outside.calls) == last


async def test_the_time_of_a_look_is_from_before_its_first_read() -> None:
    clock = HandClock()

    class Slow(Outside):
        async def vault_network(self, place: VaultPlace) -> NetworkAcl:
            clock.seconds += 5
            return await super().vault_network(place)

    outside, begun_at = Slow(), clock.now()
    facts = await NetworkObserver(outside, outside, clock).observe_lightly(PLACE, RECORDED, NoPermitNeeded())
    assert facts.observed_at == begun_at
    assert clock.now() - begun_at == timedelta(seconds=5)
