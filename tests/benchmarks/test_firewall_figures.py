"""The figures of the firewall's sync: what is counted, what the floor is, and which broken promises are told."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from benchmarks.address import AFTER, addition_of
from benchmarks.address import figure_of as address_figure
from benchmarks.critical_path import longest_chain
from benchmarks.stack import CloudCall
from benchmarks.storage_tap import StorageCall
from benchmarks.sync_requests import Sync
from benchmarks.sync_requests import figure_of as sync_figure
from benchmarks.world import announce, close, populate
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.recording import Exchange

VAULT = "kv-bench-001"
GROUP = "/api/atlas/v2/groups/{groupId}"
FIREWALL = "/subscriptions/{subscriptionId}/vaults/{vaultName}"
CONTROL_PLANE = "/api/atlas/v2/unauth/controlPlaneIPAddresses"
LIGHT = [("GET", f"{GROUP}/ipAddresses"), ("GET", CONTROL_PLANE), ("GET", FIREWALL)]
WHOLE = [*LIGHT, ("GET", f"{GROUP}/encryptionAtRest"), ("GET", f"{GROUP}/clusters")]
WRITE = [*WHOLE, ("GET", FIREWALL), ("PATCH", FIREWALL), ("GET", FIREWALL)]
LEASE = ["PUT /a/keystewardScopes(PartitionKey='vault:v')", "PUT /a/keystewardRecords(PartitionKey='vault')"]
LEDGER = "POST /a/keystewardLedger"


def _cloud(method: str, route: str, began: float = 0.0, seconds: float = 0.0, status: int = 200) -> CloudCall:
    service = "resourceManager" if route.startswith("/subscriptions") else "atlas"
    at = datetime(2026, 9, 1, tzinfo=UTC)
    exchange = Exchange(
        1, at, method, "h", route, route, {}, {}, None, status, None, "", changes=False, fault=None, service=service
    )
    return CloudCall(began, seconds, exchange)


def _storage(request: str, began: float = 0.0, seconds: float = 0.0, answer: str = "") -> StorageCall:
    return StorageCall(began, began + seconds, f"{request} HTTP/1.1\r\n\r\n".encode(), answer.encode())


def _sync(expects: str, calls: Sequence[tuple[str, str]], rows: Sequence[str] = LEASE) -> Sync:
    return Sync(1, expects, [_cloud(*call) for call in calls], [_storage(row) for row in rows])


HEALTHY = [_sync("steady", LIGHT), _sync("write", WRITE, [*LEASE, LEDGER]), _sync("unwanted", WHOLE)]


def test_a_steady_sync_at_its_bound_meets_the_goal_and_the_other_runs_are_told() -> None:
    figure = sync_figure(HEALTHY)
    assert (figure.ratio, figure.faults, figure.is_met) == (1.0, [], True)
    assert figure.raw["requests where nothing has changed (bound)"] == "P = 1: 3 (3)"
    assert figure.raw["requests where an address is new (bound)"] == "P = 1: 8 (8)"
    assert figure.raw["requests while a rule of ours is unwanted (bound)"] == "P = 1: 5 (5)"
    assert figure.raw["rows that it wrote"] == "1 x keystewardRecords, 1 x keystewardScopes"


def test_the_worst_steady_sync_counts_and_token_requests_do_not() -> None:
    with_token = _sync("steady", [*LIGHT, ("POST", "/api/oauth/token")])
    assert sync_figure([*HEALTHY, with_token]).ratio == 1.0
    worst = sync_figure([_sync("steady", [*LIGHT, LIGHT[0]]), *HEALTHY])
    assert worst.ratio == pytest.approx(4 / 3)
    assert not worst.is_met


@pytest.mark.parametrize(
    ("sync", "fault"),
    [
        pytest.param(
            _sync("steady", LIGHT[:2]),
            "steady, P = 1: only 2 requests of 3: it did not look at everything",
            id="a steady sync does not look at the firewall",
        ),
        pytest.param(
            _sync("steady", [*LIGHT[:2], ("PATCH", FIREWALL)]),
            "steady, P = 1: 1 writes to the vault",
            id="a steady sync writes to the vault",
        ),
        pytest.param(
            _sync("steady", LIGHT, [*LEASE, LEDGER]),
            "steady, P = 1: rows written to keystewardLedger",
            id="a steady sync writes to the ledger",
        ),
        pytest.param(
            _sync("write", [*LIGHT, *LIGHT, *WRITE[-2:]]),
            "write, P = 1: 0 reads of encryption and clusters, not 2",
            id="a write does not rest on encryption and clusters",
        ),
        pytest.param(
            _sync("write", [*WRITE, LIGHT[0]]), "write, P = 1: 9 requests of 8", id="a write costs more than it must"
        ),
        pytest.param(_sync("write", WRITE[:-2]), "write, P = 1: 0 writes to the vault", id="a new address has no rule"),
        pytest.param(
            _sync("unwanted", WRITE), "unwanted, P = 1: 1 writes to the vault", id="a rule leaves before its time"
        ),
    ],
)
def test_a_sync_has_failed_whatever_its_ratio_where(sync: Sync, fault: str) -> None:
    figure = sync_figure([*HEALTHY, sync])
    assert fault in figure.faults
    assert not figure.is_met


def _message(body: str) -> str:
    return f"<QueueMessage><MessageText>{base64.b64encode(body.encode()).decode()}</MessageText></QueueMessage>"


QUEUED = StorageCall(0.0, 0.1, f"POST /a/work/messages HTTP/1.1\r\n\r\n{_message(VAULT)}".encode(), b"")
QUEUED.answer = b"<MessageId>ours</MessageId>"
FETCHED = _storage("GET /a/work/messages?numofmessages=16", 2.0, 0.5, "<MessageId>ours</MessageId>")
SEEN = [
    _cloud("GET", f"{GROUP}/ipAddresses", 3.0, 0.25),
    _cloud("GET", f"{GROUP}/ipAddresses", 3.0, 0.5),
    _cloud("GET", CONTROL_PLANE, 3.25, 0.5),
    _cloud("GET", FIREWALL, 3.0, 0.25),
    _cloud("GET", f"{GROUP}/encryptionAtRest", 4.0, 0.75),
    _cloud("GET", f"{GROUP}/clusters", 4.0, 1.0),
    _cloud("GET", FIREWALL, 5.5, 0.25),
    _cloud("PATCH", FIREWALL, 6.5, 2.0),
    _cloud("GET", FIREWALL, 8.5, 4.0),
]


def test_an_addition_is_measured_from_its_fetched_message_to_the_write_over_the_longest_reads() -> None:
    found = addition_of([QUEUED, FETCHED], SEEN, VAULT)
    assert found.total == 6.5 - 2.5
    assert found.in_queue == pytest.approx(2.4)
    assert found.chain.seconds == 0.5 + 1.0 + 0.25
    assert found.chain.calls[1:] == ("clusters", "firewall, just before")
    assert found.ratio == pytest.approx(4.0 / 1.75)
    assert found.ratio_with_answer == pytest.approx(6.0 / 3.75)


def test_what_is_ours_is_told_by_what_it_is_for_and_adds_up() -> None:
    found = addition_of([QUEUED, FETCHED], SEEN, VAULT)
    assert list(found.ours.values()) == [0.5, 0.25, 0.5, 0.75, 0.25]
    assert sum(found.ours.values()) == found.total - found.chain.seconds
    assert address_figure([found]).raw["ours, until the write"] == "median 750.0 ms (750.0 to 750.0, n = 1)"


def test_a_write_that_rests_on_an_older_read_is_no_figure() -> None:
    with pytest.raises(ValueError, match="written without firewall, just before"):
        addition_of([QUEUED, FETCHED], [call for call in SEEN if call.began_at != 5.5], VAULT)


def test_a_refused_read_is_none_that_a_write_rests_on() -> None:
    refused = [*SEEN[:5], _cloud("GET", f"{GROUP}/clusters", 4.0, 1.0, status=500), *SEEN[6:]]
    with pytest.raises(ValueError, match="written without clusters"):
        addition_of([QUEUED, FETCHED], refused, VAULT)


def test_a_write_waits_for_every_stage_of_reads_and_for_one_call_of_each() -> None:
    found = longest_chain(dict.fromkeys(AFTER.keys() - {"write"}, 1.0), AFTER, "write")
    assert len(found.calls) == 3
    assert found.calls[-1] == "firewall, just before"


def test_projects_share_a_vault_and_its_key_and_new_addresses_are_announced_behind_a_closed_door() -> None:
    cloud = Cloud(SimulatedClock.flowing())
    members = populate(cloud, projects=5, clusters=1, sharing=3)
    assert [member.vault for member in members] == [VAULT] * 3 + ["kv-bench-002"] * 2
    identifiers = [cloud.atlas.projects[member.project_id].key_identifier for member in members]
    assert (len(set(identifiers[:3])), len(set(identifiers))) == (1, 2)
    close(cloud, VAULT)
    assert cloud.key_vault.vault(VAULT).state.network.ip_rules == (f"{cloud.app_address}/32",)
    assert cloud.key_vault.vault(VAULT).state.network.filters
    announce(cloud, members[0], "20.10.0.1")
    assert cloud.atlas.cluster(members[0].project_id, "cluster-0").future_outbound == ["20.10.0.1"]
