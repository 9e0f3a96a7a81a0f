"""The policy document: defaults, overrides by project and by vault, every problem of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from keysteward.policy.blocks import BLOCKS, FirewallPolicy, ProjectPolicy, fields_of
from keysteward.policy.rules import SETTING, Report
from keysteward.problem import Path, Problem, showable_step
from keysteward.strict_json import JsonError, kind_of, parse_json
from keysteward.vocabulary import PROJECT_ID, VAULT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

type _Overrides = dict[str, dict[str, Any]]
"""By block, then by field (in Python's names): what one place of the document says."""

_PLACES = {"defaults": '{"rotation": {"mode": "approve"}}', "projects": '{"<project id>": {..}}'} | {
    "vaults": '{"<vault name>": {"firewall": {..}}}'
}
_EXAMPLE = '{"defaults": {"rotation": {"minimumRemainingHours": 96}}}'
_NAMES = {*_PLACES, *BLOCKS, *(name for block in BLOCKS for name in fields_of(block))}


def _read_only[T]() -> Mapping[str, T]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy as it holds, each override already merged with the defaults."""

    defaults: ProjectPolicy = field(default_factory=ProjectPolicy)
    default_firewall: FirewallPolicy = field(default_factory=FirewallPolicy)
    projects: Mapping[str, ProjectPolicy] = field(default_factory=_read_only)
    vault_firewalls: Mapping[str, FirewallPolicy] = field(default_factory=_read_only)
    """By vault name in lower case; only the vaults that the document names."""

    def project(self, project_id: str) -> ProjectPolicy:
        """Say what holds for this project."""
        return self.projects.get(project_id, self.defaults)

    def vault_firewall(self, vault: str) -> FirewallPolicy:
        """Say what holds for this vault's firewall. Vault names are compared without case."""
        return self.vault_firewalls.get(vault.lower(), self.default_firewall)

    def names_vault(self, vault: str) -> bool:
        """Whether the document has an entry for this vault, be it empty."""
        return vault.lower() in self.vault_firewalls


def parse_policy(text: str) -> Policy | tuple[Problem, ...]:
    """
    Read the policy document.

    Never raises and never quotes a value: what is wrong comes back as problems, all at once, each with its path.
    """
    try:
        document = parse_json(text, _NAMES)
    except JsonError as error:
        return (Problem(SETTING, str(error), _EXAMPLE),)
    report = Report()
    parts = _members(document, (), _PLACES, report)
    defaults = _read_blocks(parts.get("defaults", {}), ("defaults",), BLOCKS, report)
    projects = _read_projects(parts.get("projects", {}), report)
    vaults = _read_vaults(parts.get("vaults", {}), report)
    return report.problems or _resolve(defaults, projects, vaults)


def _resolve(defaults: _Overrides, projects: Mapping[str, _Overrides], vaults: Mapping[str, _Overrides]) -> Policy:
    base = _overlay(ProjectPolicy(), {name: value for name, value in defaults.items() if name != "firewall"})
    firewall = replace(FirewallPolicy(), **defaults.get("firewall", {}))
    return Policy(
        defaults=base,
        default_firewall=firewall,
        projects=MappingProxyType({name: _overlay(base, blocks) for name, blocks in projects.items()}),
        vault_firewalls=MappingProxyType(
            {name: _overlay_firewall(firewall, blocks.get("firewall", {})) for name, blocks in vaults.items()}
        ),
    )


def _overlay(base: ProjectPolicy, overrides: _Overrides) -> ProjectPolicy:
    return replace(base, **{block: replace(getattr(base, block), **values) for block, values in overrides.items()})


def _overlay_firewall(base: FirewallPolicy, overrides: dict[str, Any]) -> FirewallPolicy:
    # The one list that an override adds to: an address that every vault must keep is not lost by naming another one.
    united = dict.fromkeys((*base.extra_ip_rules, *overrides.get("extra_ip_rules", ())))
    return replace(base, **{**overrides, "extra_ip_rules": tuple(united)})


def _read_projects(value: object, report: Report) -> dict[str, _Overrides]:
    blocks = {name: block for name, block in BLOCKS.items() if name != "firewall"}
    found: dict[str, _Overrides] = {}
    for position, (project_id, overrides) in enumerate(_object(value, ("projects",), report).items(), 1):
        if PROJECT_ID.fullmatch(project_id):
            found[project_id] = _read_blocks(overrides, ("projects", project_id), blocks, report)
        else:
            path = ("projects", showable_step(project_id, position))
            report.add(
                path, "is no project id (24 hexadecimal digits in lower case)", '"64b0c1d2e3f4a5b6c7d8e9f0": {..}'
            )
    return found


def _read_vaults(value: object, report: Report) -> dict[str, _Overrides]:
    blocks = {"firewall": BLOCKS["firewall"]}
    found: dict[str, _Overrides] = {}
    for position, (vault, overrides) in enumerate(_object(value, ("vaults",), report).items(), 1):
        if not VAULT_NAME.fullmatch(vault):
            path = ("vaults", showable_step(vault, position))
            what = "is no vault name (3 to 24 letters, digits and single hyphens, beginning with a letter)"
            report.add(path, what, '"my-vault": {"firewall": {..}}')
        elif vault.lower() in found:
            report.add(("vaults", vault), "is there twice: vault names are compared without case", "one entry a vault")
        else:
            found[vault.lower()] = _read_blocks(overrides, ("vaults", vault), blocks, report)
    return found


def _read_blocks(value: object, path: Path, blocks: Iterable[str], report: Report) -> _Overrides:
    known = dict.fromkeys(blocks, "{..}")
    members = _members(value, path, known, report)
    return {name: _read_fields(fields, (*path, name), name, report) for name, fields in members.items()}


def _read_fields(value: object, path: Path, block: str, report: Report) -> dict[str, Any]:
    fields = fields_of(block)
    members = _members(value, path, {name: field.rule.example for name, field in fields.items()}, report)
    return {
        fields[name].python_name: fields[name].rule.read(member, (*path, name), report)
        for name, member in members.items()
    }


def _members(value: object, path: Path, known: Mapping[str, str], report: Report) -> dict[str, object]:
    """Take the members of an object that belong there, and report the others."""
    members = _object(value, path, report)
    for position, name in enumerate(members, 1):
        if name not in known:
            _report_stranger(path, name, position, known, report)
    return {name: member for name, member in members.items() if name in known}


def _report_stranger(path: Path, name: str, position: int, known: Mapping[str, str], report: Report) -> None:
    homes = [block for block in BLOCKS if name in fields_of(block)]
    if name == "firewall" and path[:1] == ("projects",):
        what = "belongs to a vault, not to a project: several projects may share one vault"
        report.add((*path, name), what, '"vaults": {"<vault name>": {"firewall": {..}}}, or in defaults')
    elif not path and name in BLOCKS:
        report.add((name,), "belongs into defaults, a project or a vault", f'"defaults": {{"{name}": {{..}}}}')
    elif homes and name not in known and len(homes) == 1 and path[-1:] != (homes[0],):
        report.add((*path, name), f"belongs into {homes[0]}", f'"{homes[0]}": {{"{name}": ..}}')
    else:
        report.add_unknown(path, name, position, known)


def _object(value: object, path: Path, report: Report) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    report.add(path, f"is {kind_of(value)}, not an object", _PLACES.get(str(path[-1]), "{}") if path else _EXAMPLE)
    return {}
