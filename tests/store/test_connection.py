"""Which storage settings are understood, and that no problem ever quotes one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.connection import (
    AccountKey,
    ManagedIdentity,
    SharedAccessSignature,
    StorageConnection,
    parse_storage_connection,
)

KEY = "cGxhbnRlZA=="
STRING = f"DefaultEndpointsProtocol=https;AccountName=stpay;AccountKey={KEY};EndpointSuffix=core.windows.net"
CLIENT = "7b8d0a3e-5f0c-4a6e-9d55-0f0f0f0f0f0f"
REFERENCE = "@Microsoft.KeyVault(SecretUri=https://kv-pay.vault.azure.net/secrets/storage/)"


def parsed(environment: dict[str, str]) -> StorageConnection:
    connection = parse_storage_connection(environment)
    assert isinstance(connection, StorageConnection), connection
    return connection


def identity(**settings: str) -> dict[str, str]:
    return {f"AzureWebJobsStorage__{name}": value for name, value in settings.items()}


@pytest.mark.parametrize(
    ("environment", "tables", "queues", "credential"),
    [
        pytest.param(
            {"AzureWebJobsStorage": STRING},
            "https://stpay.table.core.windows.net",
            "https://stpay.queue.core.windows.net",
            AccountKey("stpay", KEY),
            id="the portal's connection string",
        ),
        pytest.param(
            {"AzureWebJobsStorage": f" accountname=stpay ;; accountKEY={KEY}; "},
            "https://stpay.table.core.windows.net",
            "https://stpay.queue.core.windows.net",
            AccountKey("stpay", KEY),
            id="any case, blanks, the public cloud by default",
        ),
        pytest.param(
            {"AzureWebJobsStorage": STRING.replace("windows.net", "chinacloudapi.cn")},
            "https://stpay.table.core.chinacloudapi.cn",
            "https://stpay.queue.core.chinacloudapi.cn",
            AccountKey("stpay", KEY),
            id="another cloud",
        ),
        pytest.param(
            {
                "AzureWebJobsStorage": f"AccountName=dev;AccountKey={KEY};TableEndpoint=http://127.0.0.1:4/dev/;"
                "QueueEndpoint=http://127.0.0.1:3/dev"
            },
            "http://127.0.0.1:4/dev",
            "http://127.0.0.1:3/dev",
            AccountKey("dev", KEY),
            id="an emulator's endpoints",
        ),
        pytest.param(
            {
                "AzureWebJobsStorage": "TableEndpoint=https://stpay.table.core.windows.net;"
                "QueueEndpoint=https://stpay.queue.core.windows.net;SharedAccessSignature=?sv=1&sig=x%3D"
            },
            "https://stpay.table.core.windows.net",
            "https://stpay.queue.core.windows.net",
            SharedAccessSignature("sv=1&sig=x%3D"),
            id="a shared access signature",
        ),
        pytest.param(
            {"AzureWebJobsStorage": "usedevelopmentstorage=TRUE;"},
            "http://127.0.0.1:10002/devstoreaccount1",
            "http://127.0.0.1:10001/devstoreaccount1",
            None,
            id="the local emulator by its short name",
        ),
        pytest.param(
            identity(accountName="stpay"),
            "https://stpay.table.core.windows.net",
            "https://stpay.queue.core.windows.net",
            ManagedIdentity(None),
            id="an account's name and the app's own identity",
        ),
        pytest.param(
            identity(
                blobServiceUri="https://stpay.blob.core.windows.net",
                queueServiceUri="https://stpay.queue.core.windows.net/",
                tableServiceUri="https://stpay.table.core.usgovcloudapi.net",
                credential="ManagedIdentity",
                clientId=CLIENT,
            ),
            "https://stpay.table.core.usgovcloudapi.net",
            "https://stpay.queue.core.windows.net",
            ManagedIdentity(CLIENT),
            id="addresses one by one and a user-assigned identity",
        ),
        pytest.param(
            identity(accountName="stpay", tableServiceUri="https://other.table.core.windows.net"),
            "https://other.table.core.windows.net",
            "https://stpay.queue.core.windows.net",
            ManagedIdentity(None),
            id="an address beats the account's name",
        ),
        pytest.param(
            {"AzureWebJobsStorage": STRING, **identity(accountName="other")},
            "https://stpay.table.core.windows.net",
            "https://stpay.queue.core.windows.net",
            AccountKey("stpay", KEY),
            id="a connection string beats the identity, as in the host",
        ),
        pytest.param(
            {"AzureWebJobsStorage": " ", **identity(accountName="stpay")},
            "https://stpay.table.core.windows.net",
            "https://stpay.queue.core.windows.net",
            ManagedIdentity(None),
            id="an empty connection string is none",
        ),
    ],
)
def test_a_good_setting_is_understood(
    environment: dict[str, str], tables: str, queues: str, credential: object
) -> None:
    connection = parsed(environment)
    assert (connection.table_endpoint, connection.queue_endpoint) == (tables, queues)
    assert connection.credential == credential
    assert connection.is_development == (credential is None)


@pytest.mark.parametrize(
    ("environment", "problems"),
    [
        pytest.param({}, {"AzureWebJobsStorage": "is missing"}, id="nothing at all"),
        pytest.param({"AzureWebJobsStorage": ""}, {"AzureWebJobsStorage": "is missing"}, id="empty"),
        pytest.param(
            {"AzureWebJobsStorage": REFERENCE},
            {"AzureWebJobsStorage": "still a Key Vault reference"},
            id="a reference that the platform could not resolve",
        ),
        pytest.param({"AzureWebJobsStorage": "stpay"}, {"AzureWebJobsStorage": "name=value"}, id="only a name"),
        pytest.param(
            {"AzureWebJobsStorage": "AccountName=stpay"}, {"AzureWebJobsStorage": "neither AccountKey"}, id="no key"
        ),
        pytest.param(
            {"AzureWebJobsStorage": f"AccountKey={KEY}"}, {"AzureWebJobsStorage": "AccountName"}, id="no account"
        ),
        pytest.param(
            {"AzureWebJobsStorage": STRING.replace(KEY, "cGxhbnRlZ")},
            {"AzureWebJobsStorage": "not whole"},
            id="a key that was cut short",
        ),
        pytest.param(
            {"AzureWebJobsStorage": f"{STRING};AccountName=stother"},
            {"AzureWebJobsStorage": "twice"},
            id="two accounts",
        ),
        pytest.param(
            {"AzureWebJobsStorage": STRING.replace("stpay", "St.Pay/x")},
            {"AzureWebJobsStorage": "3 to 24 lower-case"},
            id="an account that is no host name",
        ),
        pytest.param(
            {"AzureWebJobsStorage": STRING.replace("=https", "=ftp")},
            {"AzureWebJobsStorage": "DefaultEndpointsProtocol"},
            id="another protocol",
        ),
        pytest.param(
            {"AzureWebJobsStorage": STRING.replace("core.windows.net", "x/y?z")},
            {"AzureWebJobsStorage": "EndpointSuffix"},
            id="a suffix that is no host name",
        ),
        pytest.param(
            {"AzureWebJobsStorage": f"{STRING};TableEndpoint=https://user:pw@host"},
            {"AzureWebJobsStorage": "more than scheme, host and path"},
            id="a password in an endpoint",
        ),
        pytest.param(
            {"AzureWebJobsStorage": f"UseDevelopmentStorage=true;AccountKey={KEY}"},
            {"AzureWebJobsStorage": "beside other parts"},
            id="the emulator and an account at once",
        ),
        pytest.param(
            identity(tableServiceUri="https://stpay.table.core.windows.net"),
            {
                "AzureWebJobsStorage__blobServiceUri": "is missing",
                "AzureWebJobsStorage__queueServiceUri": "is missing",
            },
            id="one address of three",
        ),
        pytest.param(
            identity(
                blobServiceUri="http://stpay.blob.core.windows.net",
                queueServiceUri="stpay",
                tableServiceUri="https://stpay.table.core.windows.net/?sig=planted",
                credential="secret",
                clientId="planted",
            ),
            {
                "AzureWebJobsStorage__blobServiceUri": "https://",
                "AzureWebJobsStorage__queueServiceUri": "https://",
                "AzureWebJobsStorage__tableServiceUri": "more than",
                "AzureWebJobsStorage__credential": "not supported",
                "AzureWebJobsStorage__clientId": "no client id",
            },
            id="everything wrong is told at once",
        ),
        pytest.param(
            identity(accountName=REFERENCE, credential=REFERENCE, clientId=REFERENCE, tableServiceUri=REFERENCE),
            dict.fromkeys(
                (
                    f"AzureWebJobsStorage__{name}"
                    for name in ("accountName", "credential", "clientId", "tableServiceUri")
                ),
                "still a Key Vault reference",
            ),
            id="references in the identity form",
        ),
        pytest.param(
            identity(accountName="https://stpay"),
            {"AzureWebJobsStorage__accountName": "no account name"},
            id="an address where a name belongs",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_a_good_value(environment: dict[str, str], problems: dict[str, str]) -> None:
    found = parse_storage_connection(environment)
    assert not isinstance(found, StorageConnection)
    assert {problem.name for problem in found} == set(problems)
    for problem in found:
        assert problems[problem.name] in problem.what
        assert problem.good_value


@pytest.mark.parametrize(
    "environment",
    [
        {"AzureWebJobsStorage": STRING},
        {"AzureWebJobsStorage": f"TableEndpoint=https://a.b;QueueEndpoint=https://a.b;SharedAccessSignature={KEY}"},
    ],
    ids=["account key", "signature"],
)
def test_no_repr_shows_the_secret(environment: dict[str, str]) -> None:
    connection = parsed(environment)
    assert KEY not in repr(connection) + str(connection) + f"{connection}"


async def test_the_short_name_opens_the_emulators_own_ports_with_the_key_that_the_sdks_know() -> None:
    connection = parsed({"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    tables, queue = open_tables(connection), open_queue(connection, "keysteward-work")
    assert tables._service.url == connection.table_endpoint
    assert queue._client.url == f"{connection.queue_endpoint}/keysteward-work"
    await tables.close()
    await queue.close()


PARTS = st.sampled_from(
    [
        "AccountName",
        "AccountKey",
        "SharedAccessSignature",
        "TableEndpoint",
        "QueueEndpoint",
        "EndpointSuffix",
        "DefaultEndpointsProtocol",
        "UseDevelopmentStorage",
    ]
)
VALUES = st.sampled_from(["", "planted", "https://planted.example", "https://[planted", "https://h:planted", "true"])


@given(parts=st.lists(st.tuples(PARTS, VALUES | st.text()), max_size=6))
def test_any_connection_string_gives_a_connection_or_problems_that_quote_nothing(
    parts: list[tuple[str, str]],
) -> None:
    text = ";".join(f"{name}={value}" for name, value in parts)
    found = parse_storage_connection({"AzureWebJobsStorage": text})
    if isinstance(found, StorageConnection):
        assert found.table_endpoint.startswith("http")
    else:
        assert found
        assert "planted" not in repr(found)


@given(
    settings=st.dictionaries(
        st.sampled_from(
            ["blobServiceUri", "queueServiceUri", "tableServiceUri", "accountName", "credential", "clientId"]
        ),
        VALUES | st.text(),
    )
)
def test_any_identity_settings_give_a_connection_or_problems_that_quote_nothing(settings: dict[str, str]) -> None:
    found = parse_storage_connection(identity(**settings))
    if isinstance(found, StorageConnection):
        assert found.table_endpoint.startswith("https://")
    else:
        assert found
        assert "planted" not in repr(found)
