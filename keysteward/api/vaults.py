"""
Fresh looks at the firewalls of vaults, decided upon as a sync would: with what is remembered, and the hold.

A look takes no lease and writes nothing, neither to the vault nor to our records. Only a vault that is ours is looked
at: one that a project of the app uses, or in which rules are ours.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from keysteward.api import answers, vault_views
from keysteward.api.look import Membership
from keysteward.clock import Clock
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.errors import RequestError
from keysteward.facts import Unknown
from keysteward.network_facts import NOT_ASKED, ProjectAddresses, VaultNetworkFacts
from keysteward.observe.network import NetworkObserver
from keysteward.observe.permit import NoPermitNeeded
from keysteward.policy import Policy
from keysteward.reconcile.inputs import operator_hold
from keysteward.reconcile.vault_inputs import RememberedVault, firewall_input, recall_vault
from keysteward.store.state import State
from keysteward.vocabulary import VAULT_NAME, Scope


@dataclass(frozen=True, slots=True)
class Vaults:
    """Looks at vaults. One per process; its methods may raise ``RequestError`` and ``StorageError``."""

    fleet: Membership
    observer: NetworkObserver
    state: State
    policy: Policy
    clock: Clock

    async def summaries(self) -> answers.VaultList:
        """List every vault that a project of the app was seen to use, from records."""
        members, records, holds = await asyncio.gather(
            self.fleet.members(), self.state.projects(), self.state.holds("vault")
        )
        ours, users = set(members), defaultdict[str, list[str]](list)
        for record in records:
            if record.vault is not None and record.project_id in ours:
                users[record.vault].append(record.project_id)
        now = self.clock.now()
        return answers.VaultList(
            vaults=[
                vault_views.vault_summary(vault, users[vault], operator_hold(holds.get(vault)), now)
                for vault in sorted(users)
            ]
        )

    async def look(self, vault: str) -> answers.VaultView:
        """Observe a vault's firewall and everybody who needs it, and say what a sync would do now and why."""
        remembered = await self._ours(vault)
        facts = await self._observe(remembered)
        given = firewall_input(facts, remembered, self.policy, self.clock.now(), discovers=self.fleet.discovers)
        return vault_views.vault_view(given, decide_firewall(given))

    async def _ours(self, vault: str) -> RememberedVault:
        if not VAULT_NAME.fullmatch(vault):
            raise RequestError("vaultNameMalformed", "A vault name is 3 to 24 letters, digits and hyphens.")
        found = await recall_vault(self.state, Scope.vault(vault), await self.fleet.members())
        if not found.projects and not found.ledger:
            raise RequestError("vaultNotFound", "No project that Keysteward looks after was seen to use this vault.")
        return found

    async def _observe(self, remembered: RememberedVault) -> VaultNetworkFacts:
        if remembered.place is not None:
            return await self.observer.observe(remembered.place, remembered.projects, NoPermitNeeded())
        why = "no project that was seen on the vault names its subscription and resource group well"
        projects = [ProjectAddresses(p.project_id, None, p.why, NOT_ASKED, NOT_ASKED) for p in remembered.projects]
        return VaultNetworkFacts(self.clock.now(), Unknown("vaultPlaceUnknown", why), projects, NOT_ASKED)
