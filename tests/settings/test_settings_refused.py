"""What each setting refuses: by its name, the place in it, and what is wrong; every problem at once."""

from __future__ import annotations

import json

import pytest

from keysteward.settings import SETTINGS
from tests.settings.builders import OTHER_PROJECT, PROJECT, problems

REFERENCE = "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/s)"
WEBHOOK = {"kind": "webhook", "url": "https://hooks.example.com", "secret": "s"}


@pytest.mark.parametrize(
    ("changes", "name", "place", "what"),
    [
        pytest.param({"ATLAS_PROJECT_IDS": None}, "ATLAS_PROJECT_IDS", "", "is missing", id="no project ids"),
        pytest.param(
            {"ATLAS_PROJECT_IDS": f"{PROJECT},"}, "ATLAS_PROJECT_IDS", "", "item 2 of 2 is empty", id="a comma too many"
        ),
        pytest.param(
            {"ATLAS_PROJECT_IDS": PROJECT.upper()}, "ATLAS_PROJECT_IDS", "", "has capital letters", id="capital letters"
        ),
        pytest.param(
            {"ATLAS_PROJECT_IDS": f"{PROJECT};{OTHER_PROJECT}"},
            "ATLAS_PROJECT_IDS",
            "",
            "item 1 of 1 is no project id: it has 49 characters",
            id="a semicolon between ids",
        ),
        pytest.param(
            {"ATLAS_PROJECT_IDS": f"*,{PROJECT}"},
            "ATLAS_PROJECT_IDS",
            "",
            "stands alone or not at all",
            id="* and an id",
        ),
        pytest.param(
            {"ATLAS_CLIENT_SECRET": None},
            "ATLAS_CLIENT_SECRET",
            "",
            "is missing while ATLAS_CLIENT_ID is there",
            id="a client id without its secret",
        ),
        pytest.param(
            {"ATLAS_CLIENT_ID": None, "ATLAS_PUBLIC_KEY": "a", "ATLAS_PRIVATE_KEY": "b"},
            "ATLAS_CLIENT_ID",
            "",
            "is missing while ATLAS_CLIENT_SECRET is there",
            id="half a service account is not passed over for an API key",
        ),
        pytest.param(
            {"ATLAS_CLIENT_ID": None, "ATLAS_CLIENT_SECRET": None},
            "ATLAS_CLIENT_ID",
            "",
            "ATLAS_CLIENT_SECRET (a service account) or with ATLAS_PUBLIC_KEY and ATLAS_PRIVATE_KEY",
            id="no credential: both ways are named",
        ),
        pytest.param(
            {"ATLAS_CLIENT_ID": None, "ATLAS_CLIENT_SECRET": None, "ATLAS_PUBLIC_KEY": "a"},
            "ATLAS_PRIVATE_KEY",
            "",
            "is missing while ATLAS_PUBLIC_KEY is there",
            id="half an API key",
        ),
        pytest.param(
            {"ATLAS_CLIENT_SECRET": "two words"},
            "ATLAS_CLIENT_SECRET",
            "",
            "has white space",
            id="a secret with a blank",
        ),
        pytest.param({"ATLAS_CLIENT_ID": "a:b"}, "ATLAS_CLIENT_ID", "", "a colon", id="a client id with a colon"),
        pytest.param(
            {"ATLAS_BASE_URL": "http://cloud.mongodb.com"},
            "ATLAS_BASE_URL",
            "",
            "does not begin with https://",
            id="http without s",
        ),
        pytest.param(
            {"ATLAS_BASE_URL": "https://me:pass@cloud.mongodb.com"},
            "ATLAS_BASE_URL",
            "",
            "carries a user name",
            id="an address with a password",
        ),
        pytest.param(
            {"ATLAS_BASE_URL": "https://cloud.mongodb.com/api"}, "ATLAS_BASE_URL", "", "has a path", id="a path"
        ),
        pytest.param(
            {"ATLAS_BASE_URL": "https://cloud.mongodb.com?a=b"}, "ATLAS_BASE_URL", "", "or a query", id="a query"
        ),
        pytest.param(
            {"ATLAS_BASE_URL": "https://cloud.mongodb.com#a"}, "ATLAS_BASE_URL", "", "or a query", id="a fragment"
        ),
        pytest.param(
            {"ATLAS_BASE_URL": "https://cloud.mongodb.com:99999"},
            "ATLAS_BASE_URL",
            "",
            "is not an address",
            id="a port that is none",
        ),
        pytest.param({"ATLAS_BASE_URL": "https://[::1"}, "ATLAS_BASE_URL", "", "is not an address", id="half an IPv6"),
        pytest.param({"AZURE_CLIENT_ID": "mine"}, "AZURE_CLIENT_ID", "", "is not a client id", id="no client id"),
        pytest.param(
            {"AzureWebJobsStorage": None}, "AzureWebJobsStorage", "", "is missing", id="no storage in either form"
        ),
        pytest.param(
            {"AzureWebJobsStorage": "AccountName=keystewards"},
            "AzureWebJobsStorage",
            "",
            "has neither",
            id="half a connection string",
        ),
        pytest.param(
            {"KEYSTEWARD_POLICY": "../policy.json"},
            "KEYSTEWARD_POLICY",
            "",
            "no folders",
            id="a policy in another folder",
        ),
        pytest.param(
            {"KEYSTEWARD_POLICY": "policies/a.json"}, "KEYSTEWARD_POLICY", "", "no folders", id="a policy in a folder"
        ),
        pytest.param(
            {"KEYSTEWARD_POLICY": "policy.yaml"}, "KEYSTEWARD_POLICY", "", ".json file", id="a policy in YAML"
        ),
        pytest.param({"KEYSTEWARD_POLICY": "[]"}, "KEYSTEWARD_POLICY", "", ".json file", id="a policy that is a list"),
        pytest.param({"KEYSTEWARD_POLICY": "{"}, "KEYSTEWARD_POLICY", "", "line 1, column 2", id="half a policy"),
        pytest.param(
            {"KEYSTEWARD_POLICY": "absent.json"},
            "KEYSTEWARD_POLICY",
            "",
            "not there beside host.json",
            id="no such file",
        ),
        pytest.param(
            {"KEYSTEWARD_AUTH": "none"}, "KEYSTEWARD_AUTH", "", "neither keys nor entra", id="no guard at all"
        ),
        pytest.param(
            {"KEYSTEWARD_AUTH": "Keys"}, "KEYSTEWARD_AUTH", "", "neither keys nor entra", id="a capital letter"
        ),
        pytest.param({"KEYSTEWARD_DRY_RUN": "yes"}, "KEYSTEWARD_DRY_RUN", "", "is none of true", id="yes is no flag"),
        pytest.param(
            {"KEYSTEWARD_DRYRUN": "true"},
            "KEYSTEWARD_DRY_RUN",
            "",
            "is not set, but KEYSTEWARD_DRYRUN is",
            id="a dry run that is misspelt does not act",
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": "{}"}, "KEYSTEWARD_NOTIFY", "", "is an object, not a list", id="one target alone"
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": '[{"kind": "email"}]'},
            "KEYSTEWARD_NOTIFY",
            "[0].kind",
            "is none of teams",
            id="an unknown kind of target",
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": '[{"kind": ["teams"]}]'},
            "KEYSTEWARD_NOTIFY",
            "[0].kind",
            "is none of teams",
            id="a list of kinds",
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": json.dumps([WEBHOOK, {"kind": "teams"}])},
            "KEYSTEWARD_NOTIFY",
            "[1].url",
            "is missing",
            id="a target without its address",
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": json.dumps([{**WEBHOOK, "url": "http://hooks.example.com"}])},
            "KEYSTEWARD_NOTIFY",
            "[0].url",
            "is not an https address",
            id="a target over http",
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": json.dumps([{**WEBHOOK, "secret": ""}])},
            "KEYSTEWARD_NOTIFY",
            "[0].secret",
            "the receiver checks the signature",
            id="a webhook without a secret",
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": json.dumps([{**WEBHOOK, "secret": "\udc80"}])},
            "KEYSTEWARD_NOTIFY",
            "[0].secret",
            "beyond printable ASCII",
            id="a webhook whose secret is no text",
        ),
        pytest.param(
            {"KEYSTEWARD_NOTIFY": json.dumps([{**WEBHOOK, "token": "x"}])},
            "KEYSTEWARD_NOTIFY",
            "[0].#4",
            "is not a member of a target of kind webhook",
            id="a member that no target has",
        ),
        pytest.param(
            {"KEYSTEWARD_SECRET_EXPIRY": '{"atlasServiceAccount": "2027-02-30"}'},
            "KEYSTEWARD_SECRET_EXPIRY",
            "atlasServiceAccount",
            "is not a date",
            id="30 February",
        ),
        pytest.param(
            {"KEYSTEWARD_SECRET_EXPIRY": '{"atlasServiceAccount": "20270301"}'},
            "KEYSTEWARD_SECRET_EXPIRY",
            "atlasServiceAccount",
            "is not a date",
            id="a date without hyphens",
        ),
        pytest.param(
            {"KEYSTEWARD_SECRET_EXPIRY": '{"azureApplication": "2027-03-01"}'},
            "KEYSTEWARD_SECRET_EXPIRY",
            "#1",
            "is under a name that is neither",
            id="an application without its client id",
        ),
        pytest.param(
            {
                "KEYSTEWARD_SECRET_EXPIRY": json.dumps(
                    {f"azureApplication:{prefix}1111111-2222-3333-4444-555555555555": "2027-03-01" for prefix in "aA"}
                )
            },
            "KEYSTEWARD_SECRET_EXPIRY",
            "#2",
            "is there twice",
            id="one application in two spellings",
        ),
        pytest.param(
            {"ATLAS_AZURE_CLIENT_SECRET": '{"mine": "s"}'},
            "ATLAS_AZURE_CLIENT_SECRET",
            "#1",
            "no project id",
            id="a secret under another name",
        ),
        pytest.param(
            {"ATLAS_AZURE_CLIENT_SECRET": json.dumps({PROJECT: "two words"})},
            "ATLAS_AZURE_CLIENT_SECRET",
            "#1",
            "has white space",
            id="a secret of a project with a blank",
        ),
        pytest.param(
            {"ATLAS_AZURE_CLIENT_SECRET": json.dumps({PROJECT: 1})},
            "ATLAS_AZURE_CLIENT_SECRET",
            "#1",
            "is a whole number, not a text",
            id="a number for a secret",
        ),
        pytest.param(
            {"ATLAS_AZURE_CLIENT_SECRET": "{}"}, "ATLAS_AZURE_CLIENT_SECRET", "", "empty object", id="no secret at all"
        ),
        pytest.param(
            {"ATLAS_AZURE_CLIENT_SECRET": "{q8~x"}, "ATLAS_AZURE_CLIENT_SECRET", "", "is not JSON", id="half an object"
        ),
        pytest.param(
            {"RECONCILE_SCHEDULE": "*/15 * * * *"},
            "RECONCILE_SCHEDULE",
            "",
            "has 5 fields, not 6: put the seconds first",
            id="a schedule of five fields",
        ),
        pytest.param({"DAILY_SCHEDULE": "never"}, "DAILY_SCHEDULE", "", "has 1 field", id="a schedule in words"),
    ],
)
def test_a_setting_is_refused(changes: dict[str, str | None], name: str, place: str, what: str) -> None:
    (problem,) = problems(**changes)
    assert (problem.name, problem.place) == (name, place)
    assert what in problem.what
    assert problem.good_value


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_an_unresolved_reference_is_refused_by_name_whatever_the_setting(name: str) -> None:
    (problem,) = problems(**{name: REFERENCE})
    assert problem.name == name
    assert "is still a Key Vault reference" in problem.what


def test_an_unresolved_reference_inside_a_document_is_refused_too() -> None:
    (problem,) = problems(KEYSTEWARD_NOTIFY=json.dumps([{**WEBHOOK, "secret": REFERENCE.lower()}]))
    assert "is still a Key Vault reference" in problem.what


def test_every_problem_comes_at_once_in_the_order_of_the_table() -> None:
    found = problems(
        WATCH_SCHEDULE="",
        DAILY_SCHEDULE="x",
        KEYSTEWARD_POLICY='{"default": {}}',
        KEYSTEWARD_AUTH="nobody",
        AzureWebJobsStorage=None,
        ATLAS_CLIENT_ID=None,
        ATLAS_CLIENT_SECRET=None,
        ATLAS_BASE_URL="x",
        ATLAS_PROJECT_IDS="x,*",
    )
    assert [problem.name for problem in found] == [
        *("ATLAS_PROJECT_IDS", "ATLAS_PROJECT_IDS", "ATLAS_CLIENT_ID", "ATLAS_BASE_URL", "AzureWebJobsStorage"),
        *("KEYSTEWARD_POLICY", "KEYSTEWARD_AUTH", "DAILY_SCHEDULE"),
    ]
