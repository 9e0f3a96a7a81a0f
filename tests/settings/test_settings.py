"""Settings: what each one takes, what is refused, and all of it at once."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.policy import Policy
from keysteward.settings import (
    ALL_PROJECTS,
    SETTINGS,
    AzureClientSecrets,
    Secret,
    ServiceAccount,
    Settings,
    parse_settings,
)
from keysteward.settings.setting import Setting
from keysteward.settings.values import project_ids
from keysteward.store.connection import ManagedIdentity
from tests.settings.builders import CLIENT, OTHER_PROJECT, PROJECT, environment, no_files, problems, settings

CONTRACT_DEFAULTS = {
    "ATLAS_PROJECT_IDS": None,
    "ATLAS_CLIENT_ID": None,
    "ATLAS_CLIENT_SECRET": None,
    "ATLAS_PUBLIC_KEY": None,
    "ATLAS_PRIVATE_KEY": None,
    "ATLAS_BASE_URL": "https://cloud.mongodb.com",
    "ATLAS_AZURE_CLIENT_SECRET": None,
    "AzureWebJobsStorage": None,
    "AzureWebJobsStorage__blobServiceUri": None,
    "AzureWebJobsStorage__queueServiceUri": None,
    "AzureWebJobsStorage__tableServiceUri": None,
    "AzureWebJobsStorage__accountName": None,
    "AzureWebJobsStorage__credential": None,
    "AzureWebJobsStorage__clientId": None,
    "AZURE_CLIENT_ID": None,
    "KEYSTEWARD_POLICY": "{}",
    "KEYSTEWARD_AUTH": "keys",
    "KEYSTEWARD_DRY_RUN": "false",
    "KEYSTEWARD_NOTIFY": "[]",
    "KEYSTEWARD_SECRET_EXPIRY": "{}",
    "KEYSTEWARD_ATLAS_WEBHOOK_SECRET": None,
    "RECONCILE_SCHEDULE": "0 */15 * * * *",
    "FIREWALL_SCHEDULE": "30 */5 * * * *",
    "WATCH_SCHEDULE": "15 * * * * *",
    "DAILY_SCHEDULE": "0 0 6 * * *",
}


def test_every_setting_has_the_name_and_default_of_the_contract() -> None:
    assert {setting.name: setting.default for setting in SETTINGS} == CONTRACT_DEFAULTS


@pytest.mark.parametrize("setting", [pytest.param(row, id=f"{row.name} takes its own example") for row in SETTINGS])
def test_an_example_and_a_default_are_good_values(setting: Setting[object]) -> None:
    setting.read(setting.example)
    if setting.default is not None:
        setting.read(setting.default)


def test_the_least_that_is_required_gives_every_default() -> None:
    parsed = settings()
    assert parsed.project_ids == (PROJECT,)
    assert parsed.service_account == ServiceAccount("mdb_sa_id_1", Secret("mdb_sa_sk_1"))
    assert parsed.atlas_base_url == "https://cloud.mongodb.com"
    assert parsed.policy == Policy()
    assert (parsed.auth, parsed.dry_run, parsed.notify_targets, dict(parsed.secret_expiry)) == ("keys", False, (), {})
    assert (parsed.azure_client_id, parsed.atlas_webhook_secret) == (None, None)
    assert parsed.azure_client_secrets == AzureClientSecrets()
    periods = [
        schedule.period_seconds
        for schedule in (
            parsed.reconcile_schedule,
            parsed.firewall_schedule,
            parsed.watch_schedule,
            parsed.daily_schedule,
        )
    ]
    assert periods == [900, 300, 60, 86_400]
    assert parsed.reconcile_period_seconds == 900


def test_an_empty_setting_is_an_absent_one() -> None:
    blank = {setting.name: "  " for setting in SETTINGS if setting.name not in environment()}
    assert settings(**blank) == settings()


def test_project_ids_are_trimmed_and_each_counts_once() -> None:
    assert settings(ATLAS_PROJECT_IDS=f" {OTHER_PROJECT} ,{PROJECT},{OTHER_PROJECT}").project_ids == (
        OTHER_PROJECT,
        PROJECT,
    )


def test_the_star_is_read_although_this_release_refuses_it() -> None:
    assert project_ids("*") == ALL_PROJECTS


@pytest.mark.parametrize("text", ["true", "TRUE", "True", "1"])
def test_dry_run_is_on(text: str) -> None:
    assert settings(KEYSTEWARD_DRY_RUN=text).dry_run is True


@pytest.mark.parametrize("text", ["false", "False", "0", ""])
def test_dry_run_is_off(text: str) -> None:
    assert settings(KEYSTEWARD_DRY_RUN=text).dry_run is False


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("https://cloud.mongodb.com/", "https://cloud.mongodb.com", id="a slash at the end is taken off"),
        pytest.param("HTTPS://Cloud.MongoDBgov.com:443", "https://cloud.mongodbgov.com:443", id="capitals are lowered"),
    ],
)
def test_a_base_url_is_read(text: str, read: str) -> None:
    assert settings(ATLAS_BASE_URL=text).atlas_base_url == read


def test_a_service_account_comes_before_api_keys_whatever_is_left_of_them() -> None:
    assert settings(ATLAS_PUBLIC_KEY="abcdefgh").service_account.client_id == "mdb_sa_id_1"


def test_an_identity_reaches_the_storage() -> None:
    parsed = settings(
        AzureWebJobsStorage=None,
        AzureWebJobsStorage__accountName="keystewardstore",
        AzureWebJobsStorage__credential="managedidentity",
        AzureWebJobsStorage__clientId=CLIENT,
    )
    assert parsed.storage.table_endpoint == "https://keystewardstore.table.core.windows.net"
    assert parsed.storage.credential == ManagedIdentity(CLIENT)


def test_the_secret_of_the_azure_application_is_one_for_all_or_one_a_project() -> None:
    for_all = settings(ATLAS_AZURE_CLIENT_SECRET="q8~one").azure_client_secrets
    assert for_all.for_project(PROJECT) == for_all.for_project(OTHER_PROJECT) == Secret("q8~one")
    single = settings(ATLAS_AZURE_CLIENT_SECRET=json.dumps({PROJECT: "q8~one"})).azure_client_secrets
    assert (single.for_project(PROJECT), single.for_project(OTHER_PROJECT)) == (Secret("q8~one"), None)
    assert settings().azure_client_secrets.for_project(PROJECT) is None


def test_targets_of_every_kind_are_read() -> None:
    url = "https://hooks.example.com/services/T0/B0?sig=1"
    text = json.dumps(
        [
            {"kind": "teams", "url": url},
            {"kind": "slack", "url": url},
            {"kind": "webhook", "url": url, "secret": "long and random"},
            {"kind": "eventgrid", "endpoint": "https://topic.westeurope-1.eventgrid.azure.net/api/events"},
        ]
    )
    targets = settings(KEYSTEWARD_NOTIFY=text).notify_targets
    assert [target.kind for target in targets] == ["teams", "slack", "webhook", "eventgrid"]
    assert [target.signing_secret for target in targets] == [None, None, Secret("long and random"), None]
    assert targets[3].url.reveal().startswith("https://topic.")


def test_end_dates_are_read_by_client_id_in_lower_case() -> None:
    text = json.dumps(
        {"atlasServiceAccount": "2027-03-01", "azureApplication:ABCDEF00-2222-3333-4444-555555555555": "2028-02-29"}
    )
    assert settings(KEYSTEWARD_SECRET_EXPIRY=text).secret_expiry == {
        "atlasServiceAccount": date(2027, 3, 1),
        "azureApplication:abcdef00-2222-3333-4444-555555555555": date(2028, 2, 29),
    }


def test_a_policy_is_read_from_a_file_beside_host_json() -> None:
    asked: list[str] = []

    def read_file(name: str) -> str:
        asked.append(name)
        return '{"defaults": {"rotation": {"mode": "approve"}}}'

    parsed = parse_settings(environment(KEYSTEWARD_POLICY="policy.prod.json"), read_file)
    assert isinstance(parsed, Settings), parsed
    assert (asked, parsed.policy.defaults.rotation.mode) == (["policy.prod.json"], "approve")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        pytest.param(FileNotFoundError(), "names a file that is not there", id="the file is not there"),
        pytest.param(IsADirectoryError(), "cannot be read as text", id="the file is a folder"),
        pytest.param(UnicodeDecodeError("utf-8", b"\xff", 0, 1, ""), "cannot be read as text", id="the file is binary"),
    ],
)
def test_a_policy_file_cannot_be_read(error: Exception, what: str) -> None:
    def read_file(_: str) -> str:
        raise error

    parsed = parse_settings(environment(KEYSTEWARD_POLICY="policy.json"), read_file)
    assert not isinstance(parsed, Settings)
    assert [(problem.name, what in problem.what) for problem in parsed] == [("KEYSTEWARD_POLICY", True)]


def test_problems_inside_a_policy_carry_the_setting_and_the_path() -> None:
    (problem,) = problems(KEYSTEWARD_POLICY=json.dumps({"projects": {PROJECT: {"rotation": {"mode": "of"}}}}))
    assert str(problem).startswith(f"KEYSTEWARD_POLICY projects.{PROJECT}.rotation.mode: is not one of")
    assert str(problem.public).startswith("KEYSTEWARD_POLICY projects.*.rotation.mode: is not one of")


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
            {"ATLAS_PROJECT_IDS": "*"}, "ATLAS_PROJECT_IDS", "", "not supported in this release", id="* in this release"
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
            "ATLAS_CLIENT_ID and ATLAS_CLIENT_SECRET (a service account) or with ATLAS_PUBLIC_KEY and ATLAS_PRIVATE_KEY",
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
            {"ATLAS_CLIENT_ID": None, "ATLAS_CLIENT_SECRET": None, "ATLAS_PUBLIC_KEY": "a", "ATLAS_PRIVATE_KEY": "b"},
            "ATLAS_PUBLIC_KEY",
            "",
            "HTTP Digest), which is not supported yet in this release",
            id="an API key in this release",
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
            {"KEYSTEWARD_AUTH": "entra"},
            "KEYSTEWARD_AUTH",
            "",
            "not supported in this release",
            id="entra in this release",
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
        KEYSTEWARD_AUTH="entra",
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


def test_a_name_that_is_like_no_setting_is_left_alone() -> None:
    assert settings(KEYSTEWARD_ENVIRONMENT_TAG="prod", ATLAS_REGION="westeurope", PATH="/bin") == settings()


def test_a_name_that_is_nearly_a_setting_is_left_alone_where_that_setting_is_there() -> None:
    assert settings(ATLAS_PROJECT_ID="mine") == settings()


ENVIRONMENTS = st.dictionaries(
    st.sampled_from([setting.name for setting in SETTINGS]) | st.text(max_size=20),
    st.text(max_size=60)
    | st.sampled_from([setting.example for setting in SETTINGS])
    | st.from_regex(r"[{\[]?[\"a-z:,*0-9/ @.-]{0,30}[}\]]?", fullmatch=True),
)


@given(ENVIRONMENTS, st.text(max_size=60) | st.sampled_from([OSError("x"), ValueError("x")]))
def test_any_environment_is_read_or_has_problems(found: dict[str, str], file: str | Exception) -> None:
    def read_file(_: str) -> str:
        if isinstance(file, Exception):
            raise file
        return file

    parsed = parse_settings(found, read_file)
    if not isinstance(parsed, Settings):
        assert parsed
        assert {problem.name for problem in parsed} <= set(CONTRACT_DEFAULTS)


def test_reading_asks_for_no_file_where_none_is_named() -> None:
    assert isinstance(parse_settings(environment(), no_files), Settings)
