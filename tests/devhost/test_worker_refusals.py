"""
What Microsoft's worker refuses although the same code runs when it is called directly.

A change here means that the worker has changed, and with it what the app may write.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.devhost.processes import ROOT

IMPORTS = "import azure.functions as func\nfrom typing import List, Optional\napp = func.FunctionApp()\n"
EVENT = IMPORTS + "@app.event_grid_trigger(arg_name='e')\n"
OUT = EVENT + "@app.queue_output(arg_name='o', queue_name='q', connection='C')\nasync def f(e: func.EventGridEvent, "
HTTP = IMPORTS + "@app.route(route='x')\nasync def f(req: func.HttpRequest)"
TIMER = "@app.timer_trigger(arg_name='t', schedule='0 * * * * *')\n"
WRAPS = (
    "import functools\n"
    + IMPORTS
    + "def d(fn):\n  @functools.wraps(fn)\n  async def w(*a, **k): return await fn(*a, **k)\n"
    "  return w\n@app.event_grid_trigger(arg_name='e')\n@d\nasync def f(e: func.EventGridEvent) -> None: pass"
)
CHECKED_ONLY = (
    "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n  from decimal import Decimal\n" + EVENT + "def f(e: func.EventGridEvent) -> Decimal: pass"
)

ACCEPTED = {
    "an output of text": OUT + "o: func.Out[str]) -> None: o.set('a')",
    "an output of typing.List": OUT + "o: func.Out[List[str]]) -> None: o.set(['a', 'b'])",
    "typing.List under postponed annotations": "from __future__ import annotations\n"
    + OUT
    + "o: func.Out[List[str]]) -> None: o.set(['a', 'b'])",
    "the event as CloudEvent": EVENT + "def f(e: func.CloudEvent): pass",
    "the invocation's context": EVENT + "def f(e: func.EventGridEvent, context: func.Context): pass",
    "a decorator with functools.wraps": WRAPS,
    "an HTTP function without return annotation": HTTP + ": return 'hi'",
    "a nonsense schedule, which only the host checks": IMPORTS
    + TIMER.replace("0 * * * * *", "nonsense")
    + "def f(t: func.TimerRequest): pass",
}
REFUSED = {
    "an output of the builtin list": OUT + "o: func.Out[list[str]]) -> None: o.set(['a', 'b'])",
    "an output of Optional": OUT + "o: func.Out[Optional[str]]) -> None: o.set('a')",
    "an output of a union": OUT + "o: func.Out[str | None]) -> None: o.set('a')",
    "an output of a dict": OUT + "o: func.Out[dict]) -> None: o.set({'a': 1})",
    "the event as a dict": EVENT + "def f(e: dict): pass",
    "one more parameter, even with a default": EVENT + "def f(e: func.EventGridEvent, deps=None): pass",
    "a return value without a return binding": EVENT + "def f(e: func.EventGridEvent): return 'x'",
    "an annotation imported for type checking only": CHECKED_ONLY,
    "a dict as HTTP answer": HTTP + " -> dict: return {}",
    "a union as HTTP answer": HTTP + " -> func.HttpResponse | None: return None",
    "an argument name that differs": IMPORTS + TIMER + "def f(timer: func.TimerRequest): pass",
    "the class of another trigger": IMPORTS + TIMER + "def f(t: func.QueueMessage): pass",
    "two FunctionApp objects": IMPORTS + "app2 = func.FunctionApp()\n" + TIMER + "def f(t: func.TimerRequest): pass",
    "one function name twice": IMPORTS
    + TIMER
    + "def f(t: func.TimerRequest): pass\n@app.function_name('f')\n"
    + TIMER
    + "def g(t: func.TimerRequest): pass",
    "a missing import": "import no_such_module\n" + IMPORTS,
    "an app without functions": IMPORTS,
}


@pytest.fixture(scope="module")
def answers() -> dict[str, str | None]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.devhost.refusals_probe"],
        input=json.dumps({**ACCEPTED, **REFUSED}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_worker_accepts(answers: dict[str, str | None], case: str) -> None:
    assert answers[case] is None


@pytest.mark.parametrize("case", REFUSED)
def test_the_worker_refuses(answers: dict[str, str | None], case: str) -> None:
    assert answers[case]
