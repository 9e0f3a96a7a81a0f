"""
Every setting of the app, one row each: the reader, the docs and the health texts come from here.

A new setting is a new row; a test then asks for its line in ``docs/settings.md``.
"""

from __future__ import annotations

import re

from keysteward.schedules import DEFAULT_SCHEDULES
from keysteward.settings.documents import azure_client_secrets, notify_targets, secret_expiry
from keysteward.settings.setting import Fault, InvalidValueError, Setting
from keysteward.settings.values import (
    auth,
    base_url,
    flag,
    plain_text,
    project_ids,
    public_credential,
    schedule,
    secret_credential,
    shared_secret,
    uuid,
)

_UUID = "11111111-2222-3333-4444-555555555555"
_POLICY_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.json")


def _policy_source(text: str) -> str:
    if text.startswith("{") or (_POLICY_FILE.fullmatch(text) and ".." not in text):
        return text
    what = "is neither a JSON object nor the name of a .json file beside host.json (no folders, no blanks)"
    raise InvalidValueError(Fault(what))


PROJECT_IDS = Setting(
    name="ATLAS_PROJECT_IDS",
    required=True,
    meaning="Comma-separated project ids, or `*` for every project that the credential sees and that uses Azure Key "
    "Vault. An id that is there twice counts once.",
    example="64b0c1d2e3f4a5b6c7d8e9f0,64b0c1d2e3f4a5b6c7d8e9f1",
    read=project_ids,
)
CLIENT_ID = Setting(
    name="ATLAS_CLIENT_ID",
    meaning="Atlas service account (preferred).",
    example="mdb_sa_id_0123456789abcdef01234567",
    read=public_credential,
)
CLIENT_SECRET = Setting(
    name="ATLAS_CLIENT_SECRET",
    meaning="Its secret.",
    example="@Microsoft.KeyVault(SecretUri=https://<vault>.vault.azure.net/secrets/<name>)",
    read=secret_credential,
)
PUBLIC_KEY = Setting(
    name="ATLAS_PUBLIC_KEY",
    meaning="Atlas API key (HTTP Digest); used when no service account is set.",
    example="abcdefgh",
    read=public_credential,
)
PRIVATE_KEY = Setting(
    name="ATLAS_PRIVATE_KEY",
    meaning="Its private part.",
    example="01234567-89ab-cdef-0123-456789abcdef",
    read=secret_credential,
)
BASE_URL = Setting(
    name="ATLAS_BASE_URL",
    default="https://cloud.mongodb.com",
    meaning="Where Atlas answers: https, host and port alone.",
    example="https://cloud.mongodb.com",
    read=base_url,
)
AZURE_CLIENT_SECRET = Setting(
    name="ATLAS_AZURE_CLIENT_SECRET",
    meaning="Secret of the Azure application that Atlas signs in with; sent in a rotation only if set. A JSON object "
    "maps project ids to secrets.",
    example='{"64b0c1d2e3f4a5b6c7d8e9f0": "<secret>"}',
    read=azure_client_secrets,
)
STORAGE = Setting(
    name="AzureWebJobsStorage",
    required=True,
    meaning="Connection string of the storage account; or the settings below, for an identity.",
    example="DefaultEndpointsProtocol=https;AccountName=<account>;AccountKey=<key>;EndpointSuffix=core.windows.net",
    read=plain_text,
)
STORAGE_IDENTITY = (
    *(
        Setting(
            name=f"AzureWebJobsStorage__{service}ServiceUri",
            meaning=f"Address of the {service} service, where an identity signs in.",
            example=f"https://<account>.{service}.core.windows.net",
            read=plain_text,
        )
        for service in ("blob", "queue", "table")
    ),
    Setting(
        name="AzureWebJobsStorage__accountName",
        meaning="In place of the three addresses (public cloud).",
        example="mystorageaccount",
        read=plain_text,
    ),
    Setting(
        name="AzureWebJobsStorage__credential",
        meaning="How the identity signs in.",
        example="managedidentity",
        read=plain_text,
    ),
    Setting(
        name="AzureWebJobsStorage__clientId",
        meaning="Client id of the user-assigned identity.",
        example=_UUID,
        read=plain_text,
    ),
)
IDENTITY = Setting(
    name="AZURE_CLIENT_ID",
    meaning="Client id of the user-assigned identity; unset: the system-assigned one.",
    example=_UUID,
    read=uuid,
)
POLICY = Setting(
    name="KEYSTEWARD_POLICY",
    default="{}",
    meaning="[Policy document](policy.md) as JSON, or the name of a JSON file beside `host.json`.",
    example='{"defaults": {"rotation": {"mode": "approve"}}}',
    read=_policy_source,
)
AUTH = Setting(
    name="KEYSTEWARD_AUTH",
    default="keys",
    meaning="[Who may call](operating.md#who-may-call) the operator routes: `keys` (function and host keys) or `entra` "
    "(app roles, behind App Service authentication). Any other value: the routes need function keys and answer 503.",
    example="keys",
    read=auth,
)
DRY_RUN = Setting(
    name="KEYSTEWARD_DRY_RUN",
    default="false",
    meaning="`true`: observe and plan everything, act on nothing; beats every other switch and every call.",
    example="true",
    read=flag,
)
NOTIFY = Setting(
    name="KEYSTEWARD_NOTIFY",
    default="[]",
    meaning="JSON list of targets: `webhook` (`url`, `secret`), `eventgrid` (`endpoint`); `teams`, `slack` (`url`) are "
    "read, and told nothing in this release.",
    example='[{"kind": "webhook", "url": "https://hooks.example.com/keysteward", "secret": "<secret>"}]',
    read=notify_targets,
)
SECRET_EXPIRY = Setting(
    name="KEYSTEWARD_SECRET_EXPIRY",
    default="{}",
    meaning="JSON: end dates of secrets that the app cannot read by itself.",
    example=f'{{"atlasServiceAccount": "2027-03-01", "azureApplication:{_UUID}": "2027-01-15"}}',
    read=secret_expiry,
)
WEBHOOK_SECRET = Setting(
    name="KEYSTEWARD_ATLAS_WEBHOOK_SECRET",
    meaning="Secret of the Atlas webhook; unset: the route answers 404.",
    example="<a long random text>",
    read=shared_secret,
)
RECONCILE_SCHEDULE = Setting(
    name="RECONCILE_SCHEDULE",
    default=DEFAULT_SCHEDULES["RECONCILE_SCHEDULE"],
    meaning="Timer of `reconcile_projects`: six fields, seconds first, in UTC.",
    example="0 */15 * * * *",
    read=schedule,
)
FIREWALL_SCHEDULE = Setting(
    name="FIREWALL_SCHEDULE",
    default=DEFAULT_SCHEDULES["FIREWALL_SCHEDULE"],
    meaning="Timer of `sync_firewalls`.",
    example="30 */5 * * * *",
    read=schedule,
)
WATCH_SCHEDULE = Setting(
    name="WATCH_SCHEDULE",
    default=DEFAULT_SCHEDULES["WATCH_SCHEDULE"],
    meaning="Timer of `watch_keys`.",
    example="15 * * * * *",
    read=schedule,
)
DAILY_SCHEDULE = Setting(
    name="DAILY_SCHEDULE",
    default=DEFAULT_SCHEDULES["DAILY_SCHEDULE"],
    meaning="Timer of `daily_report`.",
    example="0 0 6 * * *",
    read=schedule,
)

SETTINGS: tuple[Setting[object], ...] = (
    *(PROJECT_IDS, CLIENT_ID, CLIENT_SECRET, PUBLIC_KEY, PRIVATE_KEY, BASE_URL, AZURE_CLIENT_SECRET),
    *(STORAGE, *STORAGE_IDENTITY, IDENTITY),
    *(POLICY, AUTH, DRY_RUN, NOTIFY, SECRET_EXPIRY, WEBHOOK_SECRET),
    *(RECONCILE_SCHEDULE, FIREWALL_SCHEDULE, WATCH_SCHEDULE, DAILY_SCHEDULE),
)
"""Every row, in the order of the docs."""
