"""Steady state: how many requests one reconcile of a project sends where nothing has changed, over the bound."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from benchmarks.figure import Figure, ratio
from benchmarks.stack import CloudCall, app_stack, calls_of, counted
from simulator.latencies import NONE

GOAL = 1.0
BOUND = 3
"""Encryption at rest, clusters, the key's newest version: nothing less tells whether all is well."""
PROJECTS = 5
ROUNDS = 4

METHOD = """
Timer runs of several healthy projects, each reconciled before; every request that the simulator answered for a
project or its vault is counted, over all rounds. The worst reconcile counts.

Not steady state, so not counted: token requests of Atlas and of the managed identity, and the one unauthorised
request of each new Key Vault client (its challenge). Both are told below. The project's name is read once a day.
"""


async def measure(rounds: int = ROUNDS) -> Figure:
    """Reconcile every project so many times and count."""
    async with app_stack(PROJECTS, NONE) as stack:
        per_run: list[list[CloudCall]] = []
        around: Counter[str] = Counter()
        for _ in range(rounds):
            stack.cloud_calls.clear()
            before = len(stack.runs)
            await stack.reconcile_all()
            await asyncio.sleep(0)
            if len(stack.runs) - before != PROJECTS:
                raise RuntimeError(f"{len(stack.runs) - before} reconciles in a round of {PROJECTS}")
            per_run += [calls_of(stack.cloud_calls, m.project_id, m.vault) for m in stack.members]
            around["other requests"] += len(stack.cloud_calls) - sum(map(len, per_run[-PROJECTS:]))
    return figure_of(per_run, around["other requests"])


def figure_of(per_run: Sequence[Sequence[CloudCall]], others: int) -> Figure:
    """Put the requests of each run into the figure; *others* are those of no project."""
    steady = [[call for call in calls if call.exchange.status != 401] for calls in per_run]
    challenges = sum(map(len, per_run)) - sum(map(len, steady))
    worst = max(steady, key=len)
    fewest = min(map(len, steady))
    return Figure(
        name="requests",
        title="requests of one steady-state reconcile of a project, over the bound of 3",
        ratio=ratio(len(worst), BOUND),
        goal=GOAL,
        raw={
            "reconciles": str(len(steady)),
            "requests each": f"{fewest} to {len(worst)}",
            "the worst one's": counted(Counter(f"{c.exchange.method} {c.exchange.route}" for c in worst)),
            "token requests and challenges beside them": str(others + challenges),
        },
        method=METHOD,
        faults=[f"a reconcile sent only {fewest} requests: it did not look at everything"] if fewest < BOUND else [],
    )
