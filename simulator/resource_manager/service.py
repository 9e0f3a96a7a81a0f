"""
Resource Manager's reads of vaults and keys, in every cloud. Never behind a vault's firewall.

A host name decides the cloud; a vault of another cloud is not found there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from simulator.azure_clouds import CLOUDS, AzureCloud
from simulator.azure_clouds import SOURCE as CLOUDS_SOURCE
from simulator.faults import PASSING_EVERYWHERE, Fault
from simulator.resource_manager import errors, views
from simulator.resource_manager.errors import CONTENT_TYPE, refused
from simulator.routing import Call, Route, Router, Rule
from simulator.token_bucket import TokenBucket
from simulator.wire import Response, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from simulator.clock import SimulatedClock
    from simulator.identity import Identity
    from simulator.key_vault.state import Key, Vault, Version

API_VERSIONS = frozenset({"2026-02-01", "2026-04-01", "2026-05-15"})
READS_AT_ONCE, READS_PER_SECOND = 250, 25
PAGE = 25
SPEC = "Key Vault Resource Manager specification"
EXAMPLES = "the vendor's examples"
RULES = (
    Rule(
        "The token's audience is the cloud's; in US Government it names another host than the endpoint.", CLOUDS_SOURCE
    ),
    Rule("Reads pass whatever the vault's firewall: the app's posture is about the data plane alone.", errors.DOC),
    Rule("An action that the app lacks on a vault: 403 AuthorizationFailed.", errors.DOC),
    Rule("The action is checked before the key is looked for.", "usual; unverified"),
    Rule("Paths and names compare without case.", "Resource Manager documentation"),
    Rule("Attributes are seconds since 1970; keyUri and keyUriWithVersion carry the port 443.", EXAMPLES),
    Rule("Lists leave out kty, keyOps, keySize and rotationPolicy, a list of keys the version too.", EXAMPLES),
    Rule(
        "A list has at most 25 rows and a nextLink while there are more, in no order.",
        "nextLink: specification; the size: unverified",
    ),
    Rule("A deleted key is 404, with its versions.", "unverified"),
    Rule("The state is the data plane's, without delay.", "unverified"),
    Rule(
        "api-versions before 2026-02-01 are refused, though the real ones end on 27 February 2027.",
        "stricter than the real service",
    ),
    Rule(
        "250 reads at once, 25 more a second, of each subscription and caller: else 429 with Retry-After.", errors.DOC
    ),
    Rule("Of network and policies the vault's document shows what the app's posture implies.", "not simulated further"),
)
_VAULT = (
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/Microsoft.KeyVault/vaults/{vaultName}"
)
_READS = "x-ms-ratelimit-remaining-subscription-reads"
_BY_HOST: Mapping[str, AzureCloud] = {cloud.manager_host: cloud for cloud in CLOUDS.values()}
HOSTS = tuple(_BY_HOST)


class ResourceManager:
    """Resource Manager over the vaults of *vaults* (by host name)."""

    name = "resourceManager"

    def __init__(self, clock: SimulatedClock, random: Random, identity: Identity, vaults: Mapping[str, Vault]) -> None:
        self._clock = clock
        self._random = random
        self._identity = identity
        self._vaults = vaults
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self.page_size = PAGE
        kind = "manager.get"
        self.router = Router(
            [
                Route("GET", _VAULT, self._vault, "A vault", kind),
                Route("GET", f"{_VAULT}/keys", self._keys, "The keys of a vault", kind),
                Route("GET", f"{_VAULT}/keys/{{keyName}}", self._key, "A key, by its current version", kind),
                Route("GET", f"{_VAULT}/keys/{{keyName}}/versions", self._versions, "The versions of a key", kind),
                Route(
                    "GET", f"{_VAULT}/keys/{{keyName}}/versions/{{keyVersion}}", self._version, "One key version", kind
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

    def serves(self, host: str) -> bool:
        return host in _BY_HOST

    def passing_faults(self, route: Route) -> tuple[Fault, ...]:  # noqa: ARG002 - the same for every route here
        return self._faults

    def error(self, call: Call, status: int, code: str, text: str, headers: dict[str, str]) -> Response:  # noqa: ARG002
        """Return a ``CloudError``."""
        return errors.error_response(status, code or "InternalServerError", text, headers)

    def answer(self, call: Call) -> Response:
        """Check token, api-version and the bucket of reads, in this order (unverified), then answer."""
        cloud = _BY_HOST[call.request.host]
        call.headers["x-ms-request-id"] = str(UUID(int=self._random.getrandbits(128), version=4))
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
        owner = (call.params["subscriptionId"].lower(), call.caller)
        bucket = self._buckets.setdefault(owner, TokenBucket(READS_AT_ONCE, now))
        bucket.fill(READS_AT_ONCE, READS_PER_SECOND, now)
        if not bucket.take():
            wait = {"retry-after": str(bucket.wait_seconds(READS_PER_SECOND)), _READS: "0"}
            raise refused(errors.THROTTLED, "The request is being throttled.", wait)
        call.headers[_READS] = str(int(bucket.level))

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
        self._check_action(call, vault, action)
        return vault

    def _check_action(self, call: Call, vault: Vault, action: str) -> None:
        action = f"Microsoft.KeyVault/{action}/read"
        if action not in vault.manager_actions:
            text = (
                f"The client '{call.caller}' with object id '{call.caller}' does not have authorization to perform "
                f"action '{action}' over scope '{vault.resource_id}' or the scope is invalid. If access was recently "
                "granted, please refresh your credentials."
            )
            raise refused(errors.NOT_ALLOWED, text)

    def _named_key(self, call: Call, vault: Vault) -> Key:
        key = vault.keys.get(call.params["keyName"].lower())
        if key is None or key.deleted_at is not None:
            raise refused(errors.NO_VAULT, f"The key '{call.params['keyName']}' was not found in vault '{vault.name}'.")
        return key

    def _vault(self, call: Call) -> Response:
        return _json(views.vault_view(self._found(call, "vaults")))

    def _key(self, call: Call) -> Response:
        vault = self._found(call, "vaults/keys")
        return _json(views.key_view(vault, self._named_key(call, vault)))

    def _version(self, call: Call) -> Response:
        vault = self._found(call, "vaults/keys/versions")
        key = self._named_key(call, vault)
        version = key.versions.get(call.params["keyVersion"].lower())
        if version is None:
            text = f"The version '{call.params['keyVersion']}' of the key '{key.name}' was not found."
            raise refused(errors.NO_VAULT, text)
        return _json(views.version_view(vault, key, version))

    def _keys(self, call: Call) -> Response:
        vault = self._found(call, "vaults/keys")
        keys = [key for key in vault.keys.values() if key.deleted_at is None]
        return self._page(call, [views.listed_key(vault, key) for key in keys])

    def _versions(self, call: Call) -> Response:
        vault = self._found(call, "vaults/keys/versions")
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


def _in_list_order(key: Key) -> list[Version]:
    return sorted(key.versions.values(), key=lambda version: version.rank)


def _json(data: object) -> Response:
    return json_response(200, data, content_type=CONTENT_TYPE)
