"""The page over a storage, asked by a client in this process, or served on the loopback for a browser."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import httpx
from starlette.types import ASGIApp

from shardq.serving.listening import Listening
from shardq.system.addresses import Address
from shardq.web import serving as serving_page
from shardq.web.access import Token
from shardq.web.application import application
from shardq.web.desk import Site
from tests.support.tasks import LIMIT_S

SECRET = "a token of these tests"
COOKIE = "shardq-of-tests"
#: What a browser sends along where the page itself began the request.
OWN = {"Sec-Fetch-Site": "same-origin"}


def site_of(url: str, exports: Path | None = None, *, read_only: bool = False, prefix: str = "") -> Site:
    return Site(url, read_only=read_only, exports=str(exports or "/nowhere"), prefix=prefix)


@contextmanager
def asked(site: Site, *, enters: bool = True) -> Iterator[httpx.Client]:
    """A client of the page on the loopback, which has the cookie where it `enters`."""
    token = Token(SECRET, COOKIE)
    with served(application(site, token)) as address, httpx.Client(base_url=address, timeout=LIMIT_S) as client:
        if enters:
            client.cookies.set(COOKIE, token.kept)
        yield client


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serves it on the loopback, at the address that is returned."""
    listening = Listening.at(Address("127.0.0.1", 0, ""))
    opened, (life, end) = socket.socket(fileno=os.dup(listening.descriptor)), os.pipe()
    serving = threading.Thread(target=lambda: asyncio.run(serving_page.served(app, opened, life)))
    serving.start()
    try:
        yield f"http://{listening.address}"
    finally:
        os.close(end)
        serving.join()
        os.close(life)
        listening.close()


def fields_of(text: str, action: str) -> dict[str, list[str]]:
    """The hidden fields of the form that posts to this action."""
    form = re.search(rf'<form[^>]* action="{action}" method="post">.*?</form>', text, re.DOTALL)
    assert form, text
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[0]):
        found.setdefault(name, []).append(unescape(value))
    return found
