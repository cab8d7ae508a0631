"""Stands between a storage and its server, and does to what goes through what a network may do.

`python -m tests.support.redis_proxy LISTEN SERVER` is one in a process of its own, for tests that kill it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

#: How the server begins what it says to a subscriber of a message.
_WAKE_UPS = (b"*3\r\n$7\r\nmessage\r\n", b">3\r\n$7\r\nmessage\r\n")


class Proxy:
    """Forwards each connection to the server. `socket` is where it listens, or `port` where it speaks TLS."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.socket = folder / "proxy"
        self.port = 0
        self.connections = 0
        """How many there ever were."""
        self.most_at_once = 0
        self.scripts = 0
        """How many calls of scripts were forwarded."""
        self.drop_answers = 0
        """So many of the next answers are not forwarded: their connection ends instead."""
        self.drop_wake_ups = 0
        """So many of the next wake-ups are not forwarded; their connection goes on."""
        self.delays_s: tuple[float, float] | None = None
        """What is forwarded waits for so long, from and to."""
        self.random = Random(0)
        self.is_silent = False
        """Nothing is forwarded, and no connection ends: the other side seems to be gone."""
        self.leads_to = server
        """The server of new connections."""
        self._writers = set[asyncio.StreamWriter]()
        self._subscribers = set[asyncio.StreamWriter]()

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_subscribers(self) -> None:
        """End the connections that are there for wake-ups."""
        for writer in list(self._subscribers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_unix_connection(self.leads_to)
            self._writers |= {writer, to_server}
            self.most_at_once = max(self.most_at_once, len(self._writers) // 2)
            asking = asyncio.create_task(self._forward(reader, to_server, writer))
            with suppress(OSError):
                await self._answer(from_server, writer)
            asking.cancel()
            await asyncio.wait((asking,))
        except OSError:  # there is no server now
            pass
        finally:
            self._subscribers.discard(writer)
            for its in (writer, to_server):
                if its:
                    self._writers.discard(its)
                    its.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if b"SUBSCRIBE" in data:
                    self._subscribers.add(client)
                self.scripts += data.count(b"\r\nEVALSHA\r\n")
                await self._pass_on(data, writer)
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if self.drop_answers:
                self.drop_answers -= 1
                return
            wake_ups = sum(map(data.count, _WAKE_UPS)) if writer in self._subscribers else 0
            if wake_ups and self.drop_wake_ups:
                self.drop_wake_ups = max(0, self.drop_wake_ups - wake_ups)
                continue
            await self._pass_on(data, writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.is_silent:
            return
        if self.delays_s:
            await asyncio.sleep(self.random.uniform(*self.delays_s))
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def proxied(folder: Path, server: Path, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """`tls`: it is reached by TLS, on a port of the loopback."""
    proxy = Proxy(folder, server)
    if tls:
        listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
        proxy.port = listening.sockets[0].getsockname()[1]
    else:
        listening = await asyncio.start_unix_server(proxy.serve, proxy.socket)
    try:
        yield proxy
    finally:
        listening.close()
        proxy.cut()
        await listening.wait_closed()


async def _run(listen: Path, server: Path) -> None:
    proxy = Proxy(listen.parent, server)
    await (await asyncio.start_unix_server(proxy.serve, listen)).serve_forever()


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)  # of one that was killed
    asyncio.run(_run(Path(sys.argv[1]), Path(sys.argv[2])))
