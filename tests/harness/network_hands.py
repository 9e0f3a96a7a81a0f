"""The hands of the steps that are about firewalls. No step judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.harness.hands import WHO
from tests.harness.instances import settings_of

if TYPE_CHECKING:
    from tests.harness.player import Played

MOST_CLAIMED = 3


class NetworkHands:
    """Every public method is a step, and says in a sentence what it did."""

    played: Played
    _ask: Any

    # Steps: Atlas.

    def scale_cluster(self, project: int, which: int, to_nvme: bool) -> str:
        return self.played.networks.scale(project, which, to_nvme=to_nvme)

    def shard_cluster(self, project: int, which: int) -> str:
        return self.played.networks.shard(project, which)

    def move_cluster(self, project: int, which: int) -> str:
        return self.played.networks.move(project, which)

    def create_cluster(self, project: int, sharded: bool) -> str:
        return self.played.networks.create(project, sharded=sharded)

    def restart_cluster(self, project: int, which: int) -> str:
        return self.played.networks.restart(project, which)

    def grow_control_plane(self, texts: tuple[str, ...] | None) -> str:
        return self.played.networks.grow_control_plane(texts)

    def shrink_control_plane(self, which: int) -> str:
        return self.played.networks.shrink_control_plane(which)

    def show_control_plane(self, what: str) -> str:
        return self.played.networks.show_control_plane(what)

    def list_addresses(self, project: int, which: int, listed: bool) -> str:
        return self.played.networks.list_addresses(project, which, listed=listed)

    def change_vault(self, project: int) -> str:
        return self.played.networks.change_vault(project)

    # Steps: the vaults, and who else writes their rules.

    def others_write(self, vault: int, what: str, which: int, after_seconds: float) -> str:
        return self.played.networks.write(vault, what, which, after_seconds)

    def lie_in_wait(self, vault: int, what: str, which: int, skip: int) -> str:
        return self.played.networks.lie_in_wait(vault, what, which, skip)

    def revert_rules(self, vault: int, after_seconds: float | None) -> str:
        return self.played.networks.revert(vault, after_seconds)

    def stop_reverting_rules(self, vault: int) -> str:
        return self.played.networks.stop_reverting(vault)

    def set_default_action(self, vault: int, action: str) -> str:
        return self.played.networks.set_default_action(vault, action)

    def set_public_access(self, vault: int, access: str) -> str:
        return self.played.networks.set_public_access(vault, access)

    def clear_network(self, vault: int) -> str:
        return self.played.networks.clear(vault)

    def forbid_writes(self, vault: int, what: str) -> str:
        return self.played.networks.forbid(vault, what)

    # Steps: operators, the timer, the settings.

    def sync(self, vault: int, allow_large_removal: bool) -> str:
        name = self.played.networks.owner(vault).state.name.lower()
        self._ask(
            "sync",
            lambda process: process.app.api.sync(
                name, "an operator wants it", WHO, allow_large_removal=allow_large_removal, dry_run=False
            ),
        )
        return f"an operator asks for a sync of {name}{', large removals too' if allow_large_removal else ''}"

    def claim(self, vault: int, which: int) -> str:
        """An operator makes some of the rules ours that stand there now."""
        state = self.played.networks.owner(vault).state
        rules = state.network.ip_rules
        if not rules:
            return f"{state.name} has no rules to claim"
        first = which % len(rules)
        values, name = rules[first : first + MOST_CLAIMED], state.name.lower()
        self._ask("claim", lambda process: process.app.api.claims.claim(name, values, "these are ours", WHO))
        return f"an operator claims {', '.join(values)} of {name}"

    def sync_firewalls(self) -> str:
        self.played.host.call("timer", "sync_firewalls", lambda process: process.app.fleet.fan_out_vaults())
        return "the timer of firewalls fires"

    def name_in_settings(self, project: int, named: bool) -> str:
        """The app is deployed with other settings: every instance starts anew."""
        played = self.played
        project_id, out = played.world.project(project).id, played.networks.out_of_settings
        if named:
            out.discard(project_id)
        elif len(out) + 1 < len(played.world.project_ids):
            out.add(project_id)
        left = tuple(p for p in played.world.project_ids if p not in out)
        played.world.once_hidden.update(out)
        played.instances.use(settings_of(played.history, left))
        for process in tuple(played.instances.alive):
            played.gates.kill(process)
        return f"the settings now name {', '.join(p[-2:] for p in left)}"
