"""
Fresh looks at the firewalls of vaults, decided upon as a sync would: with what is remembered, and the hold.

A look takes no lease and writes nothing, neither to the vault nor to our records. Only a vault that is ours is looked
at: one that a project of the app uses, or in which rules are ours.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from keysteward.api import vault_answers, vault_views
from keysteward.api.look import Membership
from keysteward.clock import Clock
from keysteward.decide.firewall.given import FirewallInput, SyncRequest
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.errors import RequestError
from keysteward.network_facts import VaultNetworkFacts
from keysteward.observe.network import NetworkObserver, without_place
from keysteward.observe.permit import NoPermitNeeded
from keysteward.policy import Policy
from keysteward.reconcile.inputs import operator_hold
from keysteward.reconcile.vault_inputs import RememberedVault, firewall_input, recall_vault
from keysteward.store.records import FirewallRecord
from keysteward.store.state import State
from keysteward.vocabulary import VAULT_NAME, Scope, VaultPlace


@dataclass(frozen=True, slots=True)
class Vaults:
    """Looks at vaults. One per process; its methods may raise ``RequestError`` and ``StorageError``."""

    fleet: Membership
    observer: NetworkObserver
    state: State
    policy: Policy
    clock: Clock

    async def summaries(self) -> vault_answers.VaultList:
        """List every vault that a project of the app was seen to use, or in which rules are ours, from records."""
        members, records, vaults, holds = await asyncio.gather(
            self.fleet.members(), self.state.projects(), self.state.vaults(), self.state.holds("vault")
        )
        ours, users = set(members), defaultdict[str, list[str]](list)
        for record in records:
            if record.vault is not None and record.project_id in ours:
                users[record.vault].append(record.project_id)
        firewalls = {record.vault: record.firewall for record in vaults}
        left = {vault for vault, firewall in firewalls.items() if firewall.own_rules}
        now = self.clock.now()
        return vault_answers.VaultList(
            vaults=[
                vault_views.vault_summary(
                    vault,
                    users.get(vault, ()),
                    firewalls.get(vault) or FirewallRecord(),
                    operator_hold(holds.get(vault)),
                    now,
                )
                for vault in sorted(left.union(users))
            ]
        )

    async def look(self, vault: str) -> vault_answers.VaultView:
        """Observe a vault's firewall and everybody who needs it, and say what a sync would do now and why."""
        given = await self._given(await self.ours(vault))
        return vault_views.vault_view(given, decide_firewall(given))

    async def plan_sync(self, remembered: RememberedVault, *, allow_large_removal: bool) -> vault_answers.SyncDryRun:
        """Observe as a look does, and say what an operator's sync would do now."""
        request = SyncRequest("", self.clock.now(), allow_large_removal)
        given = await self._given(remembered, request)
        return vault_views.sync_dry_run(given, decide_firewall(given))

    async def ours(self, vault: str) -> RememberedVault:
        """
        Let only the name of a vault pass that is ours, and say what is remembered of it.

        Raises:
            RequestError: ``vaultNameMalformed`` (400), ``vaultNotFound`` (404).
        """
        if not VAULT_NAME.fullmatch(vault):
            raise RequestError("vaultNameMalformed", "A vault name is 3 to 24 letters, digits and hyphens.")
        found = await recall_vault(self.state, self.clock, Scope.vault(vault), await self.fleet.members())
        if not found.projects and not found.ledger:
            raise RequestError("vaultNotFound", "No project that Keysteward looks after was seen to use this vault.")
        return found

    async def _given(self, remembered: RememberedVault, request: SyncRequest | None = None) -> FirewallInput:
        facts, now = await self._observe(remembered), self.clock.now()
        discovers = self.fleet.discovers
        return firewall_input(facts, remembered, self.policy, now, discovers=discovers, request=request)

    async def _observe(self, remembered: RememberedVault) -> VaultNetworkFacts:
        if remembered.place is not None:
            return await self.observer.observe(remembered.place, remembered.projects, NoPermitNeeded())
        return without_place(remembered.projects, self.clock.now())


def place_of(remembered: RememberedVault) -> VaultPlace:
    """
    Say where a vault lies.

    Raises:
        RequestError: ``vaultPlaceUnknown`` (409): nothing can be done there before that is known.
    """
    if remembered.place is None:
        detail = "No project that was seen on the vault names its subscription and resource group well."
        raise RequestError("vaultPlaceUnknown", detail)
    return remembered.place
