"""What operators did to the storage."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shardq.model import MOST_ACTIONS
from shardq.web.desk import Desk


async def audit(desk: Desk, request: Request) -> Response:
    async with desk.lookout.looking() as observer:
        found = await observer.actions()
    return await desk.page(request, "audit.html", actions=found, most=MOST_ACTIONS)
