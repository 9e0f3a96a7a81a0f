"""Every HTTP function that the app registers, from its own index: a new route is found here without being named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

from tests.devhost.processes import ROOT

OPEN_TO_ANYBODY = frozenset({"health", "atlas_alerts"})
"""Whatever else is open is open by a mistake."""
STRANGER = "f" * 24
"""Stands in each place of a path: well-formed as an id of a project and as a vault's name, and never one of ours."""

# A program of its own: an app can be indexed once in a process.
_INDEX = """
import json, function_app
found = []
for function in function_app.app.get_functions():
    trigger = function.get_trigger().get_dict_repr()
    if str(getattr(trigger["type"], "value", trigger["type"])) == "httpTrigger":
        methods = [str(getattr(method, "value", method)) for method in trigger["methods"]]
        level = str(getattr(trigger["authLevel"], "value", trigger["authLevel"]))
        found.append([function.get_function_name(), methods, trigger["route"], level.upper()])
print(json.dumps(found))
"""


@dataclass(frozen=True, order=True)
class Route:
    """One way in: a method and a path that can be called."""

    function: str
    method: str
    path: str
    level: str

    @property
    def only_looks(self) -> bool:
        return self.method in {"GET", "HEAD"}

    @property
    def body(self) -> object:
        """A body where there may be one: not what the route asks for, so that whoever is let in orders nothing."""
        return None if self.only_looks else {"nothing": "of the kind"}

    def __repr__(self) -> str:
        return f"{self.method} {self.path.replace(STRANGER, '..')}"


def registered(**settings: str) -> list[Route]:
    """Index the app under these settings and give every route of it."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", _INDEX],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return sorted(
        Route(name, method.upper(), "/api/" + re.sub(r"\{[^}]*\}", STRANGER, route), level)
        for name, methods, route, level in json.loads(done.stdout)
        for method in methods
    )
