"""Serves the page at an address of this machine, or at a unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address

import uvicorn
from starlette.types import ASGIApp

from shardq.cli.output import complain
from shardq.errors import ConfigurationError
from shardq.serving.listening import Listening
from shardq.system.addresses import Address
from shardq.web.access import LOOPBACK, NamedByProxy, Token
from shardq.web.application import application
from shardq.web.connections import Connection
from shardq.web.desk import Site

#: How long requests that are under way may take when the page is to end.
_GRACE_S = 2


def serve(site: Site, address: Address, *, secret: str, user_header: str | None = None) -> None:
    """Serve the page until a signal ends it. `secret` is the token; with `user_header` a proxy names the user instead.
    Raises `ConfigurationError`, also for such a header without a unix socket.
    """
    if user_header and not address.path:
        raise ConfigurationError("--user-header takes --listen unix:PATH: at a port any program could send that header")
    listening = Listening.at(address)
    try:
        complain(entrance(listening.address, site.prefix, "" if user_header else secret))
        authorize = NamedByProxy(user_header) if user_header else token_at(listening.address, secret)
        app = application(site_at(listening.address, site), authorize)
        asyncio.run(served(app, socket.socket(fileno=os.dup(listening.descriptor))))
    finally:
        listening.close()


def entrance(address: Address, prefix: str, secret: str) -> str:
    """Where the page is, with its token. Only here the token is seen."""
    if address.path:
        return f"shardq: the page listens at {address}" + (f", with the token {secret}" if secret else "")
    return f"http://{address}{prefix}/?token={secret}"


def token_at(address: Address, secret: str) -> Token:
    """The token, with a cookie of its own at each port."""
    return Token(secret, f"shardq-{address.port}")


def site_at(address: Address, site: Site) -> Site:
    """The same, which answers to the loopback and to the host that it listens at."""
    return replace(site, hosts=site.hosts | LOOPBACK | ({_as_browsers_write(address.host)} if address.host else set()))


def _as_browsers_write(host: str) -> str:
    with suppress(ValueError):
        number = ip_address(host)
        return f"[{number}]" if number.version == 6 else str(number)
    return host.lower()


class _Server(uvicorn.Server):
    """Ends by a signal as by any other wish: it does not send the signal once more, which would end the process before
    its socket is removed. One that lives as long as a supervisor leaves signals alone.
    """

    listens_to_signals = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self.listens_to_signals:
            yield
            return
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()


async def served(app: ASGIApp, listening: socket.socket, life: int | None = None) -> None:
    """Serve until a signal, or where `life` is given until that pipe has no writer any more."""
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    if life is not None:
        server.listens_to_signals = False
        asyncio.get_running_loop().add_reader(life, _end, server, life)
    await server.serve(sockets=[listening])


def _end(server: uvicorn.Server, life: int) -> None:
    """Called at the end of the pipe, and again and again as long as the loop has it."""
    asyncio.get_running_loop().remove_reader(life)
    server.should_exit = True
