"""The storage modules are imported by every cold start; the SDKs behind them only where they are used."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_storage_modules_imports_no_sdk() -> None:
    program = (
        "import sys, keysteward.store.azure_tables, keysteward.store.azure_queue, keysteward.store.connection\n"
        "print([name for name in sys.modules if name.split('.')[0] in {'azure', 'aiohttp', 'msal'}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_connection_by_key_does_not_import_the_identity_sdk() -> None:
    program = """
import asyncio, sys
from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.connection import parse_storage_connection

async def main():
    connection = parse_storage_connection({"AzureWebJobsStorage": "AccountName=stpay;AccountKey=cGxhbnRlZA=="})
    for opened in (open_tables(connection), open_queue(connection, "keysteward-work")):
        await opened.close()

asyncio.run(main())
print("azure.identity" in sys.modules, "azure.data.tables" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False True"
