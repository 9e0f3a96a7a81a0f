"""Whether Atlas's control plane can see the vault: a decision table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from keysteward.access_facts import NetworkAlert, Presence, PrivateEndpoint
from keysteward.decide.revocation.reachability import Reach, Way, judge_reach
from keysteward.network_facts import ControlPlaneRange
from tests.builders import NOW
from tests.revocation.project import LOST, OPEN, PLANE, acl, way

ALERT = NetworkAlert(NOW - timedelta(hours=3))
WEST, NORTH = PrivateEndpoint("EUROPE_WEST", "ACTIVE"), PrivateEndpoint("EUROPE_NORTH", "ACTIVE")
TWO = frozenset({"EUROPE_WEST", "EUROPE_NORTH"})
DISABLED = acl("52.1.1.1", "3.1.1.1", public_access="Disabled")


def _reach(open_since: datetime | None = None, vault: Any = Presence.THERE, **changes: Any) -> Reach:
    return judge_reach(way(**changes), vault, open_since, NOW)


def _plane(*texts: str) -> tuple[ControlPlaneRange, ...]:
    return tuple(ControlPlaneRange("azure/westeurope", text) for text in texts)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, "blocked", id="rules let in others only"),
        pytest.param({"acl": OPEN}, "open", id="rules let in the whole control plane"),
        pytest.param({"acl": acl("52.1.1.1")}, "partly", id="rules let in a part of it"),
        pytest.param({"acl": acl("52.1.1.0/24", "3.0.0.0/8")}, "open", id="wider rules"),
        pytest.param(
            {"acl": acl("52.1.1.0/25"), "control_plane": _plane("52.1.1.0/24")}, "partly", id="a part of a range"
        ),
        pytest.param({"acl": acl()}, "blocked", id="no rule at all"),
        pytest.param({"acl": acl(), "control_plane": LOST}, "blocked", id="no rule at all, whatever the list"),
        pytest.param({"control_plane": LOST}, "unknown", id="the list could not be read"),
        pytest.param({"control_plane": ()}, "unknown", id="the list is empty"),
        pytest.param(
            {"control_plane": LOST, "recorded_control_plane": PLANE}, "blocked", id="the last list serves for no"
        ),
        pytest.param(
            {"control_plane": LOST, "recorded_control_plane": PLANE, "acl": OPEN}, "unknown", id="and not for open"
        ),
        pytest.param(
            {"control_plane": LOST, "recorded_control_plane": PLANE, "acl": acl("3.1.1.1")},
            "unknown",
            id="and not for partly",
        ),
        pytest.param(
            {"control_plane": _plane("52.1.1.1", "2603:1020::1"), "acl": acl("52.1.1.1")},
            "open",
            id="IPv6 never counts",
        ),
        pytest.param(
            {"control_plane": _plane("9.9.9.9", "no address")},
            "unknown",
            id="an address that cannot be read may get in",
        ),
        pytest.param({"control_plane": _plane("2603:1020::1")}, "unknown", id="nothing but IPv6"),
        pytest.param({"acl": acl("20.1.1.1", "odd")}, "unknown", id="a rule that cannot be read may let it in"),
        pytest.param({"acl": acl(default_action="Allow")}, "open", id="the default action is Allow"),
        pytest.param({"acl": acl(default_action=None)}, "unknown", id="the default action is not told"),
        pytest.param({"acl": acl(raw=None, default_action=None)}, "open", id="no network rules at all"),
        pytest.param({"acl": acl("20.1.1.1", public_access=None)}, "blocked", id="public access is on where not told"),
        pytest.param({"acl": DISABLED}, "blocked", id="public access is disabled, whatever the rules"),
        pytest.param(
            {"acl": acl(raw=None, default_action=None, public_access="disabled")}, "blocked", id="in whatever case"
        ),
        pytest.param({"acl": acl(public_access="SecuredByPerimeter")}, "unknown", id="a perimeter"),
        pytest.param({"acl": DISABLED, "endpoints": (WEST,)}, "open", id="an active private endpoint"),
        pytest.param(
            {"acl": DISABLED, "endpoints": (WEST,), "regions": TWO}, "partly", id="a region without a private endpoint"
        ),
        pytest.param({"acl": DISABLED, "endpoints": (WEST, NORTH), "regions": TWO}, "open", id="one in each region"),
        pytest.param(
            {
                "acl": DISABLED,
                "endpoints": (WEST, PrivateEndpoint("EUROPE_NORTH", "PENDING_ACCEPTANCE")),
                "regions": TWO,
            },
            "partly",
            id="a private endpoint that waits for acceptance",
        ),
        pytest.param(
            {"acl": DISABLED, "endpoints": (PrivateEndpoint("EUROPE_WEST", "PENDING_RECREATION"),)},
            "blocked",
            id="none that is active",
        ),
        pytest.param({"acl": DISABLED, "endpoints": LOST}, "unknown", id="private endpoints could not be read"),
        pytest.param({"acl": acl(), "endpoints": LOST}, "unknown", id="no rule, but perhaps a private endpoint"),
        pytest.param(
            {"acl": acl("3.1.1.1"), "endpoints": LOST}, "unknown", id="partly by the rules, and perhaps all in private"
        ),
        pytest.param(
            {"acl": LOST, "endpoints": (WEST,), "regions": TWO},
            "unknown",
            id="partly in private, and perhaps all by rules",
        ),
        pytest.param({"acl": DISABLED, "endpoints": (WEST,), "regions": LOST}, "unknown", id="regions are not known"),
        pytest.param({"acl": OPEN, "endpoints": LOST}, "open", id="one open way is enough"),
        pytest.param({"vault": Presence.DELETED, "acl": OPEN}, "blocked", id="a deleted vault"),
        pytest.param({"vault": LOST, "acl": OPEN}, "open", id="the vault's presence does not matter otherwise"),
        pytest.param({"acl": LOST}, "unknown", id="unread network settings, and no alert"),
        pytest.param({"acl": LOST, "alert": LOST}, "unknown", id="unread network settings and alerts"),
        pytest.param({"acl": LOST, "alert": ALERT}, "blocked", id="unread network settings, and Atlas's own alert"),
        pytest.param(
            {"acl": LOST, "alert": ALERT, "endpoints": (WEST,)}, "open", id="a way that is seen open comes first"
        ),
        pytest.param({"alert": ALERT}, "blocked", id="blocked, and Atlas says so too"),
        pytest.param(
            {"acl": acl(public_access="SecuredByPerimeter"), "alert": ALERT}, "unknown", id="a perimeter stays unknown"
        ),
    ],
)
def test_what_the_control_plane_can_see(changes: dict[str, Any], expected: str) -> None:
    assert _reach(**changes).way == expected


MINUTES_30 = timedelta(minutes=30)


@pytest.mark.parametrize(
    ("network", "open_since", "expected"),
    [
        pytest.param(OPEN, None, "open", id="open for the first time: the alert may be a leftover"),
        pytest.param(OPEN, NOW - timedelta(minutes=29), "open", id="open for 29 minutes"),
        pytest.param(OPEN, NOW - MINUTES_30, "blocked", id="open for 30 minutes, and Atlas still cannot get in"),
        pytest.param(LOST, NOW - timedelta(minutes=29), "unknown", id="unread now, open 29 minutes ago"),
        pytest.param(LOST, NOW - MINUTES_30, "blocked", id="unread now, open 30 minutes ago"),
    ],
)
def test_an_alert_against_rules_that_are_open(network: Any, open_since: datetime | None, expected: str) -> None:
    found = _reach(open_since, acl=network, alert=ALERT)
    assert found.way == expected
    began = open_since if network is LOST else open_since or NOW
    assert found.changes_at == (began + MINUTES_30 if began and expected != "blocked" else None)


@pytest.mark.parametrize(
    ("changes", "remembered"),
    [
        pytest.param({"acl": OPEN}, NOW - MINUTES_30, id="while it is open"),
        pytest.param({"acl": OPEN, "alert": ALERT}, NOW - MINUTES_30, id="also against the alert"),
        pytest.param({"acl": LOST}, NOW - MINUTES_30, id="through what is unknown"),
        pytest.param({}, None, id="not once it is shut"),
    ],
)
def test_how_long_it_has_been_open_is_remembered(changes: dict[str, Any], remembered: datetime | None) -> None:
    assert _reach(NOW - MINUTES_30, **changes).open_since == remembered


@pytest.mark.parametrize("state", list(Way))
def test_every_verdict_says_what_it_rests_on(state: Way) -> None:
    worlds: dict[Way, dict[str, Any]] = {
        Way.OPEN: {"acl": OPEN},
        Way.PARTLY: {"acl": acl("3.1.1.1")},
        Way.BLOCKED: {},
        Way.UNKNOWN: {"control_plane": LOST},
    }
    found = _reach(**worlds[state])
    assert found.way is state
    assert found.evidence
