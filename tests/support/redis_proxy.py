"""Stands between a storage and its server, and cuts what goes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Proxy:
    """Forwards each connection to the server. `socket` is where it listens."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.socket = folder / "proxy"
        self.connections = 0
        """How many there ever were."""
        self.drop_answers = 0
        """So many of the next answers are not forwarded: their connection ends instead."""
        self._server = server
        self._writers = set[asyncio.StreamWriter]()

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_unix_connection(self._server)
            self._writers |= {writer, to_server}
            asking = asyncio.create_task(self._forward(reader, to_server))
            with suppress(OSError):
                await self._answer(from_server, writer)
            asking.cancel()
            await asyncio.wait((asking,))
        finally:
            for its in (writer, to_server):
                if its:
                    self._writers.discard(its)
                    its.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if self.drop_answers:
                self.drop_answers -= 1
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxied(folder: Path, server: Path) -> AsyncIterator[Proxy]:
    proxy = Proxy(folder, server)
    listening = await asyncio.start_unix_server(proxy.serve, proxy.socket)
    try:
        yield proxy
    finally:
        listening.close()
        proxy.cut()
        await listening.wait_closed()
