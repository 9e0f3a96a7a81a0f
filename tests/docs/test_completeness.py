"""What the code can say stands in the docs, and the docs name nothing that the code has not."""

from __future__ import annotations

import json
import re

import pytest

from keysteward.events import KEY_EVENTS, VAULT_EVENTS
from keysteward.plan import Hold
from keysteward.problem_codes import PROBLEM_CODES
from keysteward.reasons import REASONS
from keysteward.resource_events import ACCESS_OPERATIONS, RESOURCE_EVENTS, VAULT_OPERATIONS
from keysteward.settings import SETTINGS
from tests.docs import sources
from tests.docs.reference_pages import MAKER, pages, reason_codes
from tests.settings.reference_tables import with_tables

REMAKE = "run: python -m tests.docs.reference_pages"
LABELS = ("You see", "Why", "Do", "Check")


def _missing(words: set[str], text: str) -> list[str]:
    return sorted(word for word in words if f"`{word}`" not in text)


def test_the_reason_codes_for_machines_are_those_of_the_code() -> None:
    assert sources.page("reason-codes.json") == reason_codes(), REMAKE
    assert list(json.loads(reason_codes())) == list(REASONS)


@pytest.mark.parametrize("name", [path.name for path in pages()])
def test_the_tables_of_a_page_are_those_of_the_code(name: str) -> None:
    text, tables = sources.page(name), pages()[sources.DOCS / name]
    assert with_tables(text, tables, MAKER) == text, REMAKE


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_code_has_its_section_in_the_runbook(code: str) -> None:
    section = sources.sections(sources.page("runbook.md")).get(code, "")
    assert section.strip().startswith(REASONS[code].message), "the section begins with the sentence of the code"
    assert [label for label in LABELS if f"- **{label}** " not in section] == []


@pytest.mark.parametrize("code", REASONS)
def test_the_runbook_link_of_a_hold_leads_to_its_section(code: str) -> None:
    assert Hold(code, "", "", "").runbook == f"docs/runbook.md#{code.lower()}"


def test_the_runbook_has_no_section_of_a_code_that_is_gone() -> None:
    headings = re.findall(r"^### (\w+)$", sources.page("runbook.md"), re.MULTILINE)
    assert headings == list(REASONS), "and they stand in the order of the code"


def test_every_reason_that_the_code_gives_is_in_the_table() -> None:
    assert sorted(sources.reasons_used() - set(REASONS)) == []


def test_every_reason_in_the_table_is_given_somewhere() -> None:
    files = [p for folder in ("keysteward", "functions") for p in (sources.ROOT / folder).rglob("*.py")]
    code = "".join(path.read_text("utf-8") for path in files if path.name != "reasons.py")
    assert [reason for reason in REASONS if f'"{reason}"' not in code] == []


def test_every_code_of_ours_that_evidence_can_begin_with_is_explained() -> None:
    assert _missing(sources.evidence_codes(), sources.page("runbook.md")) == []


def test_every_problem_code_is_raised_somewhere_and_none_is_unknown() -> None:
    indexed = set(re.findall(r'PROBLEM_CODES\["(\w+)"\]', (sources.ROOT / "functions/http.py").read_text("utf-8")))
    passed_on = {"requestedVersionUnusable", "requestedVersionNotNewer"}  # holds that the API turns into 422
    assert sources.first_texts("RequestError") | indexed | passed_on == set(PROBLEM_CODES)


def test_the_routes_of_the_api_page_are_those_of_the_app() -> None:
    rows = re.findall(r"^\| \[`(\w+) (\S+)`\]\(\S+\) \| (\w+) \|", sources.page("api.md"), re.MULTILINE)
    assert set(rows) == sources.routes()


def test_every_route_has_a_section() -> None:
    headings = set(sources.sections(sources.page("api.md")))
    assert sorted(f"{method} {path}" for method, path, _ in sources.routes()) == sorted(
        heading for heading in headings if re.match(r"[A-Z]+ /api", heading)
    )


def test_every_event_that_is_understood_is_documented() -> None:
    understood = {*KEY_EVENTS, *VAULT_EVENTS, *RESOURCE_EVENTS, *VAULT_OPERATIONS, *ACCESS_OPERATIONS}
    assert _missing(understood, sources.page("api.md")) == []


def test_every_outcome_that_is_announced_is_documented() -> None:
    assert sources.announced(), "the code announces something"
    assert _missing(sources.announced(), sources.page("api.md")) == []


@pytest.mark.parametrize("kind", ["audited", "audited_results", "outcomes"])
def test_what_operators_read_in_records_is_documented(kind: str) -> None:
    words = getattr(sources, kind)()
    assert words
    assert _missing(words, sources.page("operating.md")) == []


def test_every_log_message_is_documented() -> None:
    shown = {message.replace("%s", "..") for message in sources.log_messages()}
    assert len(shown) > 8, "the code logs"
    assert _missing(shown, sources.page("operating.md")) == []


def test_every_setting_is_documented() -> None:
    assert _missing({setting.name for setting in SETTINGS}, sources.page("settings.md")) == []


def test_every_dependency_has_its_reason() -> None:
    text = (sources.ROOT / "pyproject.toml").read_text("utf-8")
    names = set(re.findall(r'^  "([a-z0-9-]+)(?:[<>=]|")', text, re.MULTILINE))
    assert {"httpx", "ruff"} <= names
    # The first column of a row may name several.
    cells = " ".join(line.split("|")[1] for line in sources.page("decisions.md").splitlines() if line.startswith("| "))
    assert sorted(name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", cells)) == []


def test_every_number_of_host_json_is_explained() -> None:
    host = json.loads((sources.ROOT / "host.json").read_text("utf-8"))
    rows = sources.sections(sources.page("decisions.md"))["host.json"]
    names = {*host["extensions"]["queues"], "functionTimeout", "routePrefix", "extensionBundle", "excludedTypes"}
    assert sorted(name for name in names if name not in rows) == []
