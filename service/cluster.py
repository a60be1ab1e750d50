"""The distributed log as the settings describe it. Imported in this mode only: it needs the package nats-py."""

import os
from typing import TYPE_CHECKING

from events.folder import DataFolder
from events.log import EventLog
from service.settings import Settings, WrongSetting, without_password

if TYPE_CHECKING:
    from events.nats_settings import NatsSettings


async def open_distributed_log(settings: Settings, folder: DataFolder) -> EventLog:
    """The log on the servers of ``--log``. Raises ``FolderError``, ``ClusterError``, ``WrongSetting``."""
    nats = nats_settings(settings)
    from events.jetstream_log import JetStreamLog

    return await JetStreamLog.open(folder.events, nats)


def nats_settings(settings: Settings) -> "NatsSettings":
    """Where the servers are, and how to be let in. Raises ``WrongSetting``."""
    shown = without_password(settings.log)
    try:
        from events.nats_settings import NatsSettings
    except ModuleNotFoundError as error:
        raise WrongSetting(f"--log {shown}: needs the package nats-py ({error}); pip install nats-py") from None
    try:
        nats = NatsSettings.of_url(
            settings.log,
            stream=settings.nats_stream,
            replicas=settings.nats_replicas,
            user=settings.nats_user,
            password=settings.nats_password and os.fsdecode(settings.nats_password),
            nkey_seed=settings.nats_nkey_seed,
            credentials=settings.nats_credentials,
            tls_ca=settings.nats_tls_ca,
            tls_certificate=settings.nats_tls_certificate,
            tls_key=settings.nats_tls_key,
        )
    except ValueError as error:
        raise WrongSetting(f"--log {shown}: {without_password(str(error))}") from None
    try:
        nats.check()
    except ValueError as error:
        name, _, why = str(error).partition(":")
        raise WrongSetting(f"NOTELOG_NATS_{name.upper()}:{why}") from None
    return nats
