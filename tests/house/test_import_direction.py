"""Imports point one way: a layer may import from itself and from the layers named for it, and nothing else of ours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"functions", "keysteward", "simulator", "devhost", "demo", "benchmarks", "tests"}

WORDS = {
    "keysteward",  # the package itself: its version
    "keysteward.vocabulary",
    "keysteward.azure_clouds",
    "keysteward.errors",
    "keysteward.plan",
    "keysteward.reasons",
    "keysteward.limits",
    "keysteward.logs",
    "keysteward.clock",
    "keysteward.secret",
    "keysteward.problem",
    "keysteward.schedules",
    "keysteward.problem_codes",
    "keysteward.strict_json",
    "keysteward.cron",
    "keysteward.facts",
    "keysteward.network_facts",
    "keysteward.access_facts",
    "keysteward.pause_facts",
    "keysteward.principals",
}
"""Modules that everybody may import: they import nothing but each other."""

MAY_IMPORT: dict[str, set[str]] = {
    "keysteward.policy": set(),
    "keysteward.messages": set(),
    "keysteward.events": {"keysteward.messages"},
    "keysteward.resource_events": {"keysteward.messages"},
    "keysteward.atlas_alerts": set(),
    "keysteward.health": set(),
    "keysteward.decide": {"keysteward.policy"},
    "keysteward.clients": set(),
    "keysteward.store": {"keysteward.messages"},
    "keysteward.settings": {"keysteward.policy", "keysteward.store"},
    "keysteward.observe": {"keysteward.clients"},
    "keysteward.act": {"keysteward.clients", "keysteward.observe", "keysteward.store"},
    # Its deliverer is a reconciler: it takes the runner's word for how a run ends.
    "keysteward.voice": {"keysteward.clients", "keysteward.reconcile", "keysteward.settings", "keysteward.store"},
    "keysteward.reconcile": {
        "keysteward.act",
        "keysteward.clients",
        "keysteward.decide",
        "keysteward.messages",
        "keysteward.observe",
        "keysteward.policy",
        "keysteward.store",
    },
}

# What can read a clock, a file, the environment or a socket has no place in a decision.
NOT_IN_DECISIONS = {"asyncio", "azure", "httpx", "io", "logging", "os", "pathlib", "random", "socket", "time"}


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py")) if (ROOT / folder).is_dir() else []


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _layer(name: str) -> str:
    return ".".join(name.split(".")[:2])


def _ours(path: Path) -> set[str]:
    """Return the layers of ours that a module imports."""
    named = {i for i in _imports(path) if i.split(".")[0] in OURS}
    modules = {_name(p) for top in OURS for p in _modules(top)}
    return {_layer(i) for i in named if i in modules and not (i == "keysteward" and _is_package_only(path))}


def _is_package_only(path: Path) -> bool:
    return "__version__" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_a_layer_imports_only_what_is_below_it(layer: str) -> None:
    allowed = MAY_IMPORT[layer] | WORDS | {layer}
    files = _modules(layer.replace(".", "/")) or [ROOT / f"{layer.replace('.', '/')}.py"]
    wrong = {_name(p): sorted(_ours(p) - allowed) for p in files if _ours(p) - allowed}
    assert not wrong, wrong


@pytest.mark.parametrize("word", sorted(WORDS - {"keysteward"}))
def test_the_vocabulary_imports_only_itself(word: str) -> None:
    assert _ours(ROOT / f"{word.replace('.', '/')}.py") <= WORDS


def test_every_module_of_the_product_has_a_layer() -> None:
    roots = {"app", "api", "fleet", "foreign_writes", "hints", "watch"}
    assert {_layer(_name(p)) for p in _modules("keysteward")} <= set(MAY_IMPORT) | WORDS | {
        f"keysteward.{root}" for root in roots
    }


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("keysteward", {"functions", "simulator", "devhost", "demo", "benchmarks", "tests"}),
        ("functions", {"simulator", "devhost", "demo", "benchmarks", "tests"}),
        ("simulator", {"functions", "keysteward", "tests", "benchmarks", "demo"}),
        ("devhost", {"functions", "keysteward", "tests", "benchmarks", "demo"}),
    ],
)
def test_the_product_and_its_surroundings_keep_apart(folder: str, forbidden: set[str]) -> None:
    wrong = {
        _name(p): sorted(i for i in _imports(p) if i.split(".")[0] in forbidden)
        for p in _modules(folder)
        if any(i.split(".")[0] in forbidden for i in _imports(p))
    }
    assert not wrong, wrong


def test_the_product_does_not_know_the_functions_library() -> None:
    wrong = [_name(p) for p in _modules("keysteward") if any(i.startswith("azure.functions") for i in _imports(p))]
    assert not wrong


def test_a_decision_cannot_read_anything() -> None:
    wrong = {
        _name(p): sorted(i for i in _imports(p) if i.split(".")[0] in NOT_IN_DECISIONS)
        for p in [*_modules("keysteward/decide"), *_modules("keysteward/policy"), ROOT / "keysteward/facts.py"]
        if any(i.split(".")[0] in NOT_IN_DECISIONS for i in _imports(p))
    }
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("call", "caller"),
    [
        ("push_key_identifier(", "keysteward.act.push"),
        (".create_version(", "keysteward.act.create_version"),
        (".write_network_acls(", "keysteward.act.write_firewall"),
    ],
)
def test_only_act_writes_to_the_world(call: str, caller: str) -> None:
    """The calls that change Atlas, a vault and its firewall are made from ``act`` alone."""
    callers = [
        _name(p)
        for p in _modules("keysteward")
        if call in p.read_text(encoding="utf-8") and _layer(_name(p)) != "keysteward.clients"
    ]
    assert callers == [caller]
