"""For programs: `/api/v1/*` has the schema of what the commands print with `--json`, and probes get a word."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from shardq.cli.audit import as_values as action_values
from shardq.cli.dead.looking import as_values
from shardq.cli.recurrent import as_values as recurrent_values
from shardq.cli.render import as_json
from shardq.cli.status import rates_of
from shardq.cli.views import View
from shardq.drivers.shared.engine import engine_name
from shardq.metrics.exposition import CONTENT_TYPE, text_of
from shardq.web.desk import Desk
from shardq.web.filtered import Filtered
from shardq.web.letters import listed, match_of
from shardq.web.looking import overview_of

#: Recurrent requests that one answer has at most.
_MOST = 1000


async def status(desk: Desk, request: Request) -> Response:
    """As `status --json`."""
    sample = await desk.lookout.now()
    values, flow = dict(overview_of(sample).as_dict()), sample.flow
    counted = [its.counted for its in sample.handlers if its.counted]
    values["rates"] = {"accepted": flow.accepted_per_s, "handled": flow.handled_per_s} if flow else None
    if counted:
        values["rates"] = rates_of(counted)
    values["handlers"] = counted
    if "families" not in values:
        values["core"] = engine_name()
    return _json(values)


async def tubes(desk: Desk, request: Request) -> Response:
    """As `tubes --json`, the longest 100."""
    return _json((await desk.lookout.now()).tubes.longest)


async def dead(desk: Desk, request: Request) -> Response:
    """As `dead list --json`: `?handler=`, `?match=` once or more, `?after=`; at most 50 at a time."""
    wanted, view = Filtered.of(request.query_params), View()
    match = match_of(wanted.filters, sees_payloads=True)
    found = await listed(desk.lookout, wanted.handler, match, wanted.after)
    further = wanted.listing("dead", found).further
    headers = {"Link": f'<{further}>; rel="next"'} if further else None
    return _json([as_values(buried, view) for buried in found.items], headers)


async def recurrent(desk: Desk, request: Request) -> Response:
    """As `recurrent list --json`."""
    view, found, after = View(), list[Any](), None
    async with desk.lookout.looking() as observer:
        while len(found) < _MOST:
            page = await observer.scheduled(after)
            found += [recurrent_values(its, view) for its in page]
            if (after := page.after) is None:
                break
    return _json(found[:_MOST])


async def audit(desk: Desk, request: Request) -> Response:
    """As `audit --json`, all that are remembered."""
    async with desk.lookout.looking() as observer:
        return _json([action_values(action) for action in await observer.actions()])


async def metrics(desk: Desk, request: Request) -> Response:
    """As `shardq metrics`."""
    async with desk.measuring:
        return Response(text_of(await desk.metrics.look()), headers={"Content-Type": CONTENT_TYPE})


async def healthz(desk: Desk, request: Request) -> Response:
    """200 where a supervisor lives."""
    figures = overview_of(await desk.lookout.now()).as_dict()
    families = figures.get("families", [{**figures, "state": "serving"}])
    lives = any(its["supervisor_pid"] and its["state"] == "serving" for its in families)
    return _word(lives, "no supervisor lives")


async def readyz(desk: Desk, request: Request) -> Response:
    """200 where a worker serves."""
    crew = overview_of(await desk.lookout.now()).crew
    return _word(any(its.state in ("busy", "idle") for its in crew), "no worker serves")


def _word(good: bool, why_not: str) -> Response:
    return PlainTextResponse("ok\n" if good else f"{why_not}\n", 200 if good else 503)


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(as_json(value), media_type="application/json", headers=headers)
