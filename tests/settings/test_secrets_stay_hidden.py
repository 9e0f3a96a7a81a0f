"""A secret shows in no repr, no format, no pickle, no log line and no problem."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.settings import SETTINGS, Secret, ServiceAccount, Settings, parse_settings
from tests.settings.builders import PROJECT, environment, no_files, settings

PLANT = "Tr0ub4dor&3"
STORAGE_KEY = "VHIwdWI0ZG9yJjM="


def test_a_secret_gives_its_text_to_who_asks_for_it() -> None:
    assert Secret(PLANT).reveal() == PLANT


def test_secrets_are_equal_by_their_text() -> None:
    assert Secret(PLANT) == Secret(PLANT)
    assert hash(Secret(PLANT)) == hash(Secret(PLANT))
    assert Secret(PLANT) != Secret(PLANT + "x")
    assert Secret(PLANT) != PLANT
    assert Secret("\udc80") == Secret("\udc80")


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(repr(Secret(PLANT)), id="repr"),
        pytest.param(str(Secret(PLANT)), id="str"),
        pytest.param(f"{Secret(PLANT)}", id="f-string"),
        pytest.param(f"{Secret(PLANT):>40}", id="f-string with a width"),
        pytest.param(f"{Secret(PLANT)!r:s}", id="f-string of the repr"),
        pytest.param("%s %r" % (Secret(PLANT), Secret(PLANT)), id="percent"),  # noqa: UP031 - logging formats so
        pytest.param(json.dumps({"a": Secret(PLANT)}, default=str), id="JSON by str"),
        pytest.param(str(dataclasses.asdict(ServiceAccount("id", Secret(PLANT)))), id="a credential as a dict"),
        pytest.param(str(copy.deepcopy({"a": [Secret(PLANT)]})), id="deep copy"),
        pytest.param(str(copy.copy(Secret(PLANT))), id="copy"),
        pytest.param(logging.LogRecord("n", 20, "p", 1, "%s", (Secret(PLANT),), None).getMessage(), id="log line"),
    ],
)
def test_a_secret_does_not_show(shown: str) -> None:
    assert PLANT not in shown
    assert shown.strip()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps({"a": Secret(PLANT)}, protocol)


def test_a_secret_is_not_encoded() -> None:
    for encode in (json.dumps, msgspec.json.encode):
        with pytest.raises(TypeError):
            encode(Secret(PLANT))


def test_good_settings_show_none_of_their_secrets() -> None:
    url = f"https://hooks.example.com/{PLANT}"
    parsed = settings(
        ATLAS_CLIENT_SECRET=PLANT,
        ATLAS_AZURE_CLIENT_SECRET=json.dumps({PROJECT: PLANT}),
        KEYSTEWARD_NOTIFY=json.dumps([{"kind": "webhook", "url": url, "secret": PLANT}]),
        KEYSTEWARD_ATLAS_WEBHOOK_SECRET=PLANT,
        AzureWebJobsStorage=f"AccountName=keystewardstore;AccountKey={STORAGE_KEY}",
    )
    assert PLANT not in f"{parsed!r}{parsed}"
    assert STORAGE_KEY not in f"{parsed!r}{parsed}"
    assert isinstance(parsed.atlas_credential, ServiceAccount)
    assert parsed.atlas_credential.client_secret.reveal() == PLANT


AROUND = st.text(max_size=12) | st.sampled_from(
    ['{"', '[{"kind":"webhook","url":"', "{", "[", '["', "*/", "AccountKey="]
)


@given(
    st.dictionaries(
        st.sampled_from([setting.name for setting in SETTINGS]), st.tuples(AROUND, AROUND), min_size=1, max_size=6
    )
)
def test_no_problem_quotes_a_planted_secret_wherever_it_stands(planted: dict[str, tuple[str, str]]) -> None:
    values = {name: f"{before}{PLANT}{after}" for name, (before, after) in planted.items()}
    parsed = parse_settings(environment(**values), no_files)
    if isinstance(parsed, Settings):
        # A setting that is no secret may take the text for what it is: an id, say.
        hidden = (parsed.atlas_credential, parsed.azure_client_secrets, parsed.notify_targets, parsed.storage)
        assert "ATLAS_CLIENT_ID" in planted or PLANT not in repr(hidden)
        return
    for problem in parsed:
        assert PLANT not in f"{problem!r}{problem}{problem.public}"


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_a_secret_in_the_wrong_setting_is_quoted_by_no_problem(name: str) -> None:
    for text in (f"{PLANT} {PLANT}", f'{{"{PLANT}": "{PLANT}"}}', f'[{{"{PLANT}": "{PLANT}"}}]', f"{{{PLANT}"):
        assert PLANT not in str([str(problem) for problem in _problems(name, text)])


def _problems(name: str, text: str) -> tuple[object, ...]:
    parsed = parse_settings(environment(**{name: text}), no_files)
    return () if isinstance(parsed, Settings) else parsed
