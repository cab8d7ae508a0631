"""What every request has to pass, and what every answer carries."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shardq.text.wording import counted

#: Most bytes of a request's body.
MOST_BYTES = 64 * 1024
#: Most requests that are answered at once.
MOST_AT_ONCE = 16

_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
        *("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    # With `no-referrer` browsers hide the `Origin` of the page's own forms as well.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses what no user of the page sends: a foreign host, a request that another site began, a body too large. The
    routes say which verbs there are.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, _with_headers(send))
            return
        self._under_way += 1
        try:
            await self._app(scope, _limited(receive), _with_headers(send))
        finally:
            self._under_way -= 1

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if (host := headers.get("host", "")) and _name_of(host) not in self._hosts:
            return _no(421, "This page does not answer to that host. Name it: web --host NAME, or --web NAME:PORT")
        if not host:
            return _no(400, "Say which host you mean")
        if scope["method"] not in ("GET", "HEAD") and not _is_own(headers, host):
            return _no(403, "Another site began this request, so it is refused")
        if not _fits(headers.get("content-length", "0")):
            return _no(413, f"A body may have {MOST_BYTES:,} bytes")
        if self._under_way >= MOST_AT_ONCE:
            return _no(503, f"{counted(MOST_AT_ONCE, 'request')} are answered already: try again", {"Retry-After": "1"})
        return None


class TooLarge(Exception):
    """A body has more bytes than may be."""


def _name_of(host: str) -> str:
    """The host without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _is_own(headers: Headers, host: str) -> bool:
    """Whether the page itself began the request, as its browser says."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() == host.lower()


def _fits(length: str) -> bool:
    return length.isdecimal() and len(length) < 10 and int(length) <= MOST_BYTES


def _limited(receive: Receive) -> Receive:
    """Counts the bytes of a body that does not say how many it has."""
    got = 0

    async def receive_some() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > MOST_BYTES:
            raise TooLarge
        return message

    return receive_some


def _with_headers(send: Send) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return send_with


def _no(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{why}.\n", status, headers)
