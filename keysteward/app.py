"""
The composition root: settings in, a working app out. Built once per process, on first use.

Whoever runs the app elsewhere than in Azure (the history harness) builds it from other parts with ``compose``; nothing
inside knows the difference.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import httpx
from azure.identity.aio import ManagedIdentityCredential

from keysteward.act.push import KeyIdentifierPusher
from keysteward.api import Api
from keysteward.clients.atlas.auth import ServiceAccountAuth
from keysteward.clients.atlas.client import AtlasClient
from keysteward.clients.budget import Budgets
from keysteward.clients.key_vault import KeyVaultClient
from keysteward.clock import Clock, SystemClock
from keysteward.fleet import Fleet
from keysteward.limits import REQUEST_SECONDS
from keysteward.logs import get_logger
from keysteward.messages import QUEUE, ReconcileMessage, VaultHint, decode, encode
from keysteward.observe.project import ProjectObserver
from keysteward.reconcile.project import ProjectReconciler
from keysteward.reconcile.runner import ScopeRunner
from keysteward.settings import Settings
from keysteward.store.audit import Audit
from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.ports import Tables, WorkQueue
from keysteward.store.records import AuditRecord
from keysteward.store.state import State
from keysteward.vocabulary import InvalidNameError, Scope

log = get_logger("keysteward.app")


@dataclass(frozen=True, slots=True)
class App:
    """Everything that the triggers call."""

    settings: Settings
    clock: Clock
    state: State
    audit: Audit
    queue: WorkQueue
    runner: ScopeRunner
    fleet: Fleet
    api: Api

    @property
    def scopes(self) -> frozenset[Scope]:
        """Every scope that this app looks after."""
        return frozenset({Scope.fleet(), *map(Scope.project, self.settings.project_ids)})

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
        if isinstance(message, VaultHint):
            return await self._handle_hint(message, sent_at)
        if message.scope not in self.scopes:
            log.warning("a message for a scope that is not in the settings", extra={"scope": str(message.scope)})
            return "dropped"
        return await self.runner.handle(message, sent_at)

    async def _handle_hint(self, hint: VaultHint, sent_at: datetime | None) -> str:
        """Find the projects that a vault's event is about; the first is reconciled at once, the others by messages."""
        users = await self.state.projects_using(hint.vault)
        keys = {p: key for p, key in users.items() if p in self.settings.project_ids}
        ours = [p for p, key in keys.items() if hint.key is None or key == hint.key.lower()]
        messages = [ReconcileMessage(Scope.project(p), hint.because, hinted=True) for p in ours]
        if not messages:
            if keys and not await self._somebody_is_unseen():
                return "nobodyUsesIt"
            return await self.runner.handle(ReconcileMessage(Scope.fleet(), hint.because, hinted=True), sent_at)
        for message in messages[1:]:
            await self.queue.send(encode(message))
        return await self.runner.handle(messages[0], sent_at)

    async def _somebody_is_unseen(self) -> bool:
        """Whether a project of the settings was never looked at, so that nobody can say which key it uses."""
        return bool(set(self.settings.project_ids) - {record.project_id for record in await self.state.projects()})

    async def record_poisoned(self, text: str) -> None:
        """Record a message that failed too often. The next timer repairs what it was for."""
        try:
            message = decode(text)
            scope = f"vault:{message.vault}" if isinstance(message, VaultHint) else str(message.scope)
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
        once = f"{scope.replace(':', '-')}-poisoned-{int(now.timestamp() * 1000)}"
        await self.state.announce("ActionFailed", scope, now, once, {"what": "queue message given up"})


def compose(
    settings: Settings,
    tables: Tables,
    queue: WorkQueue,
    clock: Clock,
    http: httpx.AsyncClient,
    key_vault: KeyVaultClient,
    *,
    random_hex: Callable[[int], str] = secrets.token_hex,
) -> App:
    """Put the parts together. No part is made here that reaches the outside."""
    budgets = Budgets(clock)
    atlas = AtlasClient(http, settings.atlas_base_url, budgets, clock)
    state, audit = State(tables), Audit(tables, random_hex)
    observer = ProjectObserver(atlas, key_vault, clock)
    reconciler = ProjectReconciler(
        observer=observer,
        pusher=KeyIdentifierPusher(atlas, observer, clock),
        state=state,
        audit=audit,
        clock=clock,
        policy=settings.policy,
        dry_run=settings.dry_run,
        secret_for=settings.azure_client_secrets.for_project,
        random_hex=random_hex,
    )
    fleet = Fleet(settings.project_ids, queue)
    runner = ScopeRunner(tables, queue, clock, lambda: random_hex(16), {"project": reconciler, "fleet": fleet})
    api = Api(settings, observer, state, audit, queue, clock, random_hex)
    return App(settings, clock, state, audit, queue, runner, fleet, api)


def build(settings: Settings) -> App:
    """Build the app that runs in Azure. Reaches nothing yet: every connection is made by its first use."""
    clock = SystemClock()
    account = settings.service_account
    auth = ServiceAccountAuth(settings.atlas_base_url, account.client_id, account.client_secret.reveal(), clock)
    http = httpx.AsyncClient(
        auth=auth,
        timeout=httpx.Timeout(REQUEST_SECONDS, connect=10, pool=10),
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=20),
        headers={"User-Agent": "keysteward"},
    )
    # The platform's own identity and nothing else: with a longer chain a stray variable would win over it.
    credential = ManagedIdentityCredential(client_id=settings.azure_client_id)
    key_vault = KeyVaultClient(credential, Budgets(clock))
    return compose(settings, open_tables(settings.storage), open_queue(settings.storage, QUEUE), clock, http, key_vault)
