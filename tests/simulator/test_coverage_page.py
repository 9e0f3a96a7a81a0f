"""docs/simulator.md says what is simulated; it is made from the code and must not be older."""

from __future__ import annotations

from pathlib import Path

from simulator.atlas.errors import REFUSALS
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.control import ROUTES
from simulator.coverage import page
from simulator.wire import Request

DOCUMENT = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_the_page_is_not_stale() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == page(), "run: python -m simulator.coverage > docs/simulator.md"


def test_the_page_names_every_route_and_every_error_code() -> None:
    cloud = Cloud(SimulatedClock())
    places = [f"{one.method} {one.template}" for service in cloud.services for one in service.router.routes]
    places += [f"{one.method} {one.template}" for one in ROUTES]
    text = page()

    assert [place for place in places if f"`{place}`" not in text] == []
    assert [code for code in REFUSALS if f"`{code}`" not in text] == []


def test_an_unknown_host_or_route_is_said_not_to_be_simulated() -> None:
    cloud = Cloud(SimulatedClock())
    for request in (
        Request("GET", "management.azure.com", "/subscriptions"),
        Request("GET", "cloud.mongodb.com", "/api/atlas/v2/orgs"),
        Request("DELETE", "cloud.mongodb.com", "/api/atlas/v2/groups"),
    ):
        answer = cloud.handle(request)
        assert answer.status == 501
        assert f"{request.method} {request.host}{request.path} is not simulated".encode() in answer.body
        assert cloud.record[-1].route == "-"
