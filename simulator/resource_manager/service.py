"""
Resource Manager's reads of vaults and keys and its write of a vault, in every cloud. Never behind a vault's firewall.

A host name decides the cloud; a vault of another cloud is not found there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from simulator.azure_clouds import CLOUDS, AzureCloud
from simulator.faults import PASSING_EVERYWHERE, Fault
from simulator.resource_manager import errors, views
from simulator.resource_manager.changes import change_of
from simulator.resource_manager.errors import CONTENT_TYPE, refused
from simulator.resource_manager.writes import WRITE, Trace, app_of
from simulator.routing import Call, Route, Router
from simulator.token_bucket import TokenBucket
from simulator.wire import Response, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from simulator.clock import SimulatedClock
    from simulator.identity import Identity
    from simulator.key_vault.state import Key, Vault, Version
    from simulator.resource_manager.writes import VaultWrites

READ, READ_KEY, READ_VERSION = (
    f"Microsoft.KeyVault/{what}/read" for what in ("vaults", "vaults/keys", "vaults/keys/versions")
)
API_VERSIONS = frozenset({"2026-02-01", "2026-04-01", "2026-05-15"})
READS_AT_ONCE, READS_PER_SECOND = 250, 25
WRITES_AT_ONCE, WRITES_PER_SECOND = 200, 10
PAGE = 25
VAULT = (
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/Microsoft.KeyVault/vaults/{vaultName}"
)
_BUCKETS = {
    "GET": ("reads", READS_AT_ONCE, READS_PER_SECOND),
    "PATCH": ("writes", WRITES_AT_ONCE, WRITES_PER_SECOND),
}
_CORRELATION = "x-ms-correlation-request-id"
_BY_HOST: Mapping[str, AzureCloud] = {cloud.manager_host: cloud for cloud in CLOUDS.values()}
HOSTS = tuple(_BY_HOST)


class ResourceManager:
    """Resource Manager over the vaults of *vaults* (by host name)."""

    name = "resourceManager"

    def __init__(
        self,
        clock: SimulatedClock,
        random: Random,
        identity: Identity,
        vaults: Mapping[str, Vault],
        writes: VaultWrites,
    ) -> None:
        self._clock = clock
        self._random = random
        self._identity = identity
        self._vaults = vaults
        self._writes = writes
        self._buckets: dict[tuple[str, str, str], TokenBucket] = {}
        self.page_size = PAGE
        kind = "manager.get"
        self.router = Router(
            [
                Route("GET", VAULT, self._vault, "A vault", kind),
                Route("PATCH", VAULT, self._change_vault, "Change a vault's network rules", "manager.write"),
                Route("GET", f"{VAULT}/keys", self._keys, "The keys of a vault", kind),
                Route("GET", f"{VAULT}/keys/{{keyName}}", self._key, "A key, by its current version", kind),
                Route("GET", f"{VAULT}/keys/{{keyName}}/versions", self._versions, "The versions of a key", kind),
                Route(
                    "GET", f"{VAULT}/keys/{{keyName}}/versions/{{keyVersion}}", self._version, "One key version", kind
                ),
            ],
            ignore_case=True,
        )
        self._faults = (
            *PASSING_EVERYWHERE,
            Fault(status=429, code=errors.THROTTLED.code, retry_after=1),
            Fault(status=503, code="ServerTimeout", retry_after=2),
            Fault(status=500, code="InternalServerError"),
        )
        conflict = Fault(status=errors.CONFLICT.status, code=errors.CONFLICT.code)
        self._faults_of_writes = (*self._faults, conflict, conflict)

    def serves(self, host: str) -> bool:
        return host in _BY_HOST

    def passing_faults(self, route: Route) -> tuple[Fault, ...]:
        return self._faults if route.method == "GET" else self._faults_of_writes

    def error(self, call: Call, status: int, code: str, text: str, headers: dict[str, str]) -> Response:  # noqa: ARG002
        """Return a ``CloudError``."""
        return errors.error_response(status, code or "InternalServerError", text, headers)

    def answer(self, call: Call) -> Response:
        """Check token, api-version and the bucket, in this order (unverified), then answer."""
        cloud = _BY_HOST[call.request.host]
        call.headers["x-ms-request-id"] = str(UUID(int=self._random.getrandbits(128), version=4))
        call.headers[_CORRELATION] = _correlation_id(call) or str(UUID(int=self._random.getrandbits(128), version=4))
        self._check_token(call, cloud)
        version = call.request.query_value("api-version")
        if version is None:
            raise refused(errors.NO_VERSION, "The api-version query parameter (?api-version=) is required.")
        if version not in API_VERSIONS:
            raise refused(errors.BAD_VERSION, f"The api-version '{version}' is invalid.")
        self._spend(call)
        return call.route.answer(call)

    def _check_token(self, call: Call, cloud: AzureCloud) -> None:
        scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
        challenge = {
            "www-authenticate": f'Bearer authorization_uri="https://{cloud.authority}/{self._identity.tenant_id}", '
            'error="invalid_token", error_description="The access token is missing or invalid."'
        }
        if not token:
            raise refused(errors.NO_TOKEN, "Authentication failed. The 'Authorization' header is missing.", challenge)
        caller = self._identity.caller_of(token, cloud.manager_audience) if scheme.lower() == "bearer" else None
        if caller is None:
            raise refused(errors.BAD_TOKEN, "The access token is invalid or for another audience.", challenge)
        call.caller = caller

    def _spend(self, call: Call) -> None:
        now = self._clock.shared_now()
        name, at_once, per_second = _BUCKETS[call.route.method]
        header = f"x-ms-ratelimit-remaining-subscription-{name}"
        owner = (name, call.params["subscriptionId"].lower(), call.caller)
        bucket = self._buckets.setdefault(owner, TokenBucket(at_once, now))
        bucket.fill(at_once, per_second, now)
        if not bucket.take():
            wait = {"retry-after": str(bucket.wait_seconds(per_second)), header: "0"}
            raise refused(errors.THROTTLED, "The request is being throttled.", wait)
        call.headers[header] = str(int(bucket.level))

    def _found(self, call: Call, action: str) -> Vault:
        """Return the vault that a path names, if the app may do *action* on it."""
        cloud = _BY_HOST[call.request.host]
        subscription, group, name = (
            call.params[part].lower() for part in ("subscriptionId", "resourceGroupName", "vaultName")
        )
        of_subscription = [
            one for one in self._vaults.values() if one.cloud is cloud and one.subscription_id.lower() == subscription
        ]
        if not of_subscription:
            raise refused(errors.NO_SUBSCRIPTION, f"The subscription '{subscription}' could not be found.")
        of_group = [one for one in of_subscription if one.resource_group.lower() == group]
        if not of_group:
            raise refused(errors.NO_GROUP, f"Resource group '{group}' could not be found.")
        vault = next((one for one in of_group if one.name.lower() == name), None)
        if vault is None:
            text = f"The Resource 'Microsoft.KeyVault/vaults/{name}' under resource group '{group}' was not found."
            raise refused(errors.NO_VAULT, text)
        _check_action(call, vault, action)
        return vault

    def _named_key(self, call: Call, vault: Vault) -> Key:
        key = vault.keys.get(call.params["keyName"].lower())
        if key is None or key.deleted_at is not None:
            raise refused(errors.NO_VAULT, f"The key '{call.params['keyName']}' was not found in vault '{vault.name}'.")
        return key

    def _vault(self, call: Call) -> Response:
        return _json(views.vault_view(self._found(call, READ)))

    def _change_vault(self, call: Call) -> Response:
        """Check the right, the lock, the body and the policy, in this order (unverified), then write."""
        vault = self._found(call, WRITE)
        if vault.is_locked:
            text = f"The scope '{vault.resource_id}' cannot perform write operation because it is locked."
            raise refused(errors.LOCKED, text)
        try:
            change = change_of(vault, call.request.json())
        except ValueError:
            raise refused(errors.BAD_BODY, "The request content was invalid: no JSON.") from None
        if vault.denied_by_policy:
            raise refused(errors.DENIED, f"Resource '{vault.name}' was disallowed by policy.")
        self._writes.apply(vault, change, app_of(call.caller), call.now, self._trace(call))
        call.changes = True
        return _json(views.vault_view(vault))

    def _trace(self, call: Call) -> Trace:
        request = call.request
        url = f"https://{request.host}{request.path}?api-version={request.query_value('api-version')}"
        client_id = request.headers.get("x-ms-client-request-id")
        return Trace(call.headers[_CORRELATION], client_id, request.client_ip, url)

    def _key(self, call: Call) -> Response:
        vault = self._found(call, READ_KEY)
        return _json(views.key_view(vault, self._named_key(call, vault)))

    def _version(self, call: Call) -> Response:
        vault = self._found(call, READ_VERSION)
        key = self._named_key(call, vault)
        version = key.versions.get(call.params["keyVersion"].lower())
        if version is None:
            text = f"The version '{call.params['keyVersion']}' of the key '{key.name}' was not found."
            raise refused(errors.NO_VAULT, text)
        return _json(views.version_view(vault, key, version))

    def _keys(self, call: Call) -> Response:
        vault = self._found(call, READ_KEY)
        keys = [key for key in vault.keys.values() if key.deleted_at is None]
        return self._page(call, [views.listed_key(vault, key) for key in keys])

    def _versions(self, call: Call) -> Response:
        vault = self._found(call, READ_VERSION)
        key = self._named_key(call, vault)
        return self._page(call, [views.listed_version(vault, key, one) for one in _in_list_order(key)])

    def _page(self, call: Call, rows: Sequence[object]) -> Response:
        text = call.request.query_value("$skiptoken") or "0"
        if not text.isdecimal():
            raise refused(errors.BAD_CURSOR, "$skiptoken is not one of ours.")
        start, end = int(text), int(text) + self.page_size
        page: dict[str, object] = {"value": rows[start:end]}
        if end < len(rows):
            version = call.request.query_value("api-version")
            page["nextLink"] = f"https://{call.request.host}{call.request.path}?api-version={version}&$skiptoken={end}"
        return _json(page)


def _check_action(call: Call, vault: Vault, action: str) -> None:
    if action not in vault.manager_actions:
        text = (
            f"The client '{call.caller}' with object id '{call.caller}' does not have authorization to perform "
            f"action '{action}' over scope '{vault.resource_id}' or the scope is invalid. If access was recently "
            "granted, please refresh your credentials."
        )
        raise refused(errors.NOT_ALLOWED, text)


def _correlation_id(call: Call) -> str | None:
    """Return the correlation id that the caller sent, None where it sent none that counts."""
    text = call.request.headers.get(_CORRELATION, "")
    try:
        return text if text and str(UUID(text)) == text.lower() else None
    except ValueError:
        return None


def _in_list_order(key: Key) -> list[Version]:
    return sorted(key.versions.values(), key=lambda version: version.rank)


def _json(data: object) -> Response:
    return json_response(200, data, content_type=CONTENT_TYPE)
