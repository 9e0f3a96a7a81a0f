"""The policy document: what each place of it does, and what is refused, by its path."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from keysteward.policy import (
    BLOCKS,
    ExpiryPolicy,
    FirewallPolicy,
    Policy,
    ProjectPolicy,
    RetirementPolicy,
    RevocationPolicy,
    RotationPolicy,
    fields_of,
    parse_policy,
)
from keysteward.strict_json import LONGEST_TEXT
from tests.settings.builders import OTHER_PROJECT, PROJECT

if TYPE_CHECKING:
    from keysteward.problem import Problem

WINDOW = {"cron": "0 2 * * SAT", "minutes": 240, "timeZone": "Europe/Berlin"}

CONTRACT_DEFAULTS: dict[str, dict[str, Any]] = {
    "rotation": {
        "mode": "auto",
        "minimumRemainingHours": 72,
        "windows": (),
        "createVersionOnNearExpiry": False,
        "createVersionBeforeExpiryDays": 30,
        "createVersionAfterDays": None,
        "maxReversals": 2,
    },
    "revocation": {
        "mode": "pause",
        "signals": ("keyDisabled", "keyDeleted", "vaultDeleted", "grantRemoved"),
        "confirmations": 2,
        "confirmIntervalSeconds": 60,
        "grantConfirmIntervalSeconds": 600,
        "pauseWhenReachable": False,
        "resume": "manual",
        "maxVaultsPerHour": 3,
        "principalObjectId": None,
    },
    "firewall": {
        "mode": "sync",
        "whenOpen": "explain",
        "controlPlane": True,
        "extraIpRules": (),
        "widestPrefix": 24,
        "removeAfterHours": 48,
        "maxRemovalsPercent": 50,
    },
    "expiry": {"warnDays": (60, 30, 14, 7, 3, 1)},
    "retirement": {"settleHours": 24},
}


def read(document: object) -> Policy:
    policy = parse_policy(json.dumps(document))
    assert isinstance(policy, Policy), "\n".join(map(str, policy))
    return policy


def refused(text: str) -> tuple[Problem, ...]:
    problems = parse_policy(text)
    assert not isinstance(problems, Policy), problems
    return problems


def field(block: str, name: str, value: object) -> dict[str, object]:
    return {"defaults": {block: {name: value}}}


def test_every_field_has_the_name_and_default_of_the_contract() -> None:
    ours = {block: {name: field.default for name, field in fields_of(block).items()} for block in BLOCKS}
    assert ours == CONTRACT_DEFAULTS


def test_an_empty_document_is_the_defaults() -> None:
    policy = read({})
    assert policy.project(PROJECT) == ProjectPolicy(
        rotation=RotationPolicy(),
        revocation=RevocationPolicy(),
        expiry=ExpiryPolicy(),
        retirement=RetirementPolicy(),
    )
    assert policy.vault_firewall("kv-pay") == FirewallPolicy()


@pytest.mark.parametrize(
    ("block", "name", "value"),
    [
        pytest.param("rotation", "minimumRemainingHours", 48, id="48 hours, the least that Atlas takes"),
        pytest.param("rotation", "maxReversals", 1, id="stop at the first reversal"),
        pytest.param("rotation", "createVersionBeforeExpiryDays", 0, id="zero days before the end"),
        pytest.param("rotation", "createVersionAfterDays", None, id="never by age, said by null"),
        pytest.param("revocation", "confirmIntervalSeconds", 1, id="an interval of one second"),
        pytest.param("revocation", "grantConfirmIntervalSeconds", 1, id="an interval of one second for grants"),
        pytest.param("revocation", "confirmations", 1, id="one look is enough"),
        pytest.param("revocation", "maxVaultsPerHour", 0, id="zero vaults an hour: every one waits for an operator"),
        pytest.param("firewall", "removeAfterHours", 0, id="zero hours until removal"),
        pytest.param("firewall", "maxRemovalsPercent", 0, id="zero percent"),
        pytest.param("firewall", "maxRemovalsPercent", 100, id="everything at once"),
        pytest.param("firewall", "widestPrefix", 32, id="single addresses alone"),
        pytest.param("retirement", "settleHours", 0, id="zero hours to settle"),
    ],
)
def test_an_extreme_value_is_possible(block: str, name: str, value: object) -> None:
    policy = read(field(block, name, value))
    owner = policy.default_firewall if block == "firewall" else getattr(policy.defaults, block)
    assert getattr(owner, fields_of(block)[name].python_name) == value


def test_a_project_overrides_field_by_field_and_others_keep_the_defaults() -> None:
    policy = read(
        {
            "defaults": {"rotation": {"minimumRemainingHours": 96, "mode": "approve"}},
            "projects": {PROJECT: {"rotation": {"mode": "off"}, "expiry": {"warnDays": [5]}}},
        }
    )
    assert policy.project(PROJECT).rotation == RotationPolicy(mode="off", minimum_remaining_hours=96)
    assert policy.project(PROJECT).expiry.warn_days == (5,)
    assert policy.project(OTHER_PROJECT).rotation == RotationPolicy(mode="approve", minimum_remaining_hours=96)
    assert policy.project(OTHER_PROJECT).expiry == ExpiryPolicy()


def test_lists_replace() -> None:
    policy = read(
        {
            "defaults": {"rotation": {"windows": [WINDOW]}, "revocation": {"signals": ["keyDisabled", "keyDeleted"]}},
            "projects": {PROJECT: {"rotation": {"windows": []}, "revocation": {"signals": ["grantRemoved"]}}},
        }
    )
    assert policy.project(PROJECT).rotation.windows == ()
    assert policy.project(PROJECT).revocation.signals == ("grantRemoved",)
    (window,) = policy.project(OTHER_PROJECT).rotation.windows
    assert (window.opens.text, window.minutes, window.time_zone) == ("0 2 * * SAT", 240, "Europe/Berlin")


def test_extra_ip_rules_of_defaults_and_vault_are_united_and_the_rest_is_overridden() -> None:
    policy = read(
        {
            "defaults": {"firewall": {"extraIpRules": ["198.51.100.7", "203.0.113.0/24"], "removeAfterHours": 0}},
            "vaults": {"Kv-Pay": {"firewall": {"extraIpRules": ["203.0.113.0/24", "192.0.2.0/28"], "mode": "alert"}}},
        }
    )
    seven, documentation, small = map(IPv4Network, ("198.51.100.7/32", "203.0.113.0/24", "192.0.2.0/28"))
    assert policy.vault_firewall("kv-other").extra_ip_rules == (seven, documentation)
    assert policy.vault_firewall("KV-PAY") == FirewallPolicy(
        mode="alert", extra_ip_rules=(seven, documentation, small), remove_after_hours=0
    )


def test_warning_days_and_signals_are_kept_in_one_order() -> None:
    policy = read(
        {"defaults": {"expiry": {"warnDays": [1, 30, 7]}, "revocation": {"signals": ["grantRemoved", "keyDisabled"]}}}
    )
    assert policy.defaults.expiry.warn_days == (30, 7, 1)
    assert policy.defaults.revocation.signals == ("keyDisabled", "grantRemoved")


def test_an_object_id_is_kept_in_lower_case() -> None:
    policy = read(field("revocation", "principalObjectId", "AAAAAAAA-2222-3333-4444-555555555555"))
    assert policy.defaults.revocation.principal_object_id == "aaaaaaaa-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("document", "place", "what"),
    [
        pytest.param([], "", "is a list, not an object", id="the document is a list"),
        pytest.param({"defaults": None}, "defaults", "is null, not an object", id="defaults are null"),
        pytest.param({"default": {}}, "default", "nearest name is defaults", id="a place is misspelt"),
        pytest.param({"rotation": {}}, "rotation", "belongs into defaults", id="a block stands at the top"),
        pytest.param(
            {"defaults": {"minimumRemainingHours": 72}},
            "defaults.minimumRemainingHours",
            "belongs into rotation",
            id="a field stands outside its block",
        ),
        pytest.param(
            {"projects": {PROJECT: {"rotation": {"minimumRemaingHours": 72}}}},
            f"projects.{PROJECT}.rotation.minimumRemaingHours",
            "the nearest name is minimumRemainingHours",
            id="a field is misspelt",
        ),
        pytest.param(
            field("rotation", "minimum_remaining_hours", 72),
            "defaults.rotation.#1",
            "the nearest name is minimumRemainingHours",
            id="a field has its Python name",
        ),
        pytest.param(
            {"projects": {PROJECT: {"firewall": {"mode": "off"}}}},
            f"projects.{PROJECT}.firewall",
            "belongs to a vault, not to a project",
            id="a firewall stands in a project",
        ),
        pytest.param(
            {"vaults": {"kv-pay": {"rotation": {}}}},
            "vaults.kv-pay.rotation",
            "is not known here",
            id="a rotation stands in a vault",
        ),
        pytest.param({"projects": {"ABC": {}}}, "projects.ABC", "is no project id", id="a project id is malformed"),
        pytest.param(
            {"projects": {PROJECT.upper(): {}}}, "projects.#1", "in lower case", id="a project id has capital letters"
        ),
        pytest.param({"vaults": {"kv--a": {}}}, "vaults.#1", "is no vault name", id="a vault name is malformed"),
        pytest.param(
            {"vaults": {"kv-a": {}, "KV-A": {}}}, "vaults.KV-A", "is there twice", id="a vault stands there twice"
        ),
        pytest.param(
            field("rotation", "minimumRemainingHours", 47),
            "defaults.rotation.minimumRemainingHours",
            "is under 48: Atlas refuses such a version",
            id="less than 48 hours remain",
        ),
        pytest.param(
            field("rotation", "maxReversals", 0),
            "defaults.rotation.maxReversals",
            "is under 1",
            id="no reversal at all",
        ),
        pytest.param(
            field("revocation", "confirmIntervalSeconds", 0),
            "defaults.revocation.confirmIntervalSeconds",
            "is under 1",
            id="an interval of nothing",
        ),
        pytest.param(
            field("firewall", "maxRemovalsPercent", 101),
            "defaults.firewall.maxRemovalsPercent",
            "is over 100",
            id="more than everything",
        ),
        pytest.param(
            field("firewall", "removeAfterHours", -1),
            "defaults.firewall.removeAfterHours",
            "is under 0",
            id="a negative time",
        ),
        pytest.param(
            field("rotation", "maxReversals", True),
            "defaults.rotation.maxReversals",
            "is true or false, not a whole number",
            id="true is not 1",
        ),
        pytest.param(
            field("rotation", "minimumRemainingHours", "72"),
            "defaults.rotation.minimumRemainingHours",
            "is a text, not a whole number",
            id="the text 72 is not 72",
        ),
        pytest.param(
            field("rotation", "minimumRemainingHours", 72.0),
            "defaults.rotation.minimumRemainingHours",
            "is a number with a fraction or an exponent",
            id="72.0 is not 72",
        ),
        pytest.param(
            field("rotation", "maxReversals", None),
            "defaults.rotation.maxReversals",
            "is null, not a whole number",
            id="null is no default",
        ),
        pytest.param(
            field("firewall", "controlPlane", 1),
            "defaults.firewall.controlPlane",
            "is a whole number, not true or false",
            id="1 is not true",
        ),
        pytest.param(
            field("rotation", "mode", "Auto"),
            "defaults.rotation.mode",
            "the nearest is auto",
            id="a mode has a capital letter",
        ),
        pytest.param(
            field("rotation", "mode", False),
            "defaults.rotation.mode",
            "is true or false, not a text",
            id="YAML's off became false",
        ),
        pytest.param(
            field("revocation", "signals", []),
            "defaults.revocation.signals",
            "set revocation.mode to",
            id="no signal at all would read as never revoked",
        ),
        pytest.param(
            field("revocation", "signals", ["keyDisabled", "keyDisabled"]),
            "defaults.revocation.signals[1]",
            "is there twice",
            id="a signal stands there twice",
        ),
        pytest.param(
            field("revocation", "signals", "keyDisabled"),
            "defaults.revocation.signals",
            "is a text, not a list",
            id="a signal is no list of one",
        ),
        pytest.param(
            field("revocation", "signals", ["keyDisable"]),
            "defaults.revocation.signals[0]",
            "the nearest is keyDisabled",
            id="a signal is misspelt",
        ),
        pytest.param(
            field("revocation", "principalObjectId", "Atlas"),
            "defaults.revocation.principalObjectId",
            "is not an object id",
            id="a name is no object id",
        ),
        pytest.param(
            field("expiry", "warnDays", [30, 30]),
            "defaults.expiry.warnDays[1]",
            "is there twice",
            id="a warning stands there twice",
        ),
        pytest.param(
            field("expiry", "warnDays", [-1]), "defaults.expiry.warnDays[0]", "is under 0", id="a warning after the end"
        ),
        pytest.param(
            field("firewall", "extraIpRules", ["198.48.0.0/15"]),
            "defaults.firewall.extraIpRules[0]",
            "is wider than /16",
            id="a rule is wider than /16",
        ),
        pytest.param(
            field("firewall", "extraIpRules", ["198.51.100.0/24", "198.51.100.1/24"]),
            "defaults.firewall.extraIpRules[1]",
            "has bits set behind its prefix",
            id="a rule has host bits",
        ),
        pytest.param(
            field("firewall", "extraIpRules", ["10.1.0.0/16"]),
            "defaults.firewall.extraIpRules[0]",
            "private or reserved",
            id="a rule is private",
        ),
        pytest.param(
            field("firewall", "extraIpRules", ["2001:db8::/32"]),
            "defaults.firewall.extraIpRules[0]",
            "is not an IPv4 address or CIDR",
            id="a rule is IPv6",
        ),
        pytest.param(
            field("firewall", "extraIpRules", ["198.51.100.0/255.255.255.0"]),
            "defaults.firewall.extraIpRules[0]",
            "is not an IPv4 address or CIDR",
            id="a rule has a netmask",
        ),
        pytest.param(
            field("firewall", "extraIpRules", ["198.51.100.7", "198.51.100.7/32"]),
            "defaults.firewall.extraIpRules[1]",
            "is there twice",
            id="an address and its /32 are the same rule",
        ),
        pytest.param(
            field("rotation", "windows", [{**WINDOW, "cron": "0 0 2 * * SAT"}]),
            "defaults.rotation.windows[0].cron",
            "has 6 fields, not 5",
            id="a window has seconds",
        ),
        pytest.param(
            field("rotation", "windows", [WINDOW, {**WINDOW, "minutes": 10_081}]),
            "defaults.rotation.windows[1].minutes",
            "is over 10080",
            id="a window is longer than a week",
        ),
        pytest.param(
            field("rotation", "windows", [{**WINDOW, "minutes": 0}]),
            "defaults.rotation.windows[0].minutes",
            "is under 1",
            id="a window never opens",
        ),
        pytest.param(
            field("rotation", "windows", [{**WINDOW, "timeZone": "Europe/Berlino"}]),
            "defaults.rotation.windows[0].timeZone",
            "is not the name of an IANA time zone",
            id="a time zone is unknown",
        ),
        pytest.param(
            field("rotation", "windows", [{**WINDOW, "timeZone": "../../etc/passwd"}]),
            "defaults.rotation.windows[0].timeZone",
            "is not the name of an IANA time zone",
            id="a time zone is a path",
        ),
        pytest.param(
            field("rotation", "windows", [{**WINDOW, "timeZone": "Europe"}]),
            "defaults.rotation.windows[0].timeZone",
            "is not the name of an IANA time zone",
            id="a time zone is a folder of the database",
        ),
        pytest.param(
            field("rotation", "windows", [{"cron": WINDOW["cron"], "minutes": 240}]),
            "defaults.rotation.windows[0].timeZone",
            "is missing",
            id="a window has no zone",
        ),
        pytest.param(
            field("rotation", "windows", [{**WINDOW, "timezone": "UTC"}]),
            "defaults.rotation.windows[0].timezone",
            "the nearest name is timeZone",
            id="a member of a window is misspelt",
        ),
        pytest.param(
            field("rotation", "windows", ["0 2 * * SAT"]),
            "defaults.rotation.windows[0]",
            "is a text, not an object",
            id="a window is a cron text alone",
        ),
    ],
)
def test_a_document_is_refused_at_one_place(document: object, place: str, what: str) -> None:
    (problem,) = refused(json.dumps(document))
    assert problem.place == place
    assert what in problem.what
    assert problem.good_value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("", "is not JSON: see line 1, column 1", id="nothing"),
        pytest.param("{\n  'defaults': {}}", "is not JSON: see line 2, column 3", id="single quotes"),
        pytest.param('{"defaults": {},}', "is not JSON", id="a comma too many"),
        pytest.param("\ufeff{}", "is not JSON", id="a byte order mark"),
        pytest.param('{"defaults": {}} x', "is not JSON", id="more behind the document"),
        pytest.param('{"defaults": {}, "defaults": {}}', "has defaults twice in one object", id="a member twice"),
        pytest.param(
            f'{{"projects": {{"{PROJECT}": {{}}, "{PROJECT}": {{}}}}}}', "has a member twice", id="a project twice"
        ),
        pytest.param('{"defaults": NaN}', "holds NaN or Infinity", id="not a number"),
        pytest.param('{"defaults": -Infinity}', "holds NaN or Infinity", id="endless"),
        pytest.param("[" * 100_000, "is nested too deeply", id="lists without end"),
        pytest.param('{"a":' * 40_000, "is nested too deeply", id="objects without end"),
        pytest.param("{}" + " " * LONGEST_TEXT, "is longer than", id="a text without end"),
        pytest.param(
            '{"defaults": {"rotation": {"maxReversals": ' + "9" * 5000 + "}}}", "is over 100", id="digits without end"
        ),
        pytest.param(
            '{"defaults": {"rotation": {"maxReversals": 1e999}}}', "a fraction or an exponent", id="beyond a float"
        ),
    ],
)
def test_a_text_is_refused(text: str, what: str) -> None:
    (problem,) = refused(text)
    assert what in problem.what


def test_every_problem_comes_at_once() -> None:
    found = refused(
        json.dumps(
            {
                "defaults": {"rotation": {"mode": "of", "minimumRemainingHours": 1}, "expiry": {"warnDays": 3}},
                "projects": {
                    PROJECT: {"firewall": {}, "rotation": {"windows": [{**WINDOW, "minutes": 0, "cron": ""}]}}
                },
                "vaults": {"kv-pay": {"firewall": {"mode": 1}}},
            }
        )
    )
    assert [problem.place for problem in found] == [
        "defaults.rotation.mode",
        "defaults.rotation.minimumRemainingHours",
        "defaults.expiry.warnDays",
        f"projects.{PROJECT}.firewall",
        f"projects.{PROJECT}.rotation.windows[0].cron",
        f"projects.{PROJECT}.rotation.windows[0].minutes",
        "vaults.kv-pay.firewall.mode",
    ]


def test_problems_beyond_a_hundred_are_counted() -> None:
    found = refused(json.dumps({"defaults": {f"stranger{number}": 1 for number in range(5000)}}))
    assert len(found) == 101
    assert found[-1].what == "has 4900 more problems"


def test_the_public_form_of_a_problem_names_no_project_and_no_vault() -> None:
    found = refused(json.dumps({"projects": {PROJECT: {"rotation": 1}}, "vaults": {"kv-pay": {"firewall": 1}}}))
    assert [problem.public.place for problem in found] == ["projects.*.rotation", "vaults.*.firewall"]
    assert not any(name in str(problem.public) for problem in found for name in (PROJECT, "kv-pay"))
