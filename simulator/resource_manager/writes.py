"""
Every write of a vault's document, whoever makes it: the change, who made it, its event, and a policy that reverts it.

One way for the app, for other tools and for the owner, so that none of them can write without a trace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from simulator.custom_roles import NETWORK_WRITER, ROLES
from simulator.resource_manager.changes import acls_of

if TYPE_CHECKING:
    from random import Random

    from simulator.agenda import Agenda
    from simulator.event_grid import EventGrid
    from simulator.key_vault.service import KeyVault
    from simulator.key_vault.state import Vault
    from simulator.resource_manager.changes import Change

WRITE = "Microsoft.KeyVault/vaults/write"
WRITTEN = "Microsoft.Resources.ResourceWriteSuccess"
_CLAIM = "http://schemas.microsoft.com/identity/claims"
_PERSONAL = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"


@dataclass(frozen=True, slots=True)
class Writer:
    """
    Who writes. ``name`` is a person's (with an ``@``), a tool's, or ``app``; ``object_id`` that of its principal.

    ``modified_by`` is how the vault's ``systemData`` names it. Unverified: that an application is named by its id.
    """

    name: str
    object_id: str
    role: str

    @property
    def is_person(self) -> bool:
        return "@" in self.name

    @property
    def modified_by(self) -> str:
        return self.name if self.is_person else self.object_id

    @property
    def kind(self) -> str:
        return "User" if self.is_person else "Application"


@dataclass(frozen=True, slots=True)
class Trace:
    """How a write came in, as far as its event tells. ``correlation_id`` is the answer's."""

    correlation_id: str
    client_request_id: str | None
    client_ip: str
    url: str


def writer_of(name: str) -> Writer:
    """Return somebody else than the app, by the name of a person (with an ``@``) or of a tool."""
    return Writer(name, str(uuid5(NAMESPACE_URL, name)), "Owner" if "@" in name else "Contributor")


def app_of(object_id: str) -> Writer:
    """Return the app, by the object id that its token names."""
    return Writer("app", object_id, ROLES[NETWORK_WRITER].title)


POLICY = writer_of("azurePolicy")


@dataclass(frozen=True, slots=True)
class Reverting:
    """A policy that wants the vault's rules to be ``ip_rules``. ``after`` None: within the same answer."""

    ip_rules: tuple[str, ...]
    after: timedelta | None


class VaultWrites:
    """Makes writes true. Its due times stand in Atlas's agenda, in one order with the checks that they change."""

    def __init__(self, random: Random, key_vault: KeyVault, event_grid: EventGrid, agenda: Agenda) -> None:
        self._random = random
        self._key_vault = key_vault
        self._event_grid = event_grid
        self._agenda = agenda
        self.reverting: dict[str, Reverting] = {}
        """By the vault's host name."""

    def new_id(self) -> str:
        """Return a correlation or request id."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def apply(self, vault: Vault, change: Change, writer: Writer, at: datetime, trace: Trace | None = None) -> None:
        """
        Make *change* true as of *at*, raise its event, and let what follows from it begin.

        A change that changes nothing is a write like any other. Without *trace* it came in through the portal.
        """
        policy = self.reverting.get(vault.host)
        if policy is not None and policy.after is None and writer is not POLICY:
            change = _with_rules(change, policy.ip_rules)
        network = vault.network
        network.replace(change.acls, change.public_access)
        network.modified_at, network.modified_by, network.modified_by_type = at, writer.modified_by, writer.kind
        vault.tags = dict(change.tags)
        self._publish(vault, writer, trace or Trace(self.new_id(), None, "198.51.100.77", _url(vault)))
        self._key_vault.tell_reach_changed(at)
        if policy is not None and policy.after is not None and writer is not POLICY:
            self._agenda.add(at + policy.after, lambda due: self._revert(vault, policy, change, due))

    def _revert(self, vault: Vault, policy: Reverting, change: Change, at: datetime) -> None:
        in_force = self.reverting.get(vault.host) is policy
        if in_force and vault.network.ip_rules != policy.ip_rules:
            present = replace(change, acls=vault.network.acls, public_access=vault.network.public_access)
            self.apply(vault, _with_rules(present, policy.ip_rules), POLICY, at)

    def _publish(self, vault: Vault, writer: Writer, trace: Trace) -> None:
        group, subject = event_place(vault)
        data = {
            "authorization": {"scope": subject, "action": WRITE, "evidence": _evidence(vault, writer)},
            "claims": _claims(vault, writer, trace),
            "correlationId": trace.correlation_id,
            "httpRequest": {
                "clientRequestId": trace.client_request_id or self.new_id(),
                "clientIpAddress": trace.client_ip,
                "method": "PATCH",
                "url": trace.url,
            },
            "resourceProvider": "Microsoft.KeyVault",
            "resourceUri": subject,
            "operationName": WRITE,
            "status": "Succeeded",
            "subscriptionId": vault.subscription_id,
            "tenantId": vault.tenant_id,
        }
        self._event_grid.publish(group, subject, WRITTEN, data, "resources")


def event_place(vault: Vault) -> tuple[str, str]:
    """Return topic and subject of a vault's resource events. The subject has ``resourcegroups``, as the vendor's."""
    group = f"/subscriptions/{vault.subscription_id}/resourceGroups/{vault.resource_group}"
    return group, vault.resource_id.replace("/resourceGroups/", "/resourcegroups/", 1)


def _with_rules(change: Change, ip_rules: tuple[str, ...]) -> Change:
    rules = [{"value": value} for value in ip_rules]
    return replace(change, acls={**(change.acls or acls_of("Allow", ())), "ipRules": rules})


def _url(vault: Vault) -> str:
    return f"https://{vault.cloud.manager_host}{event_place(vault)[1]}?api-version=2026-02-01"


def _evidence(vault: Vault, writer: Writer) -> dict[str, str]:
    """Return how the writer came by its right: the app by a role at the vault, others by one at the subscription."""
    at_vault = writer.role == ROLES[NETWORK_WRITER].title
    scope = vault.resource_id if at_vault else f"/subscriptions/{vault.subscription_id}"
    return {
        "role": writer.role,
        "roleAssignmentScope": scope,
        "roleAssignmentId": uuid5(NAMESPACE_URL, f"{scope}/{writer.object_id}").hex,
        "roleDefinitionId": uuid5(NAMESPACE_URL, writer.role).hex,
        "principalId": UUID(writer.object_id).hex,
        "principalType": "User" if writer.is_person else "ServicePrincipal",
    }


def _claims(vault: Vault, writer: Writer, trace: Trace) -> dict[str, str]:
    """Return the claims of the writer's token. Those of a person are personal data, as in the real event."""
    claims = {
        "aud": f"{vault.cloud.manager_audience}/",
        "iss": f"https://sts.windows.net/{vault.tenant_id}/",
        "appid": "c44b4083-3bb0-49c1-b47d-974e53cbdf3c" if writer.is_person else writer.object_id,
        f"{_CLAIM}/objectidentifier": writer.object_id,
        f"{_CLAIM}/tenantid": vault.tenant_id,
        "ver": "1.0",
    }
    if writer.is_person:
        first, _, last = writer.name.partition("@")[0].partition(".")
        claims |= {
            "ipaddr": trace.client_ip,
            "name": f"{first} {last}".strip().title(),
            f"{_PERSONAL}/upn": writer.name,
            f"{_PERSONAL}/givenname": first.title(),
            f"{_PERSONAL}/surname": last.title(),
        }
    return claims
