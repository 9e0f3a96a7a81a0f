"""Settings: what each one takes, what is refused, and all of it at once."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.policy import Policy
from keysteward.settings import (
    ALL_PROJECTS,
    SETTINGS,
    ApiKey,
    AzureClientSecrets,
    Secret,
    ServiceAccount,
    Settings,
    parse_settings,
)
from keysteward.settings.values import project_ids
from keysteward.store.connection import ManagedIdentity
from tests.settings.builders import CLIENT, OTHER_PROJECT, PROJECT, environment, no_files, problems, settings

if TYPE_CHECKING:
    from keysteward.settings.setting import Setting

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
    assert parsed.atlas_credential == ServiceAccount("mdb_sa_id_1", Secret("mdb_sa_sk_1"))
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


def test_entra_guards_the_routes_where_it_is_asked_for() -> None:
    assert settings(KEYSTEWARD_AUTH=" entra ").auth == "entra"


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
    parsed = settings(ATLAS_PUBLIC_KEY="abcdefgh")
    assert parsed.atlas_credential == ServiceAccount("mdb_sa_id_1", Secret("mdb_sa_sk_1"))


def test_an_api_key_is_used_where_there_is_no_service_account() -> None:
    absent = {"ATLAS_CLIENT_ID": None, "ATLAS_CLIENT_SECRET": None}
    parsed = settings(ATLAS_PUBLIC_KEY="abcdefgh", ATLAS_PRIVATE_KEY="1234-5678", **absent)
    assert parsed.atlas_credential == ApiKey("abcdefgh", Secret("1234-5678"))


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
