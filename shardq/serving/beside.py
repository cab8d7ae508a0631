"""What a supervisor has run beside its workers, by its settings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from shardq.errors import ConfigurationError
from shardq.serving.listening import Listening
from shardq.settings import SupervisorSettings
from shardq.supervisor.code.launch import SERVER_URL
from shardq.supervisor.code.program import Program
from shardq.supervisor.companions import Companion, Companions
from shardq.supervisor.output.telling import tell
from shardq.supervisor.workers.forked import keep_from_children
from shardq.system.addresses import Address

log = logging.getLogger("shardq.supervisor")


#: The variable of the environment that has the token of the page, for this process when it executes itself anew.
PAGE_TOKEN = "SHARDQ_PAGE_TOKEN"
#: What the page is made with.
_PACKAGES = ("jinja2", "starlette", "uvicorn")


@contextmanager
def companions(settings: SupervisorSettings, url: str, program: Program, *, again: bool) -> Iterator[Companions]:
    """The companions that the settings ask for, with their sockets open. `again`: this process executed itself anew.
    Then it has workers, and goes on without a companion whose address it does not get, or whose packages are gone. Else
    it raises `ConfigurationError` there.
    """
    with ExitStack() as opened:
        every = list[Companion]()
        if settings.metrics and (listening := _listening(settings.metrics, "metrics are", opened, again=again)):
            log.info("metrics are told", extra={"at": str(listening.address)})
            every.append(_metrics(listening, url))
        if settings.web and (listening := _listening(settings.web, "the page is", opened, again=again)):
            if missing := [name for name in _PACKAGES if find_spec(name) is None]:
                _lacks(missing[0], again=again)
            else:
                token = dict(program.variables)[PAGE_TOKEN]
                if not again:
                    _say(listening.address, token)
                every.append(_page(listening, url, token))
        yield Companions(every)


def _listening(address: str, what: str, opened: ExitStack, *, again: bool) -> Listening | None:
    try:
        listening = Listening.at(Address.parsed(address))
    except ConfigurationError as error:
        if not again:
            raise
        log.error(f"{what} not told any more", extra={"reason": str(error)})
        return None
    opened.callback(listening.close)
    keep_from_children(listening.descriptor)
    return listening


def _metrics(listening: Listening, url: str) -> Companion:
    words = ["--url-in", SERVER_URL, "--address", str(listening.address)]
    return Companion("metrics", "shardq.metrics.endpoint", words, listening.descriptor, {SERVER_URL: url})


def _page(listening: Listening, url: str, token: str) -> Companion:
    words = ["--url-in", SERVER_URL, "--token-in", PAGE_TOKEN, "--address", str(listening.address)]
    secrets = {SERVER_URL: url, PAGE_TOKEN: token}
    return Companion("the page", "shardq.web.companion", words, listening.descriptor, secrets)


def _say(address: Address, token: str) -> None:
    """Say where the page is, with its token, which no line of the log has."""
    where = f"unix:{address.path}, with the token {token}" if address.path else f"http://{address}/?token={token}"
    tell(f"shardq.supervise: the page is at {where}", sys.stderr)


def _lacks(package: str, *, again: bool) -> None:
    reason = f"the page needs {package}: pip install 'shardq[web]'"
    if not again:
        raise ConfigurationError(reason)
    log.error("the page is not told any more", extra={"reason": reason})
