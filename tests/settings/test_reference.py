"""The reference pages say what the code reads: no setting and no field is missing or stale."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Literal, get_args, get_origin, get_type_hints

import pytest

from keysteward.policy import BLOCKS, Policy, ProjectPolicy, fields_of, parse_policy
from keysteward.policy.rules import Choice, Report, Subset
from keysteward.settings import SETTINGS
from tests.settings.reference_tables import DOCS, pages, with_tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.mark.parametrize(("page", "tables"), [pytest.param(*item, id=item[0].name) for item in pages().items()])
def test_a_page_holds_the_tables_of_the_code(page: Path, tables: Mapping[str, str]) -> None:
    text = page.read_text("utf-8")
    assert with_tables(text, dict(tables)) == text, "run: python -m tests.settings.reference_tables"


def test_a_stale_page_would_be_seen() -> None:
    page, tables = next(iter(pages().items()))
    text = page.read_text("utf-8").replace("ATLAS_BASE_URL", "ATLAS_URL")
    assert with_tables(text, tables) != text


def test_the_example_of_the_policy_page_is_a_good_policy() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (DOCS / "policy.md").read_text("utf-8"), re.DOTALL)
    policy = parse_policy(example)
    assert isinstance(policy, Policy), policy
    assert policy.project("64b0c1d2e3f4a5b6c7d8e9f0").rotation.mode == "approve"


def test_no_setting_stands_in_the_table_twice() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))


def test_every_block_but_the_firewall_belongs_to_a_project() -> None:
    assert {field.name for field in fields(ProjectPolicy)} == set(BLOCKS) - {"firewall"}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_field_takes_its_default_and_its_example(block: str) -> None:
    for name, field in fields_of(block).items():
        assert not isinstance(parse_policy(f'{{"defaults": {{"{block}": {{"{name}": {field.rule.example}}}}}}}'), tuple)
        report = Report()
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        assert (field.rule.read(default, (name,), report), report.problems) == (field.default, ())


@pytest.mark.parametrize("block", BLOCKS)
def test_the_words_of_a_rule_are_those_of_its_type(block: str) -> None:
    hints = get_type_hints(BLOCKS[block])
    for field in fields_of(block).values():
        if isinstance(field.rule, Choice | Subset):
            hint = hints[field.python_name]
            words = get_args(hint)[0] if get_origin(hint) is tuple else hint
            literal = getattr(words, "__value__", words)
            assert get_origin(literal) is Literal
            assert get_args(literal) == field.rule.values
