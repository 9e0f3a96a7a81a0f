"""``python -m simulator.coverage > docs/simulator.md``: the page that says what is simulated, made from the tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from simulator import control, delivery, event_grid, identity, sinks, tools, vault_writers
from simulator.atlas.errors import REFUSALS
from simulator.atlas.rate_limits import LIMITS
from simulator.atlas.rules import RULES as ATLAS_RULES
from simulator.azure_clouds import CLOUDS
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.faults import FaultKind
from simulator.key_vault.errors import REFUSALS as KEY_VAULT_REFUSALS
from simulator.key_vault.service import API_VERSIONS
from simulator.key_vault.service import RULES as KEY_VAULT_RULES
from simulator.latencies import REALISTIC
from simulator.resource_manager import service as resource_manager
from simulator.resource_manager.errors import REFUSALS as MANAGER_REFUSALS
from simulator.resource_manager.rules import RULES as MANAGER_RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.routing import Route, Rule

NOT_COVERED = (
    (
        "Azure Resource Manager: every write but that of a vault's network rules and tags, lists of vaults, access "
        "policies of a vault, role and deny assignments, deleted vaults, how locks and policies are set."
    ),
    (
        "Atlas: cluster changes (pausing through the API), snapshots, backup schedule, alert configurations, webhooks, "
        "roles of AWS and Google, deleting roles, private endpoints, flex clusters, organizations, `envelope=true`."
    ),
    (
        "Key Vault: creating, importing, changing and purging keys, cryptographic operations, certificates, secrets, "
        "managed HSM."
    ),
    (
        "Event Grid: batching, dead letters, filters, delays of sick endpoints, jitter; resource events of anything "
        "but a write of a vault; access keys."
    ),
    "Microsoft Graph and sign-in with a client secret.",
)
HEAD = """# The simulated cloud

Made by `python -m simulator.coverage > docs/simulator.md`; a test fails when it is stale. It is for development and
tests: it imitates what an app that rotates keys meets, and answers 501 to everything else, never a plausible
default. Where nobody could check the real service, the behaviour that is harder on the app was chosen, and the row
says **unverified**.

## Using it

`python -m simulator` serves it on 127.0.0.1 and prints one line of JSON, then `ready`. `environment` is what the app
needs (proxy, CA, identity endpoint), `control` is where the control routes are. In process,
`Cloud(SimulatedClock(), seed=0).handle(Request(..))` answers without any I/O; the same seed, clock and sequence of
requests give the same answers. `simulator/worlds.py` holds ready-made worlds.

**Who asked.** Every recorded request names its `sender` (`app`, or another tool by its name), the `service`, whether
it only asked for a token and whether it `mightChange` something at the vendors'. In process,
`cloud.record.sent_to_change()` is what the app sent to change anything: empty under a dry run.

**Time.** One clock for everything. In process it stands still until it is moved; served, it flows and can be skipped
forward. Tokens and rate limits follow the time that the app also sees: a skip does not end them.
"""


def page() -> str:
    """Return the page as Markdown."""
    cloud = Cloud(SimulatedClock())
    parts = [
        HEAD,
        "## Atlas (`cloud.mongodb.com`)\n",
        _routes(cloud.atlas.router.routes),
        _rules(ATLAS_RULES),
        _atlas_refusals(),
        _limits(),
        f"## Key Vault ({_hosts(f'<vault>.{one.vault_suffix}' for one in CLOUDS.values())})\n",
        f"API versions: {', '.join(sorted(API_VERSIONS))}.\n",
        _routes(cloud.key_vault.router.routes),
        _rules(KEY_VAULT_RULES),
        _vault_refusals(),
        f"## Resource Manager ({_hosts(resource_manager.HOSTS)})\n",
        f"API versions: {', '.join(sorted(resource_manager.API_VERSIONS))}.\n",
        _routes(cloud.resource_manager.router.routes),
        _rules(MANAGER_RULES),
        _manager_refusals(),
        "## Identity endpoint\n",
        _routes(cloud.identity.router.routes),
        _rules(identity.RULES),
        "## Event Grid\n",
        _rules((*event_grid.RULES, *delivery.RULES)),
        f"## Receivers of notifications (`{sinks.WEBHOOK_HOST}`, `<topic>.<region>-1.eventgrid.azure.net`)\n",
        f"Regions of topics: {', '.join(sinks.TOPIC_REGIONS)}.\n",
        _routes(cloud.sinks.router.routes),
        _rules(sinks.RULES),
        "## Other tools\n",
        _rules((*tools.RULES, *vault_writers.RULES)),
        "## Latencies (`realistic`)\n",
        _latencies(),
        "## Faults\n",
        "Ordered ones strike the nth matching request, `times` in a row; a seeded background rate strikes at random.\n",
        _table(("kind", "what happens"), [(f"`{kind}`", _fault_text(kind)) for kind in FaultKind]),
        "## Control routes\n",
        "JSON, on a port of their own. An unknown member is refused; members with `?` may be left out.\n",
        _control(),
        "## Not simulated\n",
        "".join(f"- {line}\n" for line in NOT_COVERED),
    ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _routes(routes: Sequence[Route]) -> str:
    rows = [(f"`{one.method} {one.template}`", _versions(one), one.summary, f"`{one.latency}`") for one in routes]
    return _table(("route", "versions", "answers", "latency"), rows)


def _versions(route: Route) -> str:
    auth, versions = getattr(route, "auth", None), getattr(route, "versions", ())
    return "-" if auth is None or auth == "basic" else ", ".join(versions)


def _rules(rules: Iterable[Rule]) -> str:
    return _table(("rule", "source"), [(rule.text, _marked(rule.source)) for rule in rules])


def _marked(source: str) -> str:
    return source.replace("unverified", "**unverified**")


def _atlas_refusals() -> str:
    rows = [(str(row.status), f"`{code}`", row.detail, _marked(row.source)) for code, row in REFUSALS.items()]
    return _table(("status", "errorCode", "when", "source"), rows)


def _vault_refusals() -> str:
    rows = [
        (str(one.status), f"`{one.code}`", f"`{one.inner}`" if one.inner else "", one.meaning, _marked(one.source))
        for one in KEY_VAULT_REFUSALS
    ]
    return _table(("status", "code", "inner code", "when", "source"), rows)


def _manager_refusals() -> str:
    rows = [(str(one.status), f"`{one.code}`", one.meaning, _marked(one.source)) for one in MANAGER_REFUSALS]
    return _table(("status", "code", "when", "source"), rows)


def _hosts(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _limits() -> str:
    rows = [(name, one.scope, str(one.capacity), f"{one.refill} / 60 s") for name, one in LIMITS.items()]
    return _table(("endpoint set", "bucket of each", "capacity", "refill"), rows)


def _latencies() -> str:
    rows = [
        (f"`{kind}`", f"{one.low_seconds:g} to {one.high_seconds:g} s", _marked(one.source))
        for kind, one in REALISTIC.rows.items()
    ]
    return _table(("kind", "drawn from", "source"), rows)


def _fault_text(kind: FaultKind) -> str:
    return {
        FaultKind.ANSWER: "an error answer in the service's own form (`status`, `code`, `retryAfter`); no effect",
        FaultKind.DELAY: "the right answer, `latencySeconds` later",
        FaultKind.DROP_BEFORE: "the connection ends without an answer; no effect",
        FaultKind.DROP_AFTER: "the effect happens, the answer is lost",
        FaultKind.HTML: "a gateway's 502 page instead of JSON; no effect",
        FaultKind.TRUNCATE: "the effect happens, the answer's body ends half-way",
    }[kind]


def _control() -> str:
    rows = [(f"`{one.method} {one.template}`", one.summary, _members(one.body)) for one in control.ROUTES]
    return _table(("route", "does", "body"), rows)


def _members(body: type[msgspec.Struct] | None) -> str:
    if body is None:
        return ""
    fields = msgspec.structs.fields(body)
    return f"`{{{', '.join(one.name if one.required else f'{one.name}?' for one in fields)}}}`"


if __name__ == "__main__":
    sys.stdout.write(page())
