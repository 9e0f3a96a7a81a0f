"""What Atlas does by itself: the check of the key every 15 minutes, and the alerts that come and go."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from simulator.atlas.state import KEY_INVALID, KEY_TOO_OLD, NETWORK_DENIED, Alert, Project, ProjectEvent
from simulator.key_vault.for_atlas import Finding

if TYPE_CHECKING:
    from random import Random

    from simulator.agenda import Agenda
    from simulator.key_vault.service import KeyVault

CHECK_EVERY = timedelta(minutes=15)
OLDEST_KEY = timedelta(days=90)
ALERTS_EVERY = timedelta(seconds=60)
"""An alert whose cause has gone is closed at the next whole minute. Unverified: how soon it really is."""


class Upkeep:
    """Checks and alerts of all projects. Vaults bring the cloud up to date before they change, so a check is exact."""

    def __init__(self, agenda: Agenda, random: Random, key_vault: KeyVault) -> None:
        self.oldest_key = OLDEST_KEY
        self._agenda = agenda
        self._random = random
        self._key_vault = key_vault

    def begin(self, project: Project, now: datetime) -> None:
        """Start the regular checks of a new project."""
        self._agenda.add(now + CHECK_EVERY, lambda at: self._check_regularly(project, at))

    def check(self, project: Project, now: datetime) -> None:
        """
        Look whether Atlas can use the project's key, as the regular check and a GET do.

        A vault that cannot be reached proves nothing: ``valid`` stays, and an alert opens.
        """
        identifier = project.key_identifier
        if identifier is None:
            return
        finding = self._key_vault.can_use(identifier)
        self._settle(project, NETWORK_DENIED, now, wanted=finding is Finding.UNREACHABLE)
        if finding is Finding.UNREACHABLE:
            return
        valid = finding is Finding.USABLE
        if valid != project.valid:
            project.valid = valid
            project.shut_down = not valid
            self.note(project, "AZURE_ENCRYPTION_KEY_VALID" if valid else KEY_INVALID, now)
        self._settle(project, KEY_INVALID, now, wanted=not valid)

    def identifier_changed(self, project: Project, since: datetime, now: datetime) -> None:
        """Start the age of a new identifier at *since*, and let the alert about the old one end."""
        project.identifier_since = since
        minute = now.replace(second=0, microsecond=0) + ALERTS_EVERY
        self._agenda.add(minute, lambda at: self._settle_age(project, at))
        self._agenda.add(max(now, since + self.oldest_key), lambda at: self._settle_age(project, at))

    def note(self, project: Project, event_type: str, at: datetime, cluster: str | None = None) -> None:
        """Write an event into the project's activity feed."""
        project.events.append(ProjectEvent(self._random.randbytes(12).hex(), event_type, at, cluster))

    def _check_regularly(self, project: Project, at: datetime) -> None:
        # Whoever changes a vault catches up first, so after a long skip only the first check can find anything
        # new. The rest are cheap enough to make one by one (96 a day).
        self.check(project, at)
        self._agenda.add(at + CHECK_EVERY, lambda later: self._check_regularly(project, later))

    def _settle_age(self, project: Project, at: datetime) -> None:
        since = project.identifier_since
        self._settle(project, KEY_TOO_OLD, at, wanted=since is not None and at - since >= self.oldest_key)

    def _settle(self, project: Project, event_type: str, at: datetime, *, wanted: bool) -> None:
        alert = project.open_alert(event_type)
        if wanted and alert is None:
            ids = self._random.randbytes(12).hex(), self._random.randbytes(12).hex()
            project.alerts.append(Alert(*ids, event_type, "OPEN", at, at))
            if event_type != KEY_INVALID:
                self.note(project, event_type, at)
        elif alert is not None and not wanted:
            alert.status = "CLOSED"
            alert.updated_at = alert.resolved_at = at
