"""What a supervisor has run beside its workers, by its settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shardq.errors import ConfigurationError
from shardq.serving.listening import Listening
from shardq.settings import SupervisorSettings
from shardq.supervisor.code.launch import SERVER_URL
from shardq.supervisor.companions import Companion, Companions
from shardq.supervisor.workers.forked import keep_from_children
from shardq.system.addresses import Address

log = logging.getLogger("shardq.supervisor")


@contextmanager
def companions(settings: SupervisorSettings, url: str, *, again: bool) -> Iterator[Companions]:
    """The companions that the settings ask for, with their sockets open. `again`: this process executed itself anew.
    Then it has workers, and goes on without a companion whose address it does not get. Raises `ConfigurationError`
    where it cannot listen.
    """
    listening = _listening(settings.metrics, again=again) if settings.metrics else None
    if listening is None:
        yield Companions()
        return
    try:
        keep_from_children(listening.descriptor)
        log.info("metrics are told", extra={"at": str(listening.address)})
        yield Companions([_metrics(listening, url)])
    finally:
        listening.close()


def _listening(address: str, *, again: bool) -> Listening | None:
    try:
        return Listening.at(Address.parsed(address))
    except ConfigurationError as error:
        if not again:
            raise
        log.error("metrics are not told any more", extra={"reason": str(error)})
        return None


def _metrics(listening: Listening, url: str) -> Companion:
    words = ["--url-in", SERVER_URL, "--address", str(listening.address)]
    return Companion("metrics", "shardq.metrics.endpoint", words, listening.descriptor, {SERVER_URL: url})
