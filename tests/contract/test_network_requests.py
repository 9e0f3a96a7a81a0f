"""What the firewall's part sends, and what it makes of the answers: the real clients against the simulated cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from keysteward.act.write_firewall import FirewallWriter, NothingToWrite, NotWritten, Written
from keysteward.clients.atlas.auth import ServiceAccountAuth
from keysteward.clients.atlas.client import AtlasClient
from keysteward.clients.budget import Budgets
from keysteward.clients.read_only import make_http
from keysteward.clients.resource_manager import ResourceManagerClient
from keysteward.facts import Unknown
from keysteward.network_facts import Membership, NetworkAcl, VaultNetworkFacts
from keysteward.observe.network import NetworkObserver, RecordedProject
from keysteward.observe.permit import NoPermitNeeded
from keysteward.vocabulary import KeyIdentifier, VaultPlace
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.worlds import OFFICE, PRESETS, PROJECT_ID
from tests.contract.vendor_specs import check_exchange, needs_vendor_specs
from tests.harness.wire import AtlasTransport, Credential

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from simulator.wire import Request, Response

BASE = "https://cloud.mongodb.com"
NEW = "203.0.113.200/32"
RECORDED = [RecordedProject(PROJECT_ID, counts=True, why="as read before")]


class Line:
    """From the product's network clients to a simulated cloud; keeps every exchange but those that only sign in."""

    def __init__(self, preset: str = "filtering") -> None:
        self.cloud = Cloud(SimulatedClock(), 0)
        self.world = PRESETS[preset](self.cloud)
        self.exchanges: list[tuple[Request, Response]] = []
        transport = AtlasTransport(cast("Any", self))
        budgets = Budgets(self)
        auth = ServiceAccountAuth(BASE, self.world.client_id, self.world.client_secret, self)
        http = make_http(auth, read_only=False, transport=transport)
        credential = Credential(self.cloud, self._no_gate)
        self.manager = ResourceManagerClient(
            make_http(None, read_only=False, transport=transport), credential, budgets, self
        )
        self.observer = NetworkObserver(AtlasClient(http, BASE, budgets, self), self.manager, self)
        self.place = VaultPlace.parse(KeyIdentifier.parse(self.world.identifier), *self._place_that_atlas_names())

    async def _no_gate(self, _name: str) -> None:
        return

    def _place_that_atlas_names(self) -> tuple[str, str]:
        parts = self.cloud.key_vault.vault(self.world.vault).state.resource_id.split("/")
        return parts[2], parts[4]

    async def call(self, request: Request) -> Response:
        answer = self.cloud.handle(request)
        if request.path != "/api/oauth/token":
            self.exchanges.append((request, answer))
        return answer

    def now(self) -> datetime:
        return self.cloud.clock.now()

    def monotonic(self) -> float:
        return self.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing here sleeps, not even {seconds} s")

    async def ensure(self) -> None:
        return

    async def renew(self) -> None:
        return

    @property
    def read_at(self) -> datetime:
        return self.now()

    async def is_pressed(self) -> bool:
        return False

    async def intend(self, _intent: object) -> None:
        return

    async def write(self, add: Sequence[str], remove: Sequence[str] = ()) -> Written | NothingToWrite | NotWritten:
        whole = cast("Any", self)
        return await FirewallWriter(self.manager, self, lambda size: "5" * (2 * size)).write(
            self.place,
            plan_again=lambda acl: (*(rule for rule in acl.ip_rules if rule not in remove), *add),
            lease=whole,
            stop_button=whole,
            intend=self.intend,
            answered=self.intend,
        )

    async def look(self) -> VaultNetworkFacts:
        return await self.observer.observe(self.place, RECORDED, NoPermitNeeded())

    @property
    def rules(self) -> list[str]:
        return list(self.cloud.key_vault.vault(self.world.vault).state.network.ip_rules)


async def test_a_filtering_vault_is_seen_with_everything_that_needs_it() -> None:
    line = Line()
    facts = await line.look()
    assert isinstance(facts.acl, NetworkAcl)
    assert (facts.acl.public_access, facts.acl.default_action) == ("Enabled", "Deny")
    assert list(facts.acl.ip_rules) == line.rules
    assert set(facts.acl.raw or {}) == {"bypass", "defaultAction", "ipRules", "virtualNetworkRules"}
    (project,) = facts.projects
    assert project.membership is Membership.COUNTS
    assert not isinstance(project.clusters, Unknown)
    assert {c.name for c in project.clusters} == set(line.world.clusters)
    assert not isinstance(project.addresses, Unknown)
    assert {a.cluster for a in project.addresses} == set(line.world.clusters)
    assert not isinstance(facts.control_plane, Unknown)
    assert {r.text for r in facts.control_plane} == set(line.cloud.atlas.control_plane.outbound)


async def test_a_vault_that_never_had_rules_is_seen_as_one() -> None:
    facts = await Line("healthy").look()
    assert isinstance(facts.acl, NetworkAcl)
    assert (facts.acl.raw, facts.acl.ip_rules) == (None, ())


async def test_a_rule_is_added_and_another_removed_and_all_else_stays() -> None:
    line = Line()
    before = line.rules
    outcome = await line.write([NEW], [before[-1]])
    assert isinstance(outcome, Written)
    assert line.rules == [*before[:-1], NEW]
    assert isinstance(outcome.after, NetworkAcl)
    assert list(outcome.after.ip_rules) == line.rules
    assert [request.method for request, _ in line.exchanges] == ["GET", "PATCH", "GET"]
    assert outcome.correlation_ids[-1] == line.exchanges[1][1].headers["x-ms-correlation-request-id"]


async def test_nothing_is_sent_where_nothing_differs() -> None:
    line = Line()
    assert isinstance(await line.write([]), NothingToWrite)
    assert [request.method for request, _ in line.exchanges] == ["GET"]


async def test_a_private_address_fails_the_whole_write_and_is_named() -> None:
    line = Line()
    before = line.rules
    outcome = await line.write([NEW, "10.1.0.0/16"])
    assert isinstance(outcome, NotWritten)
    assert (outcome.code, outcome.permanent) == ("BadRequest", True)
    assert outcome.message.endswith("it refuses the rule 10.1.0.0/16")
    assert line.rules == before


async def test_a_policy_that_reverts_within_the_answer_shows_in_answer_and_read() -> None:
    line = Line()
    line.cloud.vault_writers.revert(line.world.vault, after_seconds=None, ip_rules=[OFFICE])
    outcome = await line.write([NEW])
    assert isinstance(outcome, Written)
    for shown in (outcome.answer, outcome.after):
        assert isinstance(shown, NetworkAcl)
        assert shown.ip_rules == (OFFICE,)


@needs_vendor_specs
@pytest.mark.parametrize("preset", ["filtering", "healthy", "government", "china"])
async def test_every_request_is_as_the_vendors_specify(preset: str) -> None:
    line = Line(preset)
    await line.look()
    if preset == "filtering":
        await line.write([NEW])
    violations = [
        f"{request.method} {request.path}: {violation}"
        for request, response in line.exchanges
        for violation in check_exchange(request, response)
    ]
    assert len(line.exchanges) == (8 if preset == "filtering" else 5)
    assert {response.status for _, response in line.exchanges} == {200}
    assert not violations, "\n".join(violations)
