from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.devhost.conftest import KEY
from tests.devhost.processes import ROOT, SAMPLE_APP, HostProcess, ended, eventually, running_host

if TYPE_CHECKING:
    from pathlib import Path


def test_a_taken_port_is_told_at_once_with_exit_code_2(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, errors = ended(SAMPLE_APP, settings, "--port", port)

    assert code == 2
    assert f"Port {port} is taken" in errors


def test_an_app_that_the_worker_refuses_is_told_with_its_file_and_exit_code_3(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    shutil.copy(SAMPLE_APP / "host.json", tmp_path)
    (tmp_path / "function_app.py").write_text("import azure.functions as func\nimport no_such_module\n")

    code, errors = ended(tmp_path, settings)

    assert code == 3
    assert "no_such_module" in errors
    assert str(tmp_path / "function_app.py") in errors
    assert "line 2" in errors


def test_a_folder_without_an_app_is_told(tmp_path: Path, settings: dict[str, str]) -> None:
    shutil.copy(SAMPLE_APP / "host.json", tmp_path)

    code, errors = ended(tmp_path, settings)

    assert (code, "There is no function_app.py" in errors) == (3, True)


def test_missing_storage_is_told_with_a_good_value_and_exit_code_4(settings: dict[str, str]) -> None:
    without = {name: value for name, value in settings.items() if name != "AzureWebJobsStorage"}

    code, errors = ended(SAMPLE_APP, without)

    assert code == 4
    assert "AzureWebJobsStorage is not set" in errors
    assert "UseDevelopmentStorage=true" in errors


def test_storage_that_is_no_connection_string_is_told_without_its_value(settings: dict[str, str]) -> None:
    code, errors = ended(SAMPLE_APP, {**settings, "AzureWebJobsStorage": "AccountKey=a-secret-thing"})

    assert code == 4
    assert "AzureWebJobsStorage" in errors
    assert "a-secret-thing" not in errors


def test_a_wrong_schedule_puts_only_its_function_in_error(host: HostProcess) -> None:
    eventually(lambda: "wrong_schedule is in error" in host.log())
    assert "'nonsense' has 1 fields; NCRONTAB has six" in host.log()
    assert host.call("POST", "/admin/functions/wrong_schedule", {"input": ""}).status == 404
    assert list(host.call("GET", "/admin/host/status").json()["errors"]) == ["wrong_schedule"]


def test_a_timer_runs_on_its_schedule_and_by_hand(settings: dict[str, str]) -> None:
    with running_host(SAMPLE_APP, {**settings, "WORK": "timers", "TICK": "* * * * * *"}) as host:
        eventually(lambda: len(host.seen("tick")) >= 2)
    with running_host(SAMPLE_APP, {**settings, "WORK": "timers"}, "--function-key", KEY) as host:
        assert not host.seen("tick")
        answer = host.call("POST", f"/admin/functions/tick?code={KEY}", {"input": ""})
        assert answer.status == 202
        assert eventually(lambda: host.seen("tick")) == [{"kind": "tick", "pastDue": False}]


def test_a_manual_run_needs_a_known_function_and_an_input(host: HostProcess) -> None:
    assert host.call("POST", "/admin/functions/nobody", {"input": ""}).status == 404
    assert host.call("POST", "/admin/functions/tick", {}).status == 400
    assert host.call("POST", "/admin/functions/tick", raw=b"{").status == 400


def test_settings_come_from_local_settings_json_and_the_environment_overrides_them(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    app = tmp_path / "app"
    shutil.copytree(SAMPLE_APP, app)
    (app / "local.settings.json").write_text('{"Values": {"WORK": "from-the-file", "TICK": "not used"}}')
    from_environment = {name: value for name, value in settings.items() if name != "WORK"}

    with running_host(app, from_environment) as host:
        host.call("POST", "/api/send", [{"name": "one"}])
        assert eventually(lambda: host.seen("work"))
        eventually(lambda: "wrong_schedule is in error" in host.log())
        assert "tick is in error" not in host.log()


def test_a_stuck_function_does_not_hold_up_the_end(settings: dict[str, str]) -> None:
    with running_host(SAMPLE_APP, {**settings, "WORK": "stuck"}) as host, host.connected() as call:
        call.sendall(b"POST /api/stuck HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        eventually(lambda: host.seen("stuck"))
        begun = time.monotonic()
        host.process.send_signal(signal.SIGINT)
        assert host.process.wait(10) == 0
        assert time.monotonic() - begun < 2.5  # 2 s, and what a busy machine adds


PROGRAM = """
import asyncio, json, sys, urllib.request
from devhost.host import Host

async def main(app, settings):
    async with Host.start(app, settings) as host:
        get = lambda: urllib.request.urlopen(host.url + "/api/items/special").read().decode()
        print(await asyncio.to_thread(get), sorted(host.broken))

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


def test_the_host_can_be_run_inside_another_program(settings: dict[str, str]) -> None:
    arguments = [str(SAMPLE_APP), json.dumps({**settings, "WORK": "inside"})]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (0, "special ['wrong_schedule']\n"), done.stderr
