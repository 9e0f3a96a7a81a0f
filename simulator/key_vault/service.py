"""The data plane of every simulated vault: challenge, posture, keys, versions, rotation."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from simulator.azure_clouds import CLOUDS, PUBLIC
from simulator.azure_clouds import SOURCE as CLOUDS_SOURCE
from simulator.faults import PASSING_EVERYWHERE, Fault
from simulator.key_vault import errors, for_atlas
from simulator.key_vault.errors import error_response, refused
from simulator.key_vault.network import Network
from simulator.key_vault.owner import VaultOwner
from simulator.key_vault.paging import page_of
from simulator.key_vault.state import APP_ROLES, Key, Posture, Vault, attributes, bundle
from simulator.routing import Call, Route, Router, Rule
from simulator.wire import Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from random import Random

    from simulator.clock import SimulatedClock
    from simulator.event_grid import EventGrid
    from simulator.identity import Identity

CONTENT_TYPE = "application/json; charset=utf-8"
API_VERSIONS = frozenset({"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"})
SDK = "azure-keyvault-keys, tried"
SPEC = "Key Vault keys specification"
RULES = (
    Rule("No or unknown token: 401 with a WWW-Authenticate challenge that names tenant and resource.", SDK),
    Rule("A token for another audience, or one that has ended: the same 401.", errors.KVD),
    Rule(
        "The app's posture is checked after the token and before the key: 403 with an inner code.", "usual; unverified"
    ),
    Rule("A missing or unknown api-version: 400 BadParameter.", SPEC),
    Rule(
        "GET /keys/{name}/ answers the newest version by creation, disabled or expired or not.",
        "follows from the documentation; unverified",
    ),
    Rule("Lists are in no order, at most 25 a page, nextLink absolute.", SPEC),
    Rule("A page may be empty and still have a nextLink.", "common for Azure lists; unverified"),
    Rule("A disabled or expired version still answers its metadata.", errors.KVD),
    Rule("A deleted key is 404, its versions too; deletedkeys shows it; recovery brings everything back.", SPEC),
    Rule("Names of keys compare without case.", "unverified"),
    Rule("A key without a rotation policy answers one with Notify at P30D.", "unverified"),
    Rule("A rotation makes a version like the newest one, with the policy's expiry.", SPEC),
    Rule("Setting a policy needs setrotationpolicy, which the app does not have unless it is given.", errors.KVD),
    Rule("A policy: expiry 28 days or more, triggers 7 days or more, one Rotate and one Notify at most.", errors.KVD),
    Rule("A Rotate trigger makes a version at its time, skipped time included.", errors.KVD),
    Rule("A policy whose time has passed already rotates at once; one on a disabled version does not.", "unverified"),
    Rule("Months count 30 days, years 365.", "unverified"),
    Rule(
        "A filtering vault lets in the app by the address that it calls from; an ordered posture comes first.",
        errors.KVD,
    ),
    Rule("A vault in a network security perimeter lets nobody in.", "harder than the real service"),
    Rule("Network rules act at once.", "unverified: minutes are possible"),
    Rule("Each cloud's vaults have its suffix, its token audience and its authority in the challenge.", CLOUDS_SOURCE),
    Rule("Throttling (429, Retry-After) only on order: nothing that one app does reaches the limits.", errors.KVD),
)
_WHO = "Caller: oid={oid}\r\nVault: {vault}"
_POSTURES = {
    Posture.FIREWALL: (
        errors.FIREWALL,
        "Client address is not authorized and caller is not a trusted service.\r\nClient address: {ip}\r\n" + _WHO,
    ),
    Posture.CONNECTION: (
        errors.CONNECTION,
        "Public network access is disabled and the request is neither from a trusted service nor via an approved "
        "private link.\r\n" + _WHO,
    ),
    Posture.RBAC: (
        errors.RBAC,
        "Caller is not authorized to perform action on resource.\r\nIf role assignments were changed recently, "
        "please observe propagation time.\r\n" + _WHO,
    ),
    Posture.POLICY: (
        errors.POLICY,
        "The user, group or application 'oid={oid}' does not have the needed keys permission on vault '{vault}'.",
    ),
}
_POLICY_PATH = "/keys/{name}/rotationpolicy"


class KeyVault:
    """All vaults of all clouds, by host name."""

    name = "keyVault"

    def __init__(
        self,
        clock: SimulatedClock,
        random: Random,
        identity: Identity,
        event_grid: EventGrid,
        before_change: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._identity = identity
        self._event_grid = event_grid
        self._before_change = before_change
        self._owners: dict[str, VaultOwner] = {}
        self.vaults: dict[str, Vault] = {}
        self.atlas_addresses: tuple[str, ...] = ()
        """Where Atlas's control plane calls from: plain addresses or ranges."""
        self._reach_listeners: list[Callable[[datetime], None]] = []
        self.empty_page_rate = 0.2
        """The share of list pages that come empty, with a nextLink, before the real one."""
        self.router = Router(
            [
                Route("GET", "/keys/{name}/versions", self._versions, "The versions of a key", "vault.get"),
                Route("GET", _POLICY_PATH, self._policy, "The rotation policy of a key", "vault.get"),
                Route("PUT", _POLICY_PATH, self._set_policy, "Set the rotation policy, as a whole", "vault.write"),
                Route("GET", "/keys/{name}/", self._newest, "The newest version (as the SDK asks)", "vault.get"),
                Route("GET", "/keys/{name}", self._newest, "The newest version", "vault.get"),
                Route("GET", "/keys/{name}/{version}", self._version, "One version", "vault.get"),
                Route("GET", "/deletedkeys/{name}", self._deleted, "A deleted key", "vault.get"),
                Route("POST", "/keys/{name}/rotate", self._rotate, "Make a new version", "vault.write"),
            ]
        )
        self._faults = (
            *PASSING_EVERYWHERE,
            Fault(status=429, code="Throttled", retry_after=1),
            Fault(status=503, code="ServiceUnavailable", retry_after=2),
            Fault(status=500, code="InternalServerError"),
        )

    def add_vault(
        self,
        name: str,
        *,
        tenant_id: str = "",
        subscription_id: str = "11111111-2222-4333-8444-555555555555",
        resource_group: str = "rg-atlas-cmk",
        environment: str = PUBLIC.environment,
        app_roles: Iterable[str] = APP_ROLES,
    ) -> VaultOwner:
        """
        Add an empty vault, in the app's own tenant unless another is named, and return its owner's hand.

        *environment* names its cloud as Atlas does (``AZURE``, ``AZURE_CHINA``, ``AZURE_US_GOVERNMENT``),
        *app_roles* the custom roles that the app has there. It has never had network rules: it filters nothing.
        """
        if environment not in CLOUDS:
            raise ValueError(f"environment is one of {', '.join(CLOUDS)}, got {environment!r}")
        now = self._clock.now()
        tenant = tenant_id or self._identity.tenant_id
        state = Vault(name, tenant, subscription_id, resource_group, Network(now, now), CLOUDS[environment])
        if any(vault.name.lower() == name.lower() for vault in self.vaults.values()):
            raise ValueError(f"there is a vault {name} already")
        self.vaults[state.host] = state
        owner = VaultOwner(
            state, self._clock, self._random, self._event_grid, self._before_change, self.tell_reach_changed
        )
        owner.app_roles = app_roles
        self._owners[state.host] = owner
        return owner

    def vault(self, name: str) -> VaultOwner:
        """Return the owner's hand on a vault of whichever cloud; ``KeyError`` where there is none."""
        for owner in self._owners.values():
            if owner.state.name.lower() == name.lower():
                return owner
        raise KeyError(name)

    def may_take(self, identifier: str) -> for_atlas.Finding:
        """Say what Atlas finds when it is to take *identifier*."""
        return for_atlas.may_take(self.vaults, identifier, self._clock.now(), self.atlas_addresses)

    def can_use(self, identifier: str) -> for_atlas.Finding:
        """Say what Atlas finds when it decrypts with *identifier*."""
        return for_atlas.can_use(self.vaults, identifier, self.atlas_addresses)

    def on_reach_changed(self, listener: Callable[[datetime], None]) -> None:
        """Call *listener* whenever somebody may reach a vault who did not before, or the other way round."""
        self._reach_listeners.append(listener)

    def tell_reach_changed(self, at: datetime) -> None:
        """Tell whoever waits for a way to a vault."""
        for listener in self._reach_listeners:
            listener(at)

    def serves(self, host: str) -> bool:
        return host in self.vaults

    def passing_faults(self, route: Route) -> tuple[Fault, ...]:  # noqa: ARG002 - the same for every route here
        return self._faults

    def error(self, call: Call, status: int, code: str, text: str, headers: dict[str, str]) -> Response:  # noqa: ARG002
        """Return an error in Key Vault's form."""
        return error_response(status, code or "InternalServerError", text, None, headers)

    def answer(self, call: Call) -> Response:
        """Check who calls, from where and for which version of the API, then answer."""
        vault = self.vaults[call.request.host]
        call.headers["x-ms-request-id"] = str(UUID(int=self._random.getrandbits(128), version=4))
        self._check_token(call, vault)
        if call.request.query_value("api-version") not in API_VERSIONS:
            raise refused(errors.BAD_PARAMETER, "api-version must be specified and known.")
        posture = _posture(vault, call.request.client_ip)
        if posture is not Posture.OPEN:
            refusal, text = _POSTURES[posture]
            raise refused(refusal, text.format(ip=call.request.client_ip, oid=call.caller, vault=vault.name))
        return call.route.answer(call)

    def _check_token(self, call: Call, vault: Vault) -> None:
        scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
        resource = vault.cloud.vault_audience
        caller = self._identity.caller_of(token, resource) if scheme.lower() == "bearer" else None
        if caller is None:
            challenge = (
                f'Bearer authorization="https://{vault.cloud.authority}/{vault.tenant_id}", resource="{resource}"'
            )
            text = "AKV10000: Request is missing a Bearer or PoP token." if not token else "AKV10022: Invalid audience."
            raise refused(errors.UNAUTHORIZED, text, {"www-authenticate": challenge})
        call.caller = caller

    def _key(self, call: Call, permission: str) -> tuple[Vault, Key]:
        vault = self.vaults[call.request.host]
        if permission not in vault.permissions:
            raise refused(errors.RBAC, f"Caller is not authorized: keys/{permission}. Vault: {vault.name}")
        key = vault.keys.get(call.params["name"].lower())
        if key is None or key.deleted_at is not None:
            raise _not_found(call)
        return vault, key

    def _newest(self, call: Call) -> Response:
        vault, key = self._key(call, "get")
        return _json(bundle(vault, key, key.newest))

    def _version(self, call: Call) -> Response:
        vault, key = self._key(call, "get")
        version = key.versions.get(call.params["version"].lower())
        if version is None:
            raise _not_found(call)
        return _json(bundle(vault, key, version))

    def _versions(self, call: Call) -> Response:
        vault, key = self._key(call, "list")
        in_list_order = sorted(key.versions.values(), key=lambda version: version.rank)
        page = page_of(in_list_order, call.request, self._random, self.empty_page_rate)
        rows = [{"kid": vault.identifier(key, one), "attributes": attributes(one)} for one in page.rows]
        return _json({"value": rows, "nextLink": self._next_link(call, page.next_cursor)})

    def _next_link(self, call: Call, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        size = call.request.query_value("maxresults")
        kept = f"&maxresults={size}" if size else ""
        version = call.request.query_value("api-version")
        return f"https://{call.request.host}{call.request.path}?api-version={version}&$skiptoken={cursor}{kept}"

    def _deleted(self, call: Call) -> Response:
        vault = self.vaults[call.request.host]
        key = vault.keys.get(call.params["name"].lower())
        if key is None or key.deleted_at is None:
            raise _not_found(call)
        times = {
            "deletedDate": int(key.deleted_at.timestamp()),
            "scheduledPurgeDate": int((key.deleted_at + timedelta(days=90)).timestamp()),
        }
        recovery = f"https://{vault.host}/deletedkeys/{key.name}"
        return _json({**bundle(vault, key, key.newest), "recoveryId": recovery, **times})

    def _policy(self, call: Call) -> Response:
        return _json(_policy_view(*self._key(call, "getrotationpolicy")))

    def _set_policy(self, call: Call) -> Response:
        vault, key = self._key(call, "setrotationpolicy")
        try:
            self._owners[vault.host].set_rotation_policy(key.name, call.request.json())
        except ValueError as error:
            raise refused(errors.BAD_PARAMETER, f"The rotation policy is not allowed: {error}") from None
        call.changes = True
        return _json(_policy_view(vault, key))

    def _rotate(self, call: Call) -> Response:
        vault, key = self._key(call, "rotate")
        if not key.newest.enabled:
            raise refused(errors.KEY_DISABLED, "Operation rotate is not allowed on a disabled key.")
        self._owners[vault.host].rotate(key.name)
        call.changes = True
        return _json(bundle(vault, key, key.newest))


def _posture(vault: Vault, client_ip: str) -> Posture:
    """Say how *vault* stands towards the app, calling from *client_ip*: as was ordered, else by its network rules."""
    if vault.posture is not Posture.OPEN or vault.network.lets_in(client_ip):
        return vault.posture
    return Posture.FIREWALL if vault.network.is_public else Posture.CONNECTION


def _policy_view(vault: Vault, key: Key) -> dict[str, object]:
    notify = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}
    policy = key.rotation_policy or {"lifetimeActions": [notify], "attributes": {}}
    return {"id": f"https://{vault.host}/keys/{key.name}/rotationpolicy", **policy}


def _not_found(call: Call) -> Exception:
    name = "/".join(part for part in (call.params["name"], call.params.get("version")) if part)
    return refused(errors.KEY_NOT_FOUND, f"A key with (name/id) {name} was not found in this key vault.")


def _json(data: object) -> Response:
    return json_response(200, data, content_type=CONTENT_TYPE)
