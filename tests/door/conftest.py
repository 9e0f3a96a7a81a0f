"""The app behind its door, once for each way in which it can be hung, each in a host that starts when asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from devhost.azurite import start_azurite
from functions import openapi
from functions.openapi_document import openapi_document
from tests.app.description import Description
from tests.app.stage import FUNCTION_KEY, App
from tests.devhost.processes import ROOT, running_host
from tests.door.routes import OPEN_TO_ANYBODY, Route, registered

OURS = "64b0c1d2e3f4000000000001"
"""A project of the settings."""
DESCRIBED = {entra: Description(openapi_document(openapi.endpoints(), entra=entra)) for entra in (False, True)}
"""What the app says of its routes, by whether tokens open them."""
type Hosts = Callable[..., App]


@pytest.fixture(scope="session")
def app_under() -> Iterator[Hosts]:
    """
    Start the app with settings, once for each set of them.

    Everything else of its settings is good. No cloud is there: nobody listens where its calls go.
    """
    with contextlib.ExitStack() as running:
        azurite = running.enter_context(start_azurite())
        good = {
            "AzureWebJobsStorage": azurite.connection_string,
            "ATLAS_PROJECT_IDS": OURS,
            "ATLAS_CLIENT_ID": "mdb_sa_id_64b0c1d2e3f4051627384900",
            "ATLAS_CLIENT_SECRET": "mdb_sa_sk_planted",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
            # No timer runs while the tests do.
            **{f"{name}_SCHEDULE": "0 0 3 1 1 *" for name in ("RECONCILE", "FIREWALL", "WATCH", "DAILY")},
        }
        started: dict[frozenset[tuple[str, str | None]], App] = {}

        def under(**changes: str | None) -> App:
            asked = frozenset(changes.items())
            if asked not in started:
                settings = {name: text for name, text in {**good, **changes}.items() if text is not None}
                host = running.enter_context(running_host(ROOT, settings, "--function-key", FUNCTION_KEY))
                started[asked] = App(host, description=DESCRIBED[settings.get("KEYSTEWARD_AUTH") == "entra"])
            return started[asked]

        yield under


@pytest.fixture(scope="session")
def every_route() -> list[Route]:
    """Every route that is not meant to be open to anybody."""
    return [route for route in registered() if route.function not in OPEN_TO_ANYBODY]
