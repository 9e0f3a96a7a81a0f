"""
One Azurite, one simulator and one host for all tests of a worker; hosts with other settings on accounts of their own.

What takes long (a rotation until its last cluster: the app looks twice, 15 s apart) is begun at once with the session
and awaited by the tests about it, so that it costs its time once.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from devhost.azurite import start_azurite
from tests.app.stage import (
    AZURE_SECRET,
    CLIENT_ID,
    CLIENT_SECRET,
    FUNCTION_KEY,
    OTHERS,
    PROJECTS,
    SWEPT_VAULT,
    Account,
    App,
    Cloud,
    Project,
    all_seen,
    build,
)
from tests.devhost.processes import ROOT, eventually, running_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that wait for rotations behind all others: the random order may be any, their place may not."""
    items.sort(key=lambda item: item.path.name == "test_followed_rotations.py")


class Accounts:
    """Storage accounts of one Azurite: two hosts on one account would share their queues."""

    names = ("main", "impatient", "misconfigured", "dryrun", "schedule", "watch", "hints")

    def __init__(self, ports: dict[str, int], keys: dict[str, str]) -> None:
        self._ports, self._keys = ports, keys

    def __getitem__(self, name: str) -> Account:
        return Account(name, self._keys[name], self._ports)


@pytest.fixture(scope="session")
def accounts() -> Iterator[Accounts]:
    keys = {name: base64.b64encode(f"planted-storage-key-of-{name}".encode()).decode() for name in Accounts.names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURITE_ACCOUNTS", ";".join(f"{name}:{key}" for name, key in keys.items()))
        azurite = start_azurite()
    # Another Azurite of this process must not get these accounts: its tests use the usual one.
    with azurite:
        yield Accounts(azurite.ports, keys)


@dataclass(frozen=True)
class Simulator:
    cloud: Cloud
    environment: dict[str, str]


@contextlib.contextmanager
def running_simulator() -> Iterator[Simulator]:
    """Run a simulated cloud of its own, which knows the service account."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        assert process.stdout.readline() == "ready\n"
        with httpx.Client(base_url=told["control"], timeout=30, trust_env=False) as http:
            cloud = Cloud(http)
            cloud.ask("POST", "/world", {"serviceAccounts": [{"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET}]})
            cloud.ask("PUT", "/rollout", {"startLag": [0, 0.1], "perCluster": [0.2, 0.4], "pause": [0.2, 0.4]})
            yield Simulator(cloud, told["environment"])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with running_simulator() as found:
        yield found


@pytest.fixture(scope="session")
def cloud(simulator: Simulator) -> Cloud:
    return simulator.cloud


@pytest.fixture(scope="session")
def good_settings(simulator: Simulator) -> dict[str, str]:
    """Settings of the app but for its storage."""
    return {
        **simulator.environment,
        "ATLAS_PROJECT_IDS": ",".join(PROJECTS),
        "ATLAS_CLIENT_ID": CLIENT_ID,
        "ATLAS_CLIENT_SECRET": CLIENT_SECRET,
        # No other timer run but those that a test orders.
        "RECONCILE_SCHEDULE": "0 0 3 1 1 *",
        "WATCH_SCHEDULE": "0 0 3 1 1 *",
        "FIREWALL_SCHEDULE": "0 0 3 1 1 *",
        "DAILY_SCHEDULE": "0 0 3 1 1 *",
    }


@pytest.fixture(scope="session")
def other_settings(good_settings: dict[str, str], other_projects: tuple[Project, ...]) -> dict[str, str]:
    """The same for the hosts beside the main one."""
    return {**good_settings, "ATLAS_PROJECT_IDS": ",".join(one.id for one in other_projects)}


@pytest.fixture(scope="session")
def main_account(accounts: Accounts) -> Account:
    return accounts["main"]


@pytest.fixture(scope="session")
def app(good_settings: dict[str, str], main_account: Account, cloud: Cloud) -> Iterator[App]:
    """The app, its events subscribed; nothing was asked of it yet but that."""
    settings = {**good_settings, "AzureWebJobsStorage": main_account.connection_string}
    settings["KEYSTEWARD_POLICY"] = json.dumps({"vaults": {SWEPT_VAULT: {"firewall": {"removeAfterHours": 0}}}})
    with running_host(ROOT, settings, "--function-key", FUNCTION_KEY) as host:
        path = f"/runtime/webhooks/eventgrid?functionName=key_vault_events&code={FUNCTION_KEY}"
        cloud.ask("POST", "/event-grid/subscriptions", {"endpoint": host.url + path})
        yield App(host)


@pytest.fixture(scope="session")
def built_projects(cloud: Cloud, app: App) -> list[Project]:
    """Every project of the settings but one, each with a vault of its own, built at once."""
    found = [Project(cloud, one, f"kv-test-{number}", ("one", "two")) for number, one in enumerate(PROJECTS[:-1])]
    # The first one is old enough for Atlas's alert.
    build(found, oldest_days=100)
    return found


@pytest.fixture(scope="session")
def unused_projects(built_projects: list[Project]) -> Iterator[Project]:
    # The last ones are those that the policy names, and that generated requests are about.
    return iter(built_projects[:-2])


@pytest.fixture(scope="session")
def swept_project(stories: Stories, built_projects: list[Project]) -> Project:
    """The project in whose vault a rule of ours leaves as soon as nobody wants it."""
    return built_projects[-2]


@pytest.fixture(scope="session")
def next_project(stories: Stories, unused_projects: Iterator[Project]) -> Callable[[], Project]:
    """Give a project that no other test knows, and that the app has seen in a good state."""
    return lambda: next(unused_projects)


@pytest.fixture(scope="session")
def shared_project(next_project: Callable[[], Project]) -> Project:
    """A project for all tests that change nothing of it but what is refused."""
    return next_project()


@pytest.fixture(scope="session")
def other_projects(cloud: Cloud) -> tuple[Project, ...]:
    """The projects of the other hosts."""
    found = tuple(Project(cloud, one, f"kv-other-{number}", ("one",)) for number, one in enumerate(OTHERS))
    build(found)
    return found


@pytest.fixture
def project(next_project: Callable[[], Project]) -> Project:
    return next_project()


@dataclass(frozen=True)
class Story:
    """A rotation that was begun: of which project, to what, and (ordered by hand) by which answer."""

    project: Project
    target: str
    ordered: Any = None


@dataclass(frozen=True)
class Stories:
    """What was begun with the session, and what the app said before it had seen anything."""

    before: Any
    by_event: Story
    by_timer: Story
    by_hand: Story
    lost_before_the_timer: bool


@pytest.fixture(scope="session")
def stories(app: App, unused_projects: Iterator[Project]) -> Stories:
    """
    Begin three rotations: by an event, by the timer after a lost event, by hand.

    Comes before every other test: its timer looks at all projects, and would carry out what another test only plans.
    """
    before = app.call("GET", "/api/projects")
    by_event, by_timer, by_hand = (next(unused_projects) for _ in range(3))
    app.run_timer()
    all_seen(app)
    event_target = by_event.new_version(event=True)
    hand_target = by_hand.new_version(event=False)
    body = {"keyIdentifier": hand_target, "reason": "the key was seen by a stranger"}
    ordered = app.call("POST", f"/api/projects/{by_hand.id}/rotate", body)
    timer_target = by_timer.new_version(event=False)
    untouched = not by_timer.cloud.pushes(by_timer.id)
    ordered_at = datetime.now(UTC).isoformat()
    app.run_timer()
    eventually(lambda: by_timer.cloud.pushes(by_timer.id))
    # A look of this timer that is still to come would be counted by a test that counts looks.
    all_seen(app, since=ordered_at, but_for=3)
    return Stories(
        before,
        Story(by_event, event_target),
        Story(by_timer, timer_target),
        Story(by_hand, hand_target, ordered),
        untouched,
    )


@pytest.fixture(autouse=True)
def stories_first(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("host") is not None:
        request.getfixturevalue("stories")


@pytest.fixture(scope="session")
def impatient_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's folder with one change: a message that failed comes back at once, not after 30 s."""
    folder = tmp_path_factory.mktemp("impatient")
    for name in ("function_app.py", "functions", "keysteward"):
        (folder / name).symlink_to(ROOT / name)
    content = json.loads((ROOT / "host.json").read_text("utf-8"))
    content["extensions"]["queues"]["visibilityTimeout"] = "00:00:00"
    (folder / "host.json").write_text(json.dumps(content), "utf-8")
    return folder


@contextlib.contextmanager
def host_with(folder: Path, settings: dict[str, str]) -> Iterator[App]:
    with running_host(folder, settings, "--function-key", FUNCTION_KEY) as host:
        yield App(host)


@pytest.fixture(scope="session")
def misconfigured(simulator: Simulator, accounts: Accounts, impatient_folder: Path) -> Iterator[App]:
    """The app with everything wrong but its storage."""
    settings = {
        **simulator.environment,
        "AzureWebJobsStorage": accounts["misconfigured"].connection_string,
        "ATLAS_CLIENT_SECRET": CLIENT_SECRET + " with blanks",
        "ATLAS_AZURE_CLIENT_SECRET": f"{AZURE_SECRET} {AZURE_SECRET}",
        "KEYSTEWARD_POLICY": json.dumps({"projects": {PROJECTS[0]: {"rotation": {"mode": "sometimes"}}}}),
        "KEYSTEWARD_AUTH": "nobody",
        "KEYSTEWARD_NOTIFY": '[{"kind": "teams", "url": "http://planted-hook.example.com/secret"}]',
        "KEYSTEWARD_DRYRUN": "true",
    }
    with host_with(impatient_folder, settings) as running:
        yield running


@pytest.fixture(scope="session")
def impatient(other_settings: dict[str, str], accounts: Accounts, impatient_folder: Path) -> Iterator[App]:
    settings = {**other_settings, "AzureWebJobsStorage": accounts["impatient"].connection_string}
    with host_with(impatient_folder, settings) as running:
        yield running


@pytest.fixture(scope="session")
def dry_running(other_settings: dict[str, str], accounts: Accounts) -> Iterator[App]:
    storage = accounts["dryrun"].connection_string
    settings = {**other_settings, "AzureWebJobsStorage": storage, "KEYSTEWARD_DRY_RUN": "true"}
    settings["ATLAS_AZURE_CLIENT_SECRET"] = AZURE_SECRET
    with host_with(ROOT, settings) as running:
        yield running
