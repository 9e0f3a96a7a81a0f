"""
Who else writes a vault's network rules: its owner, other tools, and a policy that puts the rules back.

Tools send what the vendor's own clients send, past faults and rate limits, and the record names them as the sender.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from simulator.key_vault.network import OWNER, network_of
from simulator.resource_manager.changes import MOST_IP_RULES, Change, acls_of, change_of
from simulator.resource_manager.errors import CONTENT_TYPE
from simulator.resource_manager.service import VAULT
from simulator.resource_manager.views import vault_view
from simulator.resource_manager.writes import Reverting, Trace, writer_of
from simulator.routing import Rule
from simulator.wire import Refused, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from simulator.atlas.service import Atlas
    from simulator.key_vault.state import Vault
    from simulator.resource_manager.writes import VaultWrites

    type Report = Callable[[datetime, str, str, Request, Response, str | None, bool], None]
    """Records a request: time, service, route, request, answer, error code, whether it changed anything."""

API_VERSION = "2026-02-01"
RULES = (
    Rule(
        "A tool reads the vault's rules and, at once or after a while, sends the whole list with its own change: what "
        "others wrote in between is lost.",
        "public code of the azurerm provider and of the Azure CLI",
    ),
    Rule(
        "A policy reverts a vault's rules some time after each write, or within the same good answer.", "public issues"
    ),
    Rule("Its own write raises an event too where it comes later.", "unverified"),
)


class VaultWriters:
    """The other hands on every vault's network. Their times stand in Atlas's agenda."""

    def __init__(self, atlas: Atlas, writes: VaultWrites, report: Report) -> None:
        self._atlas = atlas
        self._writes = writes
        self._report = report

    def set_network(
        self,
        vault: str,
        *,
        default_action: str | None = None,
        public_access: str | None = None,
        ip_rules: Iterable[str] | None = None,
        bypass: str | None = None,
        subnets: Iterable[str] | None = None,
        by: str = OWNER,
    ) -> None:
        """
        Set members of a vault's network as its owner would; what is None stays.

        The rules' texts are kept as given, however odd: an older version of the service may have let them in.

        Raises:
            ValueError: a rule is no IPv4 address or range, or a member has a value that it never has.
        """
        state, now = self._caught_up(vault)
        present = state.network.acls or acls_of("Allow", ())
        rules = state.network.ip_rules if ip_rules is None else tuple(dict.fromkeys(ip_rules))
        linked = [rule["id"] for rule in present["virtualNetworkRules"]] if subnets is None else subnets
        acls = acls_of(
            _one_of(default_action or present["defaultAction"], ("Allow", "Deny")),
            _checked(rules),
            _one_of(bypass or present["bypass"], ("AzureServices", "None")),
            tuple(linked),
        )
        change = Change(acls, public_access or state.network.public_access, state.tags)
        self._writes.apply(state, change, writer_of(by), now)

    def clear_network(self, vault: str, *, by: str = OWNER) -> None:
        """Leave a vault as one that never had rules: no ``networkAcls``, public access on."""
        state, now = self._caught_up(vault)
        self._writes.apply(state, Change(None, "Enabled", state.tags), writer_of(by), now)

    def write(
        self,
        vault: str,
        *,
        by: str,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        ip_rules: Iterable[str] | None = None,
        after_seconds: float = 0.0,
    ) -> None:
        """
        Let another tool change the rules by a whole list that it reads now and sends after *after_seconds*.

        Args:
            vault: its name.
            by: a person's name (with an ``@``) or a tool's; the record's sender.
            add: texts that it adds to what it reads.
            remove: texts that it takes out of what it reads.
            ip_rules: the list that it works from, in place of what it reads (a stale one, for example).
            after_seconds: simulated time between its read and its write.

        Raises:
            Refused: the write is made at once, and Resource Manager refuses it.
        """
        state, now = self._caught_up(vault)
        read = state.network.ip_rules if ip_rules is None else tuple(ip_rules)
        gone = frozenset(remove)
        wanted = tuple(dict.fromkeys((*(text for text in read if text not in gone), *add)))
        if not after_seconds:
            self._send(state, wanted, by, now)
            return
        due = now + timedelta(seconds=after_seconds)
        self._atlas.agenda.add(due, lambda at: self._send_late(state, wanted, by, at))

    def revert(self, vault: str, *, after_seconds: float | None, ip_rules: Iterable[str] | None = None) -> None:
        """
        Let a policy put the rules back after each write by anybody else.

        Args:
            vault: its name.
            after_seconds: how long after each write; None: within the same good answer.
            ip_rules: the rules that it wants; those of now by default.
        """
        state, _ = self._caught_up(vault)
        wanted = state.network.ip_rules if ip_rules is None else _checked(tuple(ip_rules))
        after = None if after_seconds is None else timedelta(seconds=after_seconds)
        self._writes.reverting[state.host] = Reverting(wanted, after)

    def stop_reverting(self, vault: str) -> None:
        """Take the policy away; nothing where there is none. What it has begun it does not finish."""
        state, _ = self._caught_up(vault)
        self._writes.reverting.pop(state.host, None)

    def _caught_up(self, vault: str) -> tuple[Vault, datetime]:
        now = self._atlas.now()
        self._atlas.catch_up(now)
        return self._atlas.key_vault.vault(vault).state, now

    def _send_late(self, vault: Vault, ip_rules: Sequence[str], by: str, at: datetime) -> None:
        # Nobody waits for this answer: a refusal stands in the record.
        try:
            self._send(vault, ip_rules, by, at)
        except Refused:
            return

    def _send(self, vault: Vault, ip_rules: Sequence[str], by: str, at: datetime) -> None:
        # Terraform's document of the other members is its own; what is shown now stands for that.
        acls = vault.network.acls or acls_of("Allow", ())
        body = {"properties": {"networkAcls": {**acls, "ipRules": [{"value": text} for text in ip_rules]}}}
        correlation_id, writer = self._writes.new_id(), writer_of(by)
        request = _request(vault, body, by)
        try:
            change = change_of(vault, body)
        except Refused as refused:
            self._report(at, "resourceManager", VAULT, request, refused.response, refused.code, False)
            raise
        url = f"https://{request.host}{request.path}?api-version={API_VERSION}"
        self._writes.apply(vault, change, writer, at, Trace(correlation_id, None, request.client_ip, url))
        answer = json_response(
            200, vault_view(vault), {"x-ms-correlation-request-id": correlation_id}, content_type=CONTENT_TYPE
        )
        self._report(at, "resourceManager", VAULT, request, answer, None, True)


def _request(vault: Vault, body: object, by: str) -> Request:
    headers = {"accept": "application/json", "content-type": "application/json", "user-agent": by}
    query, data = {"api-version": [API_VERSION]}, msgspec.json.encode(body)
    return Request("PATCH", vault.cloud.manager_host, vault.resource_id, query, headers, data, "198.51.100.77", by)


def _checked(ip_rules: tuple[str, ...]) -> tuple[str, ...]:
    if len(ip_rules) > MOST_IP_RULES:
        raise ValueError(f"a vault has {MOST_IP_RULES} rules at most, got {len(ip_rules)}")
    for text in ip_rules:
        network_of(text, strict=False)
    return ip_rules


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"one of {', '.join(known)}, got {value!r}")
    return value
