"""
Write a vault's IP rules: the one place that changes anything in Resource Manager.

The API replaces the list whole and knows no condition, so whatever another writer changes between our read and our
write is lost. Hence the list is computed anew from a read, and goes out within two seconds of it, or not at all. The
intent is written before, so that a crash leaves a trace. The list is read again after: what an answer shows, somebody
else may have undone in the same moment.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from keysteward.act.push import StopButton
from keysteward.clients.resource_manager import NetworkWrite
from keysteward.clock import Clock
from keysteward.errors import AnswerLostError, RefusedError, TryLaterError
from keysteward.facts import Fact, Unknown
from keysteward.limits import FRESH_SECONDS
from keysteward.network_facts import NetworkAcl
from keysteward.observe.known import known
from keysteward.store.lease import Lease
from keysteward.vocabulary import VaultPlace

MOST_READS = 3


class NetworkWrites(Protocol):
    """Resource Manager, as ``ResourceManagerClient`` reads and changes it."""

    async def vault_network(self, place: VaultPlace) -> NetworkAcl: ...
    async def write_network_acls(
        self, place: VaultPlace, raw: Mapping[str, Any], correlation_id: str
    ) -> NetworkWrite: ...


@dataclass(frozen=True, slots=True)
class FirewallIntent:
    """
    What is about to be sent, and what it rests on.

    ``correlation_id`` is offered to Azure's trail: an event that carries it is of our own write.
    """

    before: NetworkAcl
    rules: tuple[str, ...]
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Written:
    """
    The list was sent.

    ``answer``: the firewall as the answer shows it; Unknown where the answer was lost, so that nobody knows whether
    and when the list is written. ``after``: as read again. ``correlation_ids``: what was offered to Azure's trail, and
    what the answer named where that is another.
    """

    before: NetworkAcl
    sent: tuple[str, ...]
    answer: Fact[NetworkAcl]
    after: Fact[NetworkAcl]
    correlation_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NothingToWrite:
    """The firewall, as read just now, is as it should be, or must not be written to any more. Nothing was sent."""

    acl: NetworkAcl


@dataclass(frozen=True, slots=True)
class NotWritten:
    """
    Nothing was written.

    ``permanent``: Resource Manager refused, and somebody has to act first. ``changed``: an operator stopped it.
    """

    code: str
    message: str
    permanent: bool = False
    changed: bool = False
    retry_after_seconds: float | None = None


class FirewallWriter:
    """Writes under a lease of the vault. One per process. *random_hex* makes that many bytes, as hexadecimal digits."""

    def __init__(self, resource_manager: NetworkWrites, clock: Clock, random_hex: Callable[[int], str]) -> None:
        self._resource_manager = resource_manager
        self._clock = clock
        self._random_hex = random_hex

    async def write(
        self,
        place: VaultPlace,
        *,
        plan_again: Callable[[NetworkAcl], Sequence[str] | None],
        lease: Lease,
        stop_button: StopButton,
        intend: Callable[[FirewallIntent], Awaitable[None]],
        answered: Callable[[NetworkAcl], Awaitable[None]],
    ) -> Written | NothingToWrite | NotWritten:
        """
        Send the list that *plan_again* makes of the firewall as it is now. At most one request changes something.

        A list that did not last is the next run's business: here nothing is tried twice.

        Args:
            place: of the vault.
            plan_again: pure; from a firewall just read to the whole list of rules, or None where nothing is to be
                written. Asked anew for every read.
            lease: of the vault; proven before anything is intended.
            stop_button: found released at most two seconds before the request.
            intend: writes the intent and the record that the next run starts from. Called again, up to three times in
                all, where the firewall has changed since: the intent before is then void.
            answered: keeps what the answer makes ours. Called at once, before anything that may fail or take long.

        Raises:
            LeaseLostError: another instance has the vault now.
            ValueError: the plan gives rules to a vault that has none, and would begin to filter by them.
        """
        await lease.renew()
        correlation_id = str(uuid.UUID(hex=self._random_hex(16), version=4))
        intended: FirewallIntent | None = None
        for _ in range(MOST_READS):
            intent = await self._look(place, plan_again, lease, stop_button, correlation_id)
            if not isinstance(intent, FirewallIntent):
                return intent
            if intended is None or not _same(intent, intended):
                await intend(intent)
                intended = intent
            await lease.ensure()
            if self._is_fresh(intent.before.read_at) and self._is_fresh(stop_button.read_at):
                return await self._send(place, intent, lease, answered)
        message = f"what the write rests on took longer than {FRESH_SECONDS} s to read and to record, three times"
        return NotWritten("readsTooSlow", message)

    async def _look(
        self,
        place: VaultPlace,
        plan_again: Callable[[NetworkAcl], Sequence[str] | None],
        lease: Lease,
        stop_button: StopButton,
        correlation_id: str,
    ) -> FirewallIntent | NothingToWrite | NotWritten:
        """Read the firewall, and the stop button beside it, and plan on what is there now."""
        await lease.ensure()
        acl, pressed = await asyncio.gather(
            known(self._resource_manager.vault_network(place)), self._is_pressed(stop_button)
        )
        if pressed:
            return NotWritten("heldByOperator", "an operator stopped the firewall's sync here", changed=True)
        if isinstance(acl, Unknown):
            # A read that is refused is no refusal of the write: whoever reads next says what is to be mended.
            return NotWritten(acl.code, acl.why, retry_after_seconds=acl.retry_after_seconds)
        rules = plan_again(acl)
        if rules is None or sorted(rules) == sorted(acl.ip_rules):
            return NothingToWrite(acl)
        if acl.raw is None:
            raise ValueError("rules are written only to a vault that has network rules: it would begin to filter")
        return FirewallIntent(acl, tuple(rules), correlation_id)

    async def _is_pressed(self, stop_button: StopButton) -> bool:
        # Well before it is too old: the intent has yet to be written, and a second round costs a request.
        recent = self._clock.now() - stop_button.read_at <= timedelta(seconds=FRESH_SECONDS / 2)
        return not recent and await stop_button.is_pressed()

    def _is_fresh(self, read_at: datetime) -> bool:
        return self._clock.now() - read_at <= timedelta(seconds=FRESH_SECONDS)

    async def _send(
        self,
        place: VaultPlace,
        intent: FirewallIntent,
        lease: Lease,
        answered: Callable[[NetworkAcl], Awaitable[None]],
    ) -> Written | NotWritten:
        raw, offered = _with_rules(intent.before, intent.rules), intent.correlation_id
        try:
            write = await self._resource_manager.write_network_acls(place, raw, offered)
        except RefusedError as error:
            return NotWritten(error.code, error.message, permanent=True)
        except AnswerLostError as error:
            answer: Fact[NetworkAcl] = Unknown(error.code, error.message, error.retry_after_seconds)
            named = offered
        except TryLaterError as error:
            return NotWritten(error.code, error.message, retry_after_seconds=error.retry_after_seconds)
        else:
            answer, named = write.acl, write.correlation_id
            await answered(write.acl)
        await lease.ensure()
        after = await known(self._resource_manager.vault_network(place))
        return Written(intent.before, intent.rules, answer, after, tuple(dict.fromkeys((offered, named))))


def _with_rules(acl: NetworkAcl, rules: Sequence[str]) -> dict[str, Any]:
    """``networkAcls`` as read, with only ``ipRules`` changed; rules that stay go back as they were read."""
    assert acl.raw is not None, "refused before it was intended"
    as_read = dict(zip(acl.ip_rules, acl.raw.get("ipRules") or (), strict=True))
    return {**acl.raw, "ipRules": [as_read.get(rule, {"value": rule}) for rule in rules]}


def _same(one: FirewallIntent, other: FirewallIntent) -> bool:
    return (one.before.raw, one.rules) == (other.before.raw, other.rules)
