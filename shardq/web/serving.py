"""Serves the page at an address of this machine, or at a unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from shardq.cli.output import complain
from shardq.errors import ConfigurationError, shown
from shardq.web.access import LOOPBACK, Authorize, NamedByProxy, Token
from shardq.web.application import application
from shardq.web.desk import Site

#: How long requests that are under way may take when the page is to end.
_GRACE_S = 2


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int
    path: str
    """Of a unix socket. Empty: it is a host and a port."""

    @classmethod
    def read(cls, text: str) -> Address:
        """`HOST:PORT`, or `unix:PATH`. Raises `ConfigurationError`."""
        if text.startswith("unix:") and text != "unix:":
            return cls("", 0, os.path.abspath(text.removeprefix("unix:")))
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigurationError(f"{shown(text)} is no address: write 127.0.0.1:8700 or unix:PATH")
        return cls(host, int(port), "")

    def listen(self) -> socket.socket:
        """A socket that listens there; that of a path is this user's alone. Raises `ConfigurationError`."""
        try:
            return _listening_at(self.path) if self.path else self._listening()
        except OSError as error:
            where = f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"
            raise ConfigurationError(
                f"cannot listen at {where}: {error.strerror or error}; give --listen another address"
            ) from error

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host.strip("[]"), self.port))
            made.listen()
        except BaseException:
            made.close()
            raise
        return made


def serve(
    site: Site, address: Address, *, secret: str, user_header: str | None = None, life: int | None = None
) -> None:
    """Serve the page until a signal ends it, or until the pipe `life` has no writer any more. `secret` is the token;
    with `user_header` a proxy names the user instead. Raises `ConfigurationError`, also for such a header without a
    unix socket.
    """
    if user_header and not address.path:
        raise ConfigurationError("--user-header takes --listen unix:PATH: at a port anybody could send that header")
    listening = address.listen()
    try:
        port = 0 if address.path else listening.getsockname()[1]
        authorize: Authorize = NamedByProxy(user_header) if user_header else Token(secret, f"shardq-{port}")
        hosts = LOOPBACK | site.hosts | ({address.host.lower()} if address.host else set())
        _say(site, address, port, "" if user_header else secret)
        app = application(replace(site, hosts=frozenset(hosts)), authorize)
        asyncio.run(_served(app, listening, life))
    finally:
        listening.close()
        if address.path:
            with suppress(FileNotFoundError):
                os.unlink(address.path)


def _say(site: Site, address: Address, port: int, secret: str) -> None:
    """Say once where the page is. Only here the token is seen."""
    if address.path:
        token = f", with the token {secret}" if secret else ""
        complain(f"shardq: the page listens at unix:{address.path}{token}")
    else:
        complain(f"http://{address.host}:{port}{site.prefix}/?token={secret}")


class _Server(uvicorn.Server):
    """Ends by a signal as by any other wish: it does not send the signal once more, which would end the process before
    its socket is removed.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()


async def _served(app: ASGIApp, listening: socket.socket, life: int | None) -> None:
    server = _Server(
        uvicorn.Config(
            app,
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
        asyncio.get_running_loop().add_reader(life, lambda: setattr(server, "should_exit", True))
    await server.serve(sockets=[listening])


def _listening_at(path: str) -> socket.socket:
    """A unix socket of mode 0600. One that nobody listens at any more is replaced."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not _answers(path):
                os.unlink(path)
        before = os.umask(0o177)
        try:
            made.bind(path)
        finally:
            os.umask(before)
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            return False
    return True
