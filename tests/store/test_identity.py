"""
Signing in to storage with a managed identity: a process of its own, as the platform would start it.

Azurite checks a bearer token's issuer, audience and lifetime (not its signature), and only over TLS.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from devhost import azurite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT_ID = "7b8d0a3e-5f0c-4a6e-9d55-0f0f0f0f0f0f"
HEADER = "identity-header-of-this-test"

PROGRAM = """
import asyncio, json, os
from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.connection import parse_storage_connection
from keysteward.store.ports import StorageError

async def main():
    connection = parse_storage_connection(os.environ)
    tables, queue = open_tables(connection), open_queue(connection, "keysteward-work")
    try:
        await tables.insert("state", "p", "k", {"n": 2**40})
        row = await tables.get("state", "p", "k")
        await queue.send("hint")
        print(json.dumps({"n": row.values["n"], "error": None}))
    except StorageError as error:
        print(json.dumps({"n": None, "error": str(error)}))
    finally:
        await tables.close()
        await queue.close()

asyncio.run(main())
"""


class IdentityEndpoint(ThreadingHTTPServer):
    """The platform's token endpoint. ``audience`` is what its tokens are for; None refuses."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.audience: str | None = "https://storage.azure.com"
        self.asked: list[dict[str, list[str]]] = []

    def token(self) -> dict[str, str]:
        now = int(time.time())
        issuer = f"https://sts.windows.net/{uuid.UUID(int=1)}/"
        claims = {"aud": self.audience, "iss": issuer, "nbf": now - 60, "iat": now - 60, "exp": now + 3600}
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in ({"alg": "none", "typ": "JWT"}, claims)
        ]
        token = ".".join(parts) + ".sig"
        return {
            "access_token": token,
            "expires_on": str(now + 3600),
            "resource": str(self.audience),
            "token_type": "Bearer",
        }


class _Answers(BaseHTTPRequestHandler):
    server: IdentityEndpoint

    def do_GET(self) -> None:
        self.server.asked.append(parse_qs(urlsplit(self.path).query))
        is_right = self.headers.get("X-IDENTITY-HEADER") == HEADER and self.server.audience is not None
        body = json.dumps(self.server.token() if is_right else {"error": "unauthorized"}).encode()
        self.send_response(200 if is_right else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def identity_endpoint() -> Iterator[IdentityEndpoint]:
    with IdentityEndpoint() as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield endpoint
        endpoint.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def tls_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    """Addresses by service, and the CA that vouches for them."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    process = subprocess.Popen(
        [
            *(azurite.node_command(), str(azurite._script()), "--inMemoryPersistence", "--skipApiVersionCheck"),
            *("--disableTelemetry", "--blobPort", "0", "--queuePort", "0", "--tablePort", "0"),
            *("--oauth", "basic", "--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem")),
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    addresses: dict[str, str] = {}
    assert process.stdout is not None
    try:
        while len(addresses) < 3:
            line = process.stdout.readline()
            assert line, "Azurite ended before it was ready"
            if told := re.search(r"Azurite (\w+) service is successfully listening at (https://\S+)", line):
                addresses[told[1].lower()] = f"{told[2]}/devstoreaccount1"
        yield addresses, folder / "ca.pem"
    finally:
        # It would wait for idle connections; nothing is lost with its memory.
        process.kill()
        process.wait()
        process.stdout.close()


def run_app(
    addresses: dict[str, str], authority: Path, endpoint: IdentityEndpoint, **more: str
) -> tuple[dict[str, Any], str]:
    environment = {
        **{f"AzureWebJobsStorage__{service}ServiceUri": address for service, address in addresses.items()},
        "AzureWebJobsStorage__credential": "managedidentity",
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{endpoint.server_address[1]}/identity/token",
        "IDENTITY_HEADER": HEADER,
        "SSL_CERT_FILE": str(authority),
        "NO_PROXY": "127.0.0.1",
        "PATH": os.environ["PATH"],
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_apps_identity_reads_and_writes_tables_and_sends_messages(
    tls_azurite: tuple[dict[str, str], Path], identity_endpoint: IdentityEndpoint
) -> None:
    addresses, authority = tls_azurite
    told, errors = run_app(addresses, authority, identity_endpoint, AzureWebJobsStorage__clientId=CLIENT_ID)
    assert told == {"n": 2**40, "error": None}
    assert errors == "", "no warning of an unclosed connection either"
    assert {asked["resource"][0] for asked in identity_endpoint.asked} == {"https://storage.azure.com"}
    assert {asked["client_id"][0] for asked in identity_endpoint.asked} == {CLIENT_ID}


@pytest.mark.parametrize(
    ("audience", "told"),
    [
        pytest.param("https://vault.azure.net", "403 AuthenticationFailed", id="a token for another service"),
        pytest.param(None, "the identity endpoint answered 401", id="no token at all"),
    ],
)
def test_a_token_that_does_not_serve_is_a_storage_error(
    tls_azurite: tuple[dict[str, str], Path], identity_endpoint: IdentityEndpoint, audience: str | None, told: str
) -> None:
    addresses, authority = tls_azurite
    identity_endpoint.audience = audience
    result, _ = run_app(addresses, authority, identity_endpoint)
    assert result["n"] is None
    assert told in result["error"]
    assert not any("client_id" in asked for asked in identity_endpoint.asked)
