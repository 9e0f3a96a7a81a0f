"""Whatever stands in the policy: it is read or refused, and overrides resolve field by field."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keysteward.policy import BLOCKS, SIGNALS, Policy, fields_of, parse_policy
from tests.settings.builders import OTHER_PROJECT, PROJECT

type Overrides = dict[str, dict[str, Any]]

WINDOW = {"cron": "0 2 * * SAT", "minutes": 240, "timeZone": "Europe/Berlin"}
RULES = ["198.51.100.0/24", "203.0.113.7/32", "192.0.2.128/25"]

VALUES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "rotation": {
        "mode": st.sampled_from(["auto", "approve", "off"]),
        "minimumRemainingHours": st.integers(48, 2000),
        "createVersionOnNearExpiry": st.booleans(),
        "createVersionBeforeExpiryDays": st.integers(0, 400),
        "createVersionAfterDays": st.none() | st.integers(1, 400),
        "maxReversals": st.integers(1, 9),
    },
    "revocation": {
        "mode": st.sampled_from(["pause", "alert", "off"]),
        "confirmations": st.integers(1, 9),
        "confirmIntervalSeconds": st.integers(1, 3600),
        "grantConfirmIntervalSeconds": st.integers(1, 3600),
        "pauseWhenReachable": st.booleans(),
        "resume": st.sampled_from(["manual", "auto"]),
        "maxVaultsPerHour": st.integers(0, 9),
        "principalObjectId": st.none() | st.uuids().map(str),
    },
    "firewall": {
        "mode": st.sampled_from(["sync", "alert", "off"]),
        "whenOpen": st.sampled_from(["explain", "prepare"]),
        "controlPlane": st.booleans(),
        "extraIpRules": st.lists(st.sampled_from(RULES), unique=True),
        "widestPrefix": st.integers(8, 32),
        "removeAfterHours": st.integers(0, 100),
        "maxRemovalsPercent": st.integers(0, 100),
    },
    "retirement": {"settleHours": st.integers(0, 100)},
    "expiry": {"warnDays": st.sets(st.integers(0, 90)).map(lambda days: sorted(days, reverse=True))},
}
LISTS = {"revocation": {"signals"}, "rotation": {"windows"}}


def overrides(*blocks: str) -> st.SearchStrategy[Overrides]:
    return st.fixed_dictionaries(
        {}, optional={block: st.fixed_dictionaries({}, optional=VALUES[block]) for block in blocks}
    )


PROJECT_BLOCKS = ("rotation", "revocation", "expiry", "retirement")


def comparable(value: object) -> object:
    if isinstance(value, list | tuple):
        return [str(item) if isinstance(item, IPv4Network) else item for item in value]
    return value


def test_every_field_of_every_block_is_drawn() -> None:
    drawn = {block: set(values) | LISTS.get(block, set()) for block, values in VALUES.items()}
    assert drawn == {block: set(fields_of(block)) for block in BLOCKS}


@given(overrides(*BLOCKS), overrides(*PROJECT_BLOCKS), overrides("firewall"))
def test_every_field_is_the_nearest_override_or_the_default(
    defaults: Overrides, project: Overrides, vault: Overrides
) -> None:
    document = {"defaults": defaults, "projects": {PROJECT: project}, "vaults": {"kv-pay": vault}}
    policy = parse_policy(json.dumps(document))
    assert isinstance(policy, Policy), policy
    for block in BLOCKS:
        over, base, mine, others = (
            (vault, policy.default_firewall, policy.vault_firewall("kv-pay"), policy.vault_firewall("kv-other"))
            if block == "firewall"
            else (project, *(getattr(policy.project(name), block) for name in ("", PROJECT, OTHER_PROJECT)))
        )
        for name, field in fields_of(block).items():
            general = defaults.get(block, {}).get(name, field.default)
            special = over.get(block, {}).get(name, general)
            if name == "extraIpRules":
                special = list(dict.fromkeys([*general, *over.get(block, {}).get(name, [])]))
            assert comparable(getattr(mine, field.python_name)) == comparable(special)
            assert comparable(getattr(base, field.python_name)) == comparable(general)
            assert others == base


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([WINDOW, *SIGNALS]),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["defaults", "projects", "vaults", *BLOCKS, *fields_of("rotation"), PROJECT, "kv-pay"])
            | st.text(max_size=8),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.text() | JSON.map(json.dumps))
def test_any_text_is_a_policy_or_has_problems(text: str) -> None:
    parsed = parse_policy(text)
    if not isinstance(parsed, Policy):
        assert parsed
        assert all(problem.name == "KEYSTEWARD_POLICY" and problem.what for problem in parsed)


PLANTED = ["plant-4711", ["plant-4711"], {"plant-4711": 1}, [{"cron": "plant-4711", "plant-4711": 1}]]


@given(st.data())
def test_no_problem_quotes_what_stands_in_the_document(data: st.DataObject) -> None:
    block = data.draw(st.sampled_from(list(BLOCKS)))
    name = data.draw(st.sampled_from([*fields_of(block), "plant-4711"]))
    place = data.draw(st.sampled_from(["defaults", "projects", "plant-4711"]))
    fields = {name: data.draw(st.sampled_from(PLANTED))}
    document = {place: {block: fields} if place != "projects" else {"plant-4711": 1, PROJECT: {block: fields}}}
    parsed = parse_policy(json.dumps(document))
    assert not isinstance(parsed, Policy)
    for problem in parsed:
        assert "4711" not in str(problem) + repr(problem) + str(problem.public)
