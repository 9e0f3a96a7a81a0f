"""When a rotation counts as taken by every cluster: what was seen at each look, and what is concluded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from keysteward.decide.settlement import ClusterProgress, Settlement, decide_settlement
from keysteward.facts import Unknown
from keysteward.vocabulary import Cluster, ClusterState
from tests.builders import KEY, NOW, V1, V2, a_cluster, encryption

TARGET = str(KEY.with_version(V2))
IDLE, UPDATING, REPAIRING = ClusterState.IDLE, ClusterState.UPDATING, ClusterState.REPAIRING


def look_at(looks: Sequence[tuple[float, Any]], read: Any = None) -> list[Settlement]:
    """Each look: seconds since Atlas's answer, and the clusters (or their one state) that were seen."""
    seen: list[Settlement] = []
    progress: dict[str, ClusterProgress] = {}
    without_news = 0
    for seconds, found in looks:
        clusters = (a_cluster(state=found),) if isinstance(found, ClusterState) else found
        now = NOW + timedelta(seconds=seconds)
        settlement = decide_settlement(
            TARGET,
            progress,
            without_news,
            read if read is not None else encryption(TARGET),
            clusters,
            now,
            answered_at=NOW,
        )
        progress, without_news = dict(settlement.progress), settlement.looks_without_news
        seen.append(settlement)
    return seen


CASES: dict[str, tuple[Sequence[tuple[float, Any]], bool]] = {
    "updating and then idle has settled": ([(15, UPDATING), (45, IDLE)], True),
    "one idle look is not enough: the roll-out may not have begun": ([(15, IDLE)], False),
    "idle in two looks 15 s apart has settled": ([(15, IDLE), (30, IDLE)], True),
    "an idle look just after Atlas's answer does not count": ([(5, IDLE), (20, IDLE)], False),
    "idle in two looks 14 s apart has not": ([(15, IDLE), (29, IDLE)], False),
    "updating between two idle looks starts again": ([(0, IDLE), (10, UPDATING)], False),
    "repairing between two idle looks starts again": ([(0, IDLE), (10, REPAIRING), (20, IDLE)], False),
    "a paused cluster is not waited for": ([(15, (a_cluster(paused=True),))], True),
    "a cluster that is not encrypted is not waited for": ([(15, (a_cluster(encrypted=False, state=UPDATING),))], True),
    "a cluster that is being deleted is not waited for": ([(15, (a_cluster(state=ClusterState.DELETING),))], True),
    "a project without clusters has settled": ([(15, ())], True),
    "all but one is not all": ([(0, UPDATING), (30, (a_cluster(), a_cluster("ledger", state=UPDATING)))], False),
    "unknown clusters settle nothing": ([(0, UPDATING), (30, Unknown("HTTP_503", "503"))], False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_settlement(case: tuple[Sequence[tuple[float, Sequence[Cluster]]], bool]) -> None:
    looks, complete = case
    last = look_at(looks)[-1]
    assert last.complete is complete, last
    assert (last.look_again_seconds is None) is complete


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (encryption(TARGET, valid=False), "valid"),
        (encryption(TARGET, valid=None), "valid"),
        (encryption(str(KEY.with_version(V1))), "another identifier"),
        (Unknown("HTTP_503", "503"), "unknown"),
    ],
)
def test_settled_clusters_are_not_enough_without_atlas_saying_valid(read: Any, why: str) -> None:
    last = look_at([(15, UPDATING), (45, IDLE)], read)[-1]
    assert not last.complete
    assert why in last.why_not


def test_looks_grow_apart_up_to_five_minutes_and_return_with_news() -> None:
    looks = look_at([(n, UPDATING) for n in range(8)])
    assert [s.look_again_seconds for s in looks] == [15, 30, 60, 120, 240, 300, 300, 300]
    again = look_at([*((n, UPDATING) for n in range(8)), (9, (a_cluster(), a_cluster("ledger", state=UPDATING)))])
    assert again[-1].look_again_seconds == 15


def test_news_are_told_once() -> None:
    looks = look_at([(0, UPDATING), (15, UPDATING), (30, IDLE), (45, IDLE)])
    assert [list(s.news) for s in looks] == [
        ["payments is taking the new key identifier"],
        [],
        ["payments has settled"],
        [],
    ]


def test_a_cluster_that_stands_still_beside_a_busy_one_may_wait_its_turn() -> None:
    one_busy = (a_cluster(), a_cluster("ledger", state=UPDATING))
    looks = look_at([(15, one_busy), (45, one_busy), (60, (a_cluster(), a_cluster("ledger")))])
    assert not looks[-1].progress["payments"].settled
    assert looks[-1].progress["ledger"].settled


@pytest.mark.parametrize("text", [TARGET.replace("kv-acme", "KV-Acme"), TARGET + "/"])
def test_another_spelling_of_the_identifier_is_the_same_identifier(text: str) -> None:
    assert look_at([(15, UPDATING), (45, IDLE)], encryption(text))[-1].complete


def test_what_settled_is_told_though_encryption_is_unknown() -> None:
    last = look_at([(15, UPDATING), (45, IDLE)], Unknown("HTTP_503", "503"))[-1]
    assert list(last.news) == ["payments has settled"]
