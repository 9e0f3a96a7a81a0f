"""Puts everything up: Azurite, the simulator, and the app in the local host with the simulator's environment."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from demo.children import Child
from demo.cloud import CLIENT_ID, CLIENT_SECRET, PROJECT_ID, VAULT, Cloud
from demo.errors import NotObservedError, StageError
from demo.operator import Operator
from devhost.azurite import AzuriteError, start_azurite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FUNCTION_KEY = "demo-key"
_POLL_SECONDS = 0.15
_ANSWER_SECONDS = 30.0
_ONCE_A_YEAR = "0 0 3 1 1 *"
# Every setting is named: what local.settings.json says must not change the story.
_SETTINGS = {
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "ATLAS_PROJECT_IDS": PROJECT_ID,
    "ATLAS_CLIENT_ID": CLIENT_ID,
    "ATLAS_CLIENT_SECRET": CLIENT_SECRET,
    "ATLAS_PUBLIC_KEY": "",
    "ATLAS_PRIVATE_KEY": "",
    "ATLAS_BASE_URL": "",
    "ATLAS_AZURE_CLIENT_SECRET": "",
    "AZURE_CLIENT_ID": "",
    # The app's clock is the real one, so a deleted cluster's rules cannot wait for their hours.
    "KEYSTEWARD_POLICY": json.dumps({"vaults": {VAULT: {"firewall": {"removeAfterHours": 0}}}}),
    "KEYSTEWARD_AUTH": "",
    "KEYSTEWARD_DRY_RUN": "",
    "KEYSTEWARD_NOTIFY": "",
    "KEYSTEWARD_SECRET_EXPIRY": "",
    "KEYSTEWARD_ATLAS_WEBHOOK_SECRET": "",
    "RECONCILE_SCHEDULE": "",
    # What looks at the vault comes only when the story runs it: a cluster has to be seen hanging.
    "FIREWALL_SCHEDULE": _ONCE_A_YEAR,
    "WATCH_SCHEDULE": "",
    "DAILY_SCHEDULE": _ONCE_A_YEAR,
}


@dataclass(frozen=True)
class Stage:
    """Everything that runs, and how to talk to it."""

    cloud: Cloud
    operator: Operator
    host_url: str
    control_url: str
    children: tuple[Child, ...]

    def event_endpoint(self, function: str) -> str:
        return f"{self.host_url}/runtime/webhooks/eventgrid?functionName={function}&code={FUNCTION_KEY}"

    def check(self) -> None:
        """Raise StageError if a process has ended."""
        for child in self.children:
            child.check()

    def until[T](self, look: Callable[[], T | None], seconds: float, what: str) -> T:
        """
        Look until it is true (not empty), and give what was seen.

        Raises:
            NotObservedError: it was not so in *seconds*; *what* is the end of "was not seen: ".
            StageError: a process ended meanwhile.
        """
        until = time.monotonic() + seconds
        while not (found := look()):
            self.check()
            if time.monotonic() > until:
                raise NotObservedError(f"{what} (waited {seconds:.0f} s; last seen: {found!r})")
            time.sleep(_POLL_SECONDS)
        return found

    def run_on(self) -> None:
        """Keep everything up until interrupted; raise StageError if a process ends."""
        while True:
            self.check()
            time.sleep(1)


@contextlib.contextmanager
def running_stage() -> Iterator[Stage]:
    """
    Start everything, and end it with the block.

    Raises:
        StageError: something did not start.
    """
    with contextlib.ExitStack() as stack:
        # Without the real services' latencies (4 to 11 s for a push alone): the app's own two looks, 15 s apart, take
        # the story's time as it is.
        simulator = _started(stack, "the simulator", ["simulator", "--latencies", "none"], {})
        try:
            storage = stack.enter_context(start_azurite()).connection_string
        except AzuriteError as error:
            raise StageError(str(error)) from error
        told = json.loads(simulator.line("{"))
        simulator.line("ready")
        environment = {**_SETTINGS, **told["environment"], "AzureWebJobsStorage": storage}
        host = _started(
            stack, "the app's host", ["devhost", "--port", "0", "--function-key", FUNCTION_KEY], environment
        )
        host_url = host.line("ready").split()[1]
        control = stack.enter_context(_client(told["control"]))
        app = stack.enter_context(_client(host_url, {"x-functions-key": FUNCTION_KEY}))
        yield Stage(Cloud(control), Operator(app), host_url, told["control"], (simulator, host))


def _started(stack: contextlib.ExitStack, name: str, arguments: list[str], environment: Mapping[str, str]) -> Child:
    child = Child(name, arguments, environment)
    stack.callback(child.stop)
    return child


def _client(url: str, headers: Mapping[str, str] | None = None) -> httpx.Client:
    # The proxy of this shell is not for 127.0.0.1.
    return httpx.Client(base_url=url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False)
