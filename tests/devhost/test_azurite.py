from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from azure.storage.queue import QueueClient

from devhost import azurite
from devhost.azurite import AzuriteError, start_azurite
from tests.devhost.processes import ROOT, eventually


def test_the_connection_string_reaches_it_with_the_newest_api_version() -> None:
    with start_azurite() as running:
        client = QueueClient.from_connection_string(running.connection_string, "some-queue")
        with closing(client):
            client.create_queue()
            client.send_message("text")
            assert client.peek_messages()[0].content == "text"
        assert len(set(running.ports.values())) == 3
    assert running.process.returncode is not None


def test_a_taken_port_is_told_and_leaves_nothing_behind() -> None:
    with start_azurite() as first, pytest.raises(AzuriteError, match="EADDRINUSE"):
        start_azurite(queue=first.ports["Queue"])


def test_it_ends_with_its_parent_even_if_that_is_killed() -> None:
    program = (
        "import time; from devhost.azurite import start_azurite; a = start_azurite();"
        "print(a.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    eventually(lambda: not is_running(child))


def test_what_is_not_installed_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setattr(azurite, "_SCRIPT", empty / "azurite.js")
    with pytest.raises(AzuriteError, match=r"\./dev azurite"):
        start_azurite()

    monkeypatch.setattr(azurite, "_TOOLS", empty)
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(AzuriteError, match=r"no Node\.js"):
        azurite.node_command()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An ended process that nobody has waited for yet still has its id.
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(stat.strip()) and not stat.startswith("Z")
