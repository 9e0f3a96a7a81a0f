"""From the environment to ``Settings``. Pure: whoever calls it hands in the environment and a way to read a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keysteward.policy import Policy, parse_policy
from keysteward.problem import Problem
from keysteward.settings import table
from keysteward.settings.credentials import AtlasCredential, read_atlas_credential
from keysteward.settings.documents import AzureClientSecrets, NotifyTarget
from keysteward.settings.setting import Fault, Reader
from keysteward.store.connection import StorageConnection, parse_storage_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from keysteward.cron import Schedule
    from keysteward.secret import Secret
    from keysteward.settings.values import Auth

_NAMES = [setting.name for setting in table.SETTINGS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, read and found good. Secrets are ``Secret``; nothing here prints one."""

    project_ids: tuple[str, ...]
    """In the order written; each once."""
    atlas_credential: AtlasCredential
    atlas_base_url: str
    """https, host and port, without a slash at the end."""
    azure_client_secrets: AzureClientSecrets
    storage: StorageConnection
    azure_client_id: str | None
    policy: Policy
    auth: Auth
    dry_run: bool
    notify_targets: tuple[NotifyTarget, ...]
    secret_expiry: Mapping[str, date]
    """End dates by ``atlasServiceAccount`` or ``azureApplication:<client id>``."""
    atlas_webhook_secret: Secret | None
    reconcile_schedule: Schedule
    firewall_schedule: Schedule
    watch_schedule: Schedule
    daily_schedule: Schedule

    @property
    def reconcile_period_seconds(self) -> int:
        """The longest time between two runs of ``reconcile_projects``."""
        return self.reconcile_schedule.period_seconds


def parse_settings(environment: Mapping[str, str], read_file: Callable[[str], str]) -> Settings | tuple[Problem, ...]:
    """
    Read every setting.

    Args:
        environment: the app settings; others in it are left alone.
        read_file: gives the text of a file beside ``host.json``, by its bare name (UTF-8; a byte order mark is
            taken off by the reader: ``utf-8-sig``). Its ``OSError`` and ``ValueError`` become problems.

    Returns:
        The settings, or every problem at once. No problem quotes a value, so each may be logged; on an open route show
        ``Problem.public``.
    """
    reader = Reader(environment)
    reader.refuse_unresolved(table.SETTINGS)
    reader.refuse_misspelt_names(_NAMES)
    settings = _read(reader, environment, read_file)
    return tuple(sorted(reader.problems, key=_table_order)) or settings


def _table_order(problem: Problem) -> int:
    return _NAMES.index(problem.name)


def _read(reader: Reader, environment: Mapping[str, str], read_file: Callable[[str], str]) -> Settings:
    return Settings(
        project_ids=reader.take(table.PROJECT_IDS),
        atlas_credential=read_atlas_credential(reader),
        atlas_base_url=reader.take(table.BASE_URL),
        azure_client_secrets=reader.take_optional(table.AZURE_CLIENT_SECRET) or AzureClientSecrets(),
        storage=_storage(reader, environment),
        azure_client_id=reader.take_optional(table.IDENTITY),
        policy=_policy(reader, read_file),
        auth=reader.take(table.AUTH),
        dry_run=reader.take(table.DRY_RUN),
        notify_targets=reader.take(table.NOTIFY),
        secret_expiry=reader.take(table.SECRET_EXPIRY),
        atlas_webhook_secret=reader.take_optional(table.WEBHOOK_SECRET),
        reconcile_schedule=reader.take(table.RECONCILE_SCHEDULE),
        firewall_schedule=reader.take(table.FIREWALL_SCHEDULE),
        watch_schedule=reader.take(table.WATCH_SCHEDULE),
        daily_schedule=reader.take(table.DAILY_SCHEDULE),
    )


def _storage(reader: Reader, environment: Mapping[str, str]) -> StorageConnection:
    connection = parse_storage_connection(environment)
    if isinstance(connection, StorageConnection):
        return connection
    known = {problem.name for problem in reader.problems}
    reader.problems.extend(Problem(*problem) for problem in connection if problem.name not in known)
    return StorageConnection("", "", None)


def _policy(reader: Reader, read_file: Callable[[str], str]) -> Policy:
    source = reader.take(table.POLICY)
    try:
        text = source if source.startswith("{") else read_file(source)
    except FileNotFoundError:
        reader.add(table.POLICY, Fault("names a file that is not there beside host.json"))
        return Policy()
    except (OSError, ValueError):
        reader.add(table.POLICY, Fault("names a file that cannot be read as text in UTF-8"))
        return Policy()
    policy = parse_policy(text)
    if isinstance(policy, Policy):
        return policy
    reader.problems.extend(policy)
    return Policy()
