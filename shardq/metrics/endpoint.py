"""A process beside the workers of a family that answers `GET /metrics`.

Its supervisor opens the socket and executes it. It never imports the application, and ends when its supervisor does.
Between two requests for metrics it sleeps.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from http import HTTPStatus

from shardq.connect import observe
from shardq.errors import ShardqError
from shardq.metrics.exposition import CONTENT_TYPE, text_of
from shardq.metrics.hosts import is_own, own_names
from shardq.metrics.http import MOST_BYTES, Answer, Answerer, Request
from shardq.metrics.looks import SLICE_S, Looks
from shardq.system.addresses import Address

#: How long a look may take, as over a server that does not answer.
_LOOK_S = 8.0
_METHODS = ("GET", "HEAD")


class Endpoint:
    """What is answered. `names` are those that the endpoint may be called by; None: by any, at a socket that no browser
    reaches.
    """

    def __init__(self, looks: Looks, names: Collection[str] | None) -> None:
        self._looks = looks
        self._names = names
        self._looking = asyncio.Lock()

    async def answer(self, request: Request) -> Answer:
        if self._names is not None and not is_own(request.host or "", self._names):
            return Answer(
                HTTPStatus.FORBIDDEN,
                "metrics are not told under this name: ask for the address, or let the supervisor listen at the name\n",
            )
        if request.method not in _METHODS:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n", allowed=", ".join(_METHODS))
        if request.path != "/metrics":
            return Answer(HTTPStatus.NOT_FOUND, "there is only /metrics\n")
        try:
            async with self._looking, asyncio.timeout(_LOOK_S):
                return Answer(HTTPStatus.OK, text_of(await self._looks.look()), CONTENT_TYPE)
        except TimeoutError:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"the storage did not answer within {_LOOK_S:.0f} s\n")
        except ShardqError as error:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")


async def serve(endpoint: Endpoint, listening: socket.socket, life: int) -> None:
    """Answer until `life` says that the supervisor has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(life, ended.set)
    answerer = Answerer(endpoint.answer)
    server = await asyncio.start_server(answerer.serve, sock=listening, limit=MOST_BYTES)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(life)
        server.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the supervisor executes."""
    parser = argparse.ArgumentParser(prog="shardq.metrics.endpoint")
    parser.add_argument("--url-in", required=True, help="the variable that has the URL")
    parser.add_argument("--address", required=True, help="where the socket listens")
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the socket")
    parser.add_argument("--life", type=int, required=True, help="end of file says that the supervisor has ended")
    options = parser.parse_args(arguments)
    address, url = Address.parsed(options.address), os.environ.pop(options.url_in)
    with suppress(ShardqError):
        observe(url).close()  # it imports what a look needs, so that the first one does not have to wait for that
    endpoint = Endpoint(Looks(url, SLICE_S), None if address.path else own_names(address))
    asyncio.run(serve(endpoint, socket.socket(fileno=options.socket), options.life))
    return 0


if __name__ == "__main__":
    sys.exit(main())
