"""
The composition root: settings in, a working app out. Built once per process, on first use.

Whoever runs the app elsewhere than in Azure (the history harness) builds it from other parts with ``compose``; nothing
inside knows the difference.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import httpx
from azure.identity.aio import ManagedIdentityCredential

from keysteward.act.create_version import KeyVersionCreator
from keysteward.act.push import KeyIdentifierPusher
from keysteward.act.write_firewall import FirewallWriter
from keysteward.api.calls import Api
from keysteward.api.claims import Claims
from keysteward.api.look import Lookout
from keysteward.api.vaults import Vaults
from keysteward.clients.atlas.auth import TOKEN_PATH, ServiceAccountAuth
from keysteward.clients.atlas.client import AtlasClient
from keysteward.clients.atlas.digest import ApiKeyAuth
from keysteward.clients.budget import Budgets
from keysteward.clients.key_vault import KeyVaultClient
from keysteward.clients.read_only import make_http
from keysteward.clients.resource_manager import ResourceManagerClient
from keysteward.clock import Clock, SystemClock
from keysteward.fleet import Fleet
from keysteward.foreign_writes import ForeignWrites
from keysteward.hints import Hints
from keysteward.logs import get_logger
from keysteward.messages import QUEUE, AccessHint, Hint, Message, ReconcileMessage, VaultHint, decode, encode
from keysteward.observe.keys import KeyReader
from keysteward.observe.network import NetworkObserver
from keysteward.observe.project import ProjectObserver
from keysteward.reconcile.firewall import FirewallReconciler
from keysteward.reconcile.firewall_memory import FirewallMemory
from keysteward.reconcile.firewall_trail import FirewallTrail
from keysteward.reconcile.project import ProjectReconciler
from keysteward.reconcile.runner import Reconciler, ScopeRunner
from keysteward.reconcile.vault import VaultReconciler
from keysteward.settings import ApiKey, Settings
from keysteward.store.audit import Audit
from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.idempotency import Idempotency
from keysteward.store.outbox import Outbox
from keysteward.store.ports import Tables, WorkQueue
from keysteward.store.records import AuditRecord
from keysteward.store.state import State
from keysteward.vocabulary import InvalidNameError, Scope
from keysteward.voice.cloud_event import event_source
from keysteward.voice.deliver import Deliverer
from keysteward.voice.targets import Target, open_targets
from keysteward.watch import KeyWatcher

log = get_logger("keysteward.app")


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything through which the app reaches the outside, its own storage included."""

    tables: Tables
    queue: WorkQueue
    atlas: httpx.AsyncClient
    """Signs in to Atlas."""
    key_vault: KeyVaultClient
    resource_manager: ResourceManagerClient
    targets: Sequence[Target] = ()
    """Who is told."""
    source: str = event_source(None)
    """Names this app in what it tells."""


@dataclass(frozen=True, slots=True)
class App:
    """Everything that the triggers call."""

    settings: Settings
    clock: Clock
    state: State
    audit: Audit
    outbox: Outbox
    queue: WorkQueue
    runner: ScopeRunner
    fleet: Fleet
    watcher: KeyWatcher
    api: Api

    async def handle_message(self, text: str, sent_at: datetime | None) -> str:
        """
        Work on one queue message; says in a word what became of it.

        A message that is not one of ours is logged and done with: a retry could not make it better.
        """
        try:
            message = decode(text)
        except InvalidNameError as error:
            log.warning("a queue message was dropped", extra={"why": str(error)})
            return "dropped"
        if isinstance(message, VaultHint | AccessHint):
            return await self._handle_hint(message, sent_at)
        if not await self.fleet.looks_after(message.scope):
            log.warning("a message for a scope that is not in the settings", extra={"scope": str(message.scope)})
            return "dropped"
        return await self.runner.handle(message, sent_at)

    async def _handle_hint(self, hint: Hint, sent_at: datetime | None) -> str:
        """Find the scopes that an event is about; the first is reconciled at once, the others by messages."""
        if isinstance(hint, VaultHint):
            await ForeignWrites(self.state, self.audit, self.outbox, self.clock).note(hint)
        messages = await Hints(self.state, self.fleet).scopes_of(hint)
        if not messages:
            return "nothingOfOurs"
        for message in messages[1:]:
            await self.queue.send(encode(message))
        return await self.runner.handle(messages[0], sent_at)

    async def take_alert(self, project_id: str) -> int:
        """Ask for what an alert of Atlas on a project tells to look at; says how many messages that took."""
        messages = await Hints(self.state, self.fleet).of_alert(project_id)
        for message in messages:
            await self.queue.send(encode(message))
        return len(messages)

    async def record_poisoned(self, text: str) -> None:
        """Record a message that failed too often. The next timer repairs what it was for."""
        try:
            message = decode(text)
            scope = _subject_of(message)
        except InvalidNameError:
            scope = "unreadable"
        now = self.clock.now()
        log.error("a message failed too often and was given up", extra={"scope": scope})
        await self.audit.add(
            AuditRecord(
                at=now,
                who="keysteward",
                what="messageGivenUp",
                scope=scope,
                reason="actionFailed",
                result="failed",
                evidence="every try of the queue message failed; the log of work says why",
            )
        )
        if scope == str(Scope.outbox()):
            # An announcement would ask for the very delivery that fails, without end.
            return
        once = f"{scope.replace(':', '-')}-poisoned-{int(now.timestamp() * 1000)}"
        await self.outbox.announce("ActionFailed", scope, now, once, {"what": "queue message given up"})


def _subject_of(message: Message) -> str:
    """What a message is about, as the trail and announcements name it."""
    match message:
        case VaultHint():
            return str(Scope.vault(message.vault))
        case AccessHint():
            # A place in Azure is no scope of ours.
            return str(Scope.vault(message.vault) if message.vault is not None else Scope.fleet())
        case ReconcileMessage():
            return str(message.scope)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the reconcilers and the API share."""

    settings: Settings
    outside: Outside
    clock: Clock
    random_hex: Callable[[int], str]
    atlas: AtlasClient
    observer: ProjectObserver
    network: NetworkObserver
    state: State
    audit: Audit
    outbox: Outbox
    fleet: Fleet

    @classmethod
    def of(
        cls, settings: Settings, outside: Outside, clock: Clock, random_hex: Callable[[int], str], keys: KeyReader
    ) -> _Parts:
        atlas, state = AtlasClient(outside.atlas, settings.atlas_base_url, Budgets(clock), clock), State(outside.tables)
        told = [target.id for target in outside.targets]
        return cls(
            settings=settings,
            outside=outside,
            clock=clock,
            random_hex=random_hex,
            atlas=atlas,
            observer=ProjectObserver(atlas, keys, clock),
            network=NetworkObserver(atlas, outside.resource_manager, clock),
            state=state,
            audit=Audit(outside.tables, random_hex),
            outbox=Outbox(outside.tables, outside.queue, told, dry_run=settings.dry_run),
            fleet=Fleet(settings.project_ids, outside.queue, state, atlas, clock),
        )


def compose(
    settings: Settings, outside: Outside, clock: Clock, *, random_hex: Callable[[int], str] = secrets.token_hex
) -> App:
    """Put the parts together. No part is made here that reaches the outside."""
    keys = KeyReader(outside.key_vault, outside.resource_manager)
    parts = _Parts.of(settings, outside, clock, random_hex, keys)
    reconcilers: dict[str, Reconciler] = {
        "project": _projects(parts),
        "vault": _vaults(parts),
        "fleet": parts.fleet,
        "outbox": Deliverer(parts.outbox, outside.targets, parts.audit, clock, outside.source),
    }
    return App(
        settings=settings,
        clock=clock,
        state=parts.state,
        audit=parts.audit,
        outbox=parts.outbox,
        queue=outside.queue,
        runner=ScopeRunner(outside.tables, outside.queue, clock, lambda: random_hex(16), reconcilers),
        fleet=parts.fleet,
        watcher=KeyWatcher(keys, parts.state, outside.queue, clock, parts.fleet.members),
        api=_api(parts),
    )


def _projects(parts: _Parts) -> ProjectReconciler:
    return ProjectReconciler(
        observer=parts.observer,
        pusher=KeyIdentifierPusher(parts.atlas, parts.observer, parts.clock),
        state=parts.state,
        audit=parts.audit,
        outbox=parts.outbox,
        queue=parts.outside.queue,
        clock=parts.clock,
        policy=parts.settings.policy,
        dry_run=parts.settings.dry_run,
        secret_for=parts.settings.azure_client_secrets.for_project,
        random_hex=parts.random_hex,
    )


def _vaults(parts: _Parts) -> VaultReconciler:
    firewalls = FirewallReconciler(
        observer=parts.network,
        writer=FirewallWriter(parts.outside.resource_manager, parts.clock, parts.random_hex),
        state=parts.state,
        memory=FirewallMemory(parts.state, parts.audit, parts.outbox),
        trail=FirewallTrail(parts.state, parts.audit, parts.outbox),
        clock=parts.clock,
        policy=parts.settings.policy,
        dry_run=parts.settings.dry_run,
        discovers=parts.fleet.discovers,
        members=parts.fleet.members,
    )
    return VaultReconciler(
        sync_firewall=firewalls,
        atlas=parts.atlas,
        key_vault=parts.outside.key_vault,
        creator=KeyVersionCreator(parts.outside.key_vault, parts.clock),
        state=parts.state,
        audit=parts.audit,
        outbox=parts.outbox,
        queue=parts.outside.queue,
        clock=parts.clock,
        policy=parts.settings.policy,
        dry_run=parts.settings.dry_run,
        members=parts.fleet.members,
    )


def _api(parts: _Parts) -> Api:
    outside, state, audit, clock, policy = parts.outside, parts.state, parts.audit, parts.clock, parts.settings.policy
    tables, queue, random_hex, dry_run = outside.tables, outside.queue, parts.random_hex, parts.settings.dry_run
    vaults = Vaults(parts.fleet, parts.network, state, policy, clock)
    return Api(
        Lookout(parts.fleet, parts.observer, state, policy, clock),
        vaults,
        Claims(vaults, outside.resource_manager, tables, state, audit, queue, clock, random_hex, dry_run),
        state,
        audit,
        queue,
        Idempotency(tables),
        clock,
        random_hex,
        dry_run,
    )


def sign_in(settings: Settings, clock: Clock) -> httpx.Auth:
    """Make what signs requests to Atlas in: as the service account, or with the API key."""
    credential = settings.atlas_credential
    if isinstance(credential, ApiKey):
        return ApiKeyAuth(credential.public_key, credential.private_key.reveal(), clock)
    return ServiceAccountAuth(settings.atlas_base_url, credential.client_id, credential.client_secret.reveal(), clock)


def build(settings: Settings) -> App:
    """Build the app that runs in Azure. Reaches nothing yet: every connection is made by its first use."""
    clock, dry_run = SystemClock(), settings.dry_run
    # The platform's own identity and nothing else: with a longer chain a stray variable would win over it.
    credential = ManagedIdentityCredential(client_id=settings.azure_client_id)
    budgets = Budgets(clock)
    token_url = settings.atlas_base_url + TOKEN_PATH
    outside = Outside(
        tables=open_tables(settings.storage),
        queue=open_queue(settings.storage, QUEUE),
        atlas=make_http(sign_in(settings, clock), read_only=dry_run, token_url=token_url),
        key_vault=KeyVaultClient(credential, budgets, read_only=dry_run),
        resource_manager=ResourceManagerClient(make_http(None, read_only=dry_run), credential, budgets, clock),
        targets=open_targets(settings.notify_targets, credential, clock),
        source=event_source(os.environ.get("WEBSITE_SITE_NAME")),
    )
    return compose(settings, outside, clock)
