"""What every page has at hand: the storage's lookout, who may do what, and the templates."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shardq.auditing import By, Deed
from shardq.connect import without_secrets
from shardq.errors import ConfigurationError
from shardq.metrics.looks import SLICE_S, Looks
from shardq.web.access import LOOPBACK, Authorize, Right, user_of
from shardq.web.letters import Groups
from shardq.web.looking import Lookout, Seldom
from shardq.web.rendering import environment
from shardq.web.scanning import Heat, scan

#: The pages that the menu names, by their addresses.
MENU = {
    "./": "Overview",
    "handlers": "Handlers",
    "threads": "Threads",
    "workers": "Workers",
    "dead": "Dead",
    "later": "Later",
    "audit": "Audit",
}


class Undo(NamedTuple):
    """A command that takes a file of what went."""

    command: str
    does: str


@dataclass(frozen=True)
class Site:
    """What the page is about, and where it stands."""

    url: str
    hosts: frozenset[str] = LOOPBACK
    read_only: bool = False
    exports: str = "."
    """The folder that dead letters are written to before they are dropped."""
    prefix: str = ""
    """The path that a proxy has it under, as `/jobs`."""


class Desk:
    """Answers what pages ask of it."""

    def __init__(self, site: Site, authorize: Authorize) -> None:
        self.site = site
        self.lookout = Lookout(site.url)
        self.heat: Seldom[Heat] = Seldom(lambda meter: scan(self.lookout, meter))
        self.groups = Groups(self.lookout)
        self.metrics = Looks(site.url, SLICE_S)
        self.measuring = asyncio.Lock()
        """Entered by one look for metrics at a time."""
        self.acting = asyncio.Lock()
        """Entered by one action at a time."""
        self._authorize = authorize
        self._templates = environment()

    async def may(self, request: Request, right: Right) -> bool:
        """Whether the request has the right."""
        if right == "act" and self.site.read_only:
            return False
        said = self._authorize(request, right)
        return bool(await said if inspect.isawaitable(said) else said)

    def deed(self, request: Request, what: str, target: str = "", reason: str = "") -> Deed:
        """What is to be recorded of an action, called as the command that does the same. Programs say who they are by a
        token in a header, browsers by a cookie.
        """
        scheme = request.headers.get("authorization", "").partition(" ")[0]
        by: By = "API" if scheme.lower() == "bearer" else "page"
        return Deed(what, target, reason.strip(), by, user_of(self._authorize, request))

    async def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page made of a template."""
        common = {
            "menu": MENU,
            "here": _here(request),
            "storage": without_secrets(self.site.url),
            "may_act": await self.may(request, "act"),
            "may_view_payloads": await self.may(request, "view_payloads"),
            "read_only": self.site.read_only,
        }
        return HTMLResponse(self._templates.get_template(template).render(common | values), status)

    async def told(
        self,
        request: Request,
        told: str,
        *,
        back: str,
        error: str = "",
        gone: str = "",
        path: str = "",
        undo: Undo | None = None,
    ) -> HTMLResponse:
        """The answer to an action, with the way back to a page. `error`: why it broke off; `gone`: what was not there
        any more; `path`: the file that has what went, and `undo` what brings that back.
        """
        self.lookout.forget()
        self.groups.forget()
        shown: dict[str, Any] = {"told": told, "back": back, "error": error, "gone": gone, "path": path, "undo": undo}
        return await self.page(request, "told.html", **shown)

    def bare(self, template: str, status: int, **values: Any) -> HTMLResponse:
        """A page for those who may not see the others."""
        return HTMLResponse(self._templates.get_template(template).render(values), status)


#: Answers a request, with what is at hand.
Endpoint = Callable[[Desk, Request], Awaitable[Response]]


async def form_of(request: Request) -> dict[str, list[str]]:
    """The fields of a form. Raises `ConfigurationError` for what is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise ConfigurationError("send the fields of a form, as application/x-www-form-urlencoded")
    try:
        return parse_qs((await request.body()).decode(), keep_blank_values=True, errors="strict", max_num_fields=300)
    except ValueError as error:
        raise ConfigurationError(f"this is no form: {error}") from error


def one(fields: dict[str, list[str]], name: str) -> str:
    """The value of a field, empty where it was not given."""
    return fields.get(name, [""])[0]


def _here(request: Request) -> str:
    return request.scope["path"].rpartition("/")[2] or "./"
