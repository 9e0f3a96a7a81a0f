"""A good environment, of which a case changes what it is about."""

from __future__ import annotations

from typing import NoReturn

from keysteward.settings import Problem, Settings, parse_settings

PROJECT = "64b0c1d2e3f4a5b6c7d8e9f0"
OTHER_PROJECT = "64b0c1d2e3f4a5b6c7d8e9f1"
CLIENT = "11111111-2222-3333-4444-555555555555"

GOOD = {
    "ATLAS_PROJECT_IDS": PROJECT,
    "ATLAS_CLIENT_ID": "mdb_sa_id_1",
    "ATLAS_CLIENT_SECRET": "mdb_sa_sk_1",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
}


def environment(**changes: str | None) -> dict[str, str]:
    """The good environment with changes; None takes a setting away."""
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not None}


def no_files(name: str) -> NoReturn:
    raise FileNotFoundError(name)


def settings(**changes: str | None) -> Settings:
    """Settings that have to be good."""
    parsed = parse_settings(environment(**changes), no_files)
    assert isinstance(parsed, Settings), "\n".join(map(str, parsed))
    return parsed


def problems(**changes: str | None) -> tuple[Problem, ...]:
    """Settings that have to be bad."""
    parsed = parse_settings(environment(**changes), no_files)
    assert not isinstance(parsed, Settings), parsed
    return parsed
