"""A real Azurite, and the sample app in the real host process in front of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from devhost.azurite import start_azurite
from tests.devhost.processes import SAMPLE_APP, HostProcess, running_host

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a-key-for-tests"


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    """The connection string of an Azurite of this test process."""
    with start_azurite() as azurite:
        yield azurite.connection_string


@pytest.fixture(scope="module")
def settings(storage: str) -> dict[str, str]:
    """The sample app's settings, with a work queue that no other module uses."""
    return {"AzureWebJobsStorage": storage, "WORK": f"work-{uuid.uuid4().hex[:12]}", "TICK": "0 0 0 1 1 *"}


@pytest.fixture(scope="module")
def host(settings: dict[str, str]) -> Iterator[HostProcess]:
    """The sample app, open to all calls."""
    with running_host(SAMPLE_APP, settings) as running:
        yield running


@pytest.fixture(scope="module")
def guarded_host(settings: dict[str, str]) -> Iterator[HostProcess]:
    """The sample app behind ``--function-key``, on queues of its own."""
    own = {**settings, "WORK": f"work-{uuid.uuid4().hex[:12]}"}
    with running_host(SAMPLE_APP, own, "--function-key", KEY) as running:
        yield running
