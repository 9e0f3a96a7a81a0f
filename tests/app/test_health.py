"""Whether the app can do its work, and what to mend where it cannot. Open to anybody, so it names nothing of ours."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keysteward.health import HealthCheck as Check
from keysteward.health import age_check, door_check, list_check, outbox_check, report
from keysteward.schedules import schedule_of
from tests.app.shapes import Health, Problem, shaped
from tests.app.stage import AZURE_SECRET, CLIENT_SECRET, FUNCTION_KEY, PROJECTS, QUEUE, App, key_event
from tests.devhost.processes import ROOT, ended, eventually, running_host

if TYPE_CHECKING:
    from tests.app.conftest import Accounts

IDENTIFIER = f"https://kv-planted.vault.azure.net/keys/atlas-cmk/{'0' * 32}"


def checks_of(app: App, status: int = 200) -> Health:
    answer = app.call("GET", "/api/health", keyed=False)
    assert answer.status == status, answer.body
    text = answer.body.decode()
    assert not any(project in text for project in PROJECTS), "no project is named"
    assert "kv-" not in text, "no vault is named"
    return shaped(answer.json(), Health)


@pytest.mark.host
def test_a_good_app_is_ok_and_names_nobody(app: App) -> None:
    health = checks_of(app)
    assert health.status == "ok"
    assert {check.id: check.result for check in health.checks} == {
        "settings": "pass",
        "callers": "pass",
        "storage": "pass",
        "lastReconcile": "pass",
        "notifications": "pass",
    }


@pytest.mark.host
def test_without_its_storage_the_app_is_degraded_and_answers_503(good_settings: dict[str, str]) -> None:
    nowhere = "DefaultEndpointsProtocol=http;AccountName=gone;AccountKey=cGxhbnRlZA==;" + "".join(
        f"{service}Endpoint=http://127.0.0.1:1/gone;" for service in ("Blob", "Queue", "Table")
    )
    settings = {**good_settings, "AzureWebJobsStorage": nowhere}
    with running_host(ROOT, settings, "--function-key", FUNCTION_KEY) as host:
        app = App(host)
        # All at once: each is tried several times before it is given up.
        with ThreadPoolExecutor() as pool:
            health_asked = pool.submit(checks_of, app)
            listed = pool.submit(app.call, "GET", "/api/projects")
            delivered = pool.submit(app.deliver, key_event(IDENTIFIER))
        health = health_asked.result()
        assert health.status == "degraded"
        assert [check.id for check in health.checks if check.result == "warn"] == ["storage"]
        answer = listed.result()
        assert (answer.status, shaped(answer.json(), Problem).code) == (503, "storageUnavailable")
        # Event Grid sends it again: nothing was queued, and nothing may be acknowledged.
        assert delivered.result().status == 500


@pytest.mark.host
def test_wrong_settings_are_all_named_with_a_good_value_and_no_value_is_quoted(misconfigured: App) -> None:
    health = checks_of(misconfigured, 503)
    assert health.status == "misconfigured"
    wrong = {check.id: check.detail for check in health.checks if check.result == "fail"}
    assert set(wrong) == {
        "ATLAS_PROJECT_IDS",
        "ATLAS_CLIENT_ID",
        "ATLAS_CLIENT_SECRET",
        "ATLAS_AZURE_CLIENT_SECRET",
        "KEYSTEWARD_POLICY",
        "KEYSTEWARD_AUTH",
        "KEYSTEWARD_NOTIFY",
        "KEYSTEWARD_DRY_RUN",
    }
    assert all("A good value: " in detail for detail in wrong.values())
    assert "projects.*.rotation.mode" in wrong["KEYSTEWARD_POLICY"]
    told = "\n".join([*misconfigured.answers, misconfigured.host.log()])
    for secret in (CLIENT_SECRET, AZURE_SECRET, "planted-hook", "sometimes", FUNCTION_KEY):
        assert secret not in told


@pytest.mark.host
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/projects"),
        ("GET", f"/api/projects/{PROJECTS[0]}"),
        ("POST", f"/api/projects/{PROJECTS[0]}/rotate"),
        ("POST", f"/api/projects/{PROJECTS[0]}/reconcile"),
        ("GET", f"/api/operations/{PROJECTS[0]}.{'0' * 22}"),
        ("GET", "/api/audit"),
    ],
)
def test_with_wrong_settings_a_route_answers_503_and_still_wants_its_key(
    misconfigured: App, method: str, path: str
) -> None:
    answer = misconfigured.call(method, path, {"reason": "x"} if method == "POST" else None)
    assert (answer.status, shaped(answer.json(), Problem).code) == (503, "misconfigured")
    assert misconfigured.call(method, path, keyed=False).status == 401


@pytest.mark.host
def test_with_wrong_settings_hints_are_queued_and_given_up_only_in_the_end(
    misconfigured: App, accounts: Accounts
) -> None:
    failed = misconfigured.host.log().count("work failed: ")
    assert misconfigured.deliver(key_event(IDENTIFIER)).status == 202
    # Five tries, as host.json has it (here without the half minute between them); then the log says what repairs it.
    eventually(lambda: misconfigured.host.log().count("work failed: ") == failed + 5)
    eventually(lambda: "a message was given up while settings are wrong" in misconfigured.host.log())
    eventually(lambda: accounts["misconfigured"].waiting(f"{QUEUE}-poison") == 0)
    misconfigured.run_timer()
    eventually(lambda: "settings are wrong: nothing is reconciled" in misconfigured.host.log())


@pytest.mark.host
def test_without_a_storage_setting_the_host_itself_says_what_is_missing(good_settings: dict[str, str]) -> None:
    code, told = ended(ROOT, good_settings)
    assert code == 4
    assert "AzureWebJobsStorage is not set" in told


@pytest.mark.host
def test_a_wrong_schedule_stops_its_timer_alone_and_is_named(good_settings: dict[str, str], accounts: Accounts) -> None:
    settings = {**good_settings, "RECONCILE_SCHEDULE": "every hour"}
    settings["AzureWebJobsStorage"] = accounts["schedule"].connection_string
    with running_host(ROOT, settings, "--function-key", FUNCTION_KEY) as host:
        app = App(host)
        health = checks_of(app, 503)
        assert [check.id for check in health.checks if check.result == "fail"] == ["RECONCILE_SCHEDULE"]
        assert set(app.call("GET", "/admin/host/status").json()["errors"]) == {"reconcile_projects"}
        assert app.deliver(key_event(IDENTIFIER)).status == 202


@pytest.mark.host
def test_a_schedule_that_is_not_set_means_its_default(good_settings: dict[str, str], accounts: Accounts) -> None:
    settings = {k: v for k, v in good_settings.items() if k != "RECONCILE_SCHEDULE"}
    settings["AzureWebJobsStorage"] = accounts["schedule"].connection_string
    with running_host(ROOT, settings) as host:
        app = App(host, key=None)
        assert app.call("GET", "/admin/host/status").json()["errors"] == {}
        assert checks_of(app).status == "ok"


@pytest.mark.parametrize(
    ("environment", "text"),
    [({}, "0 */15 * * * *"), ({"RECONCILE_SCHEDULE": "  "}, "0 */15 * * * *"), ({"RECONCILE_SCHEDULE": " 9 "}, "9")],
    ids=["absent: the default", "blank: the default", "set: that, trimmed"],
)
def test_the_timer_reads_its_schedule_as_the_settings_do(environment: dict[str, str], text: str) -> None:
    assert schedule_of("RECONCILE_SCHEDULE", environment) == text


NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
QUARTER = 900


@pytest.mark.parametrize(
    ("observed", "up_for", "result", "said"),
    [
        pytest.param([NOW], 60, "pass", "1 of 1 projects seen", id="ok when every project was just seen"),
        pytest.param([None], 60, "pass", "0 of 1 projects seen", id="ok when the process is young and has seen none"),
        pytest.param([NOW - timedelta(minutes=34)], 3600, "pass", "34 min", id="ok while one run at most was missed"),
        pytest.param(
            [NOW - timedelta(minutes=36)], 3600, "warn", "two timer runs", id="degraded after two missed runs"
        ),
        pytest.param([NOW, NOW - timedelta(hours=1)], 60, "warn", "60 min", id="degraded by the one seen longest ago"),
        pytest.param([None], 3600, "warn", "0 of 1", id="degraded when an old process has never seen a project"),
        pytest.param([], 60, "pass", "no project", id="ok without projects"),
        pytest.param([], 36_000, "pass", "no project", id="ok without projects however old the process is"),
    ],
)
def test_the_age_of_the_last_reconcile(observed: list[datetime | None], up_for: int, result: str, said: str) -> None:
    check = age_check(observed, NOW, QUARTER, NOW - timedelta(seconds=up_for))
    assert check.result == result, check
    assert said in check.detail


@pytest.mark.parametrize(
    ("minutes_ago", "up_for", "result"),
    [(0, 60, "pass"), (35, 36_000, "pass"), (36, 60, "warn"), (None, 60, "pass"), (None, 36_000, "warn")],
    ids=["just read", "one reading missed", "two missed", "young and not read yet", "old and never read"],
)
def test_the_age_of_the_list_of_projects(minutes_ago: int | None, up_for: int, result: str) -> None:
    read_at = NOW - timedelta(minutes=minutes_ago) if minutes_ago is not None else None
    assert list_check(read_at, NOW, QUARTER, NOW - timedelta(seconds=up_for)).result == result


@pytest.mark.parametrize(
    ("waits", "result"),
    [(None, "pass"), (timedelta(minutes=60), "pass"), (timedelta(minutes=61), "warn")],
    ids=["nothing waits", "an hour", "more than an hour"],
)
def test_a_notification_that_waits_long_is_told(waits: timedelta | None, result: str) -> None:
    assert outbox_check(waits).result == result


@pytest.mark.parametrize(
    ("auth", "easy_auth", "result"),
    [("keys", False, "pass"), ("keys", True, "pass"), ("entra", True, "pass"), ("entra", False, "warn")],
)
def test_it_is_told_where_nobody_can_be_let_in(auth: str, easy_auth: bool, result: str) -> None:
    assert door_check(auth, easy_auth=easy_auth).result == result


@pytest.mark.parametrize(
    ("results", "status", "word"),
    [
        (("pass", "pass"), 200, "ok"),
        (("pass", "warn"), 200, "degraded"),
        (("warn", "fail"), 503, "misconfigured"),
    ],
)
def test_the_worst_check_decides_the_answer(results: tuple[str, ...], status: int, word: str) -> None:
    code, body = report([Check(f"check{n}", result, "said") for n, result in enumerate(results)])
    assert (code, shaped(json.loads(json.dumps(body)), Health).status) == (status, word)
