"""Who may do what: a token that becomes a cookie, a name that a proxy gives, or what an application says."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from starlette.requests import Request

#: See figures and names; see what is in requests and errors; change what is stored.
Right = Literal["view", "view_payloads", "act"]
#: Whether a request may do it.
Authorize = Callable[["Request", Right], bool | Awaitable[bool]]

#: The names of this machine that a browser on it uses.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Token:
    """Lets in who knows the token: in a cookie, or as `Authorization: Bearer TOKEN`. All rights come with it."""

    def __init__(self, secret: str, cookie: str) -> None:
        self._secret = secret
        self.cookie = cookie
        """Name of the cookie: those of one host are sent to all of its ports."""

    @property
    def kept(self) -> str:
        """What the cookie holds. It is not the token, which stands in the address that was printed."""
        return sha256(f"cookie of {self._secret}".encode()).hexdigest()

    def is_it(self, given: str) -> bool:
        return _equal(given, self._secret)

    def __call__(self, request: Request, right: Right) -> bool:
        if _equal(request.cookies.get(self.cookie, ""), self.kept):
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_it(given.strip())


class NamedByProxy:
    """Lets in whom a proxy names in a header. Only a proxy may reach the page then."""

    def __init__(self, header: str) -> None:
        self._header = header

    def user(self, request: Request) -> str:
        """The user that it names, in UTF-8 or Latin-1. Empty: it names none."""
        name = request.headers.get(self._header, "").strip()
        with suppress(UnicodeDecodeError):
            return name.encode("latin-1").decode()
        return name

    def __call__(self, request: Request, right: Right) -> bool:
        return bool(self.user(request))


def user_of(authorize: Authorize, request: Request) -> str:
    """Name of the user as the proxy says it, or the application that the page is mounted in, where that authenticates
    as Starlette does. Empty: neither says one.
    """
    if isinstance(authorize, NamedByProxy):
        return authorize.user(request)
    return str(getattr(request.scope.get("user"), "display_name", ""))


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
