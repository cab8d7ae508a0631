"""The routes of the page. What is not listed here does not exist, and of a page that is read only no action is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from shardq.errors import ConfigurationError, RequestError, ShardqError
from shardq.web import api
from shardq.web.access import Authorize, Right, Token
from shardq.web.desk import Desk, Endpoint, Site
from shardq.web.guarding import Guard, TooLarge
from shardq.web.pages import audit, crew, dead, family, later, parking, pausing, steering, threads, waiting

_STATIC = Path(__file__).parent / "static"

#: Pages and answers that change nothing, and the right that each takes.
VIEWS: dict[str, tuple[Endpoint, Right]] = {
    "/": (family.overview, "view"),
    "/handlers": (family.handlers, "view"),
    "/workers": (crew.workers, "view"),
    "/stack": (crew.stack, "view_payloads"),
    "/threads": (threads.threads, "view"),
    "/thread": (threads.thread, "view"),
    "/later": (later.later, "view"),
    "/audit": (audit.audit, "view"),
    "/dead": (dead.dead, "view"),
    "/letter": (dead.letter, "view"),
    "/message": (dead.message, "view_payloads"),
    "/metrics": (api.metrics, "view"),
    "/api/v1/status": (api.status, "view"),
    "/api/v1/tubes": (api.tubes, "view"),
    "/api/v1/dead": (api.dead, "view_payloads"),
    "/api/v1/recurrent": (api.recurrent, "view_payloads"),
    "/api/v1/audit": (api.audit, "view"),
}
#: Pages that ask before an action.
QUESTIONS: dict[str, tuple[Endpoint, Right]] = {
    "/ask": (steering.ask, "act"),
    "/ask-pause": (pausing.ask, "act"),
    "/ask-park": (parking.ask, "act"),
    "/ask-later": (waiting.ask, "act"),
    "/ask-recurrent": (waiting.ask_recurrent, "act"),
    "/ask-worker": (crew.ask_worker, "act"),
    "/ask-family": (crew.ask_family, "act"),
}
#: What changes something.
ACTIONS: dict[str, tuple[Endpoint, Right]] = {
    "/requeue": (steering.requeue, "act"),
    "/drop": (steering.drop, "act"),
    "/edit": (steering.edit, "act"),
    "/pause": (pausing.pause, "act"),
    "/resume": (pausing.resume, "act"),
    "/park": (parking.park, "act"),
    "/cancel": (waiting.cancel, "act"),
    "/run": (waiting.run, "act"),
    "/skip": (waiting.skip, "act"),
    "/end": (waiting.end, "act"),
    "/replace": (crew.replace, "act"),
    "/kill": (crew.kill, "act"),
    "/scale": (crew.scale, "act"),
    "/reload": (crew.reload, "act"),
}
#: Answers to probes, which have no token. They say one word.
PROBES: dict[str, Endpoint] = {"/healthz": api.healthz, "/readyz": api.readyz}


def application(site: Site, authorize: Authorize) -> Starlette:
    """The page as an ASGI application. `authorize` may be a `Token`, which is then taken from the address, too."""
    desk = Desk(site, authorize)
    token = authorize if isinstance(authorize, Token) else None
    questions = {} if site.read_only else QUESTIONS
    actions = {} if site.read_only else ACTIONS
    routes: list[BaseRoute] = [
        *(Route(path, _allowed(desk, does, right, token)) for path, (does, right) in (VIEWS | questions).items()),
        *(Route(path, _allowed(desk, does, right, token), methods=["POST"]) for path, (does, right) in actions.items()),
        *(Route(path, _answered(desk, does)) for path, does in PROBES.items()),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        desk.lookout.close()

    return Starlette(
        routes=routes,
        middleware=[Middleware(Prefixed, site.prefix), Middleware(Guard, site.hosts)],
        exception_handlers={TooLarge: _too_large},
        lifespan=lifespan,
    )


class Prefixed:
    """Serves the page below a path, whether the proxy in front of it cuts the path off or not. Addresses in the page
    are relative, so that of its first page has to end with a slash.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path, root = scope["path"], scope.get("root_path", "")
            if not root and (path == self._prefix or path.startswith(f"{self._prefix}/")):
                scope, root = {**scope, "root_path": self._prefix}, self._prefix
            if root and path == root:
                await RedirectResponse(f"{root.rpartition('/')[2]}/")(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _allowed(desk: Desk, does: Endpoint, right: Right, token: Token | None) -> Callable[[Request], Response]:
    async def endpoint(request: Request) -> Response:
        given = request.query_params.get("token")
        if token and given is not None and request.method == "GET":
            return _entered(desk, request, token) if token.is_it(given) else _refused(desk, request, right)
        if not await desk.may(request, "view"):
            return _refused(desk, request, "view")
        if not await desk.may(request, right):
            return _refused(desk, request, right)
        return await _answer(desk, does, request)

    return endpoint  # type: ignore[return-value]  # a coroutine function, which Starlette calls as one


def _answered(desk: Desk, does: Endpoint) -> Callable[[Request], Response]:
    async def endpoint(request: Request) -> Response:
        try:
            return await does(desk, request)
        except ShardqError:  # its text may tell a stranger what is where
            return PlainTextResponse("the storage cannot be looked at\n", HTTPStatus.SERVICE_UNAVAILABLE)

    return endpoint  # type: ignore[return-value]  # as above


async def _answer(desk: Desk, does: Endpoint, request: Request) -> Response:
    try:
        return await does(desk, request)
    except (ConfigurationError, RequestError) as error:
        return await _told(desk, request, HTTPStatus.BAD_REQUEST, error)
    except ShardqError as error:
        return await _told(desk, request, HTTPStatus.SERVICE_UNAVAILABLE, error)


async def _told(desk: Desk, request: Request, status: HTTPStatus, error: ShardqError) -> Response:
    if _is_for_machines(request):
        return JSONResponse({"error": str(error)}, status)
    # An action that failed is not done again by itself: the user decides on that.
    passes = status >= HTTPStatus.INTERNAL_SERVER_ERROR and request.method != "POST"
    return await desk.page(request, "error.html", status=status, error=str(error), passes=passes)


def _entered(desk: Desk, request: Request, token: Token) -> Response:
    """The cookie, and a page that goes on to the one that was meant. A redirection would keep where the user came from,
    and another site's link would not take a strict cookie along.
    """
    response = desk.bare("entered.html", 200, to=request.scope["path"].rpartition("/")[2] or "./")
    path = request.scope.get("root_path", "") or "/"
    secure = request.url.scheme == "https"
    response.set_cookie(token.cookie, token.kept, path=path, httponly=True, samesite="strict", secure=secure)
    return response


def _refused(desk: Desk, request: Request, right: Right) -> Response:
    status = HTTPStatus.UNAUTHORIZED if right == "view" else HTTPStatus.FORBIDDEN
    if _is_for_machines(request):
        return JSONResponse({"error": f"the right {right} is needed"}, status)
    return desk.bare("refused.html", status, right=right)


def _is_for_machines(request: Request) -> bool:
    return "/api/" in request.scope["path"] or request.scope["path"].endswith("/metrics")


def _too_large(request: Request, error: Exception) -> Response:
    return PlainTextResponse("The body is too large.\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
