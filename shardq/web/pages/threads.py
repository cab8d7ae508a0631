"""The threads that have requests, and one of them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shardq.encoding.secrets import NO_SECRETS, OF_OWN_HANDLERS
from shardq.errors import ConfigurationError
from shardq.model import key_of, split_key, takes_requests
from shardq.reasons import why
from shardq.web.charts import SHADES_S
from shardq.web.desk import Desk
from shardq.web.rendering import AMONG_OTHERS_BYTES, request_in
from shardq.web.scanning import state_of

#: Requests that are shown of one thread.
_HEAD = 10


async def threads(desk: Desk, request: Request) -> Response:
    sample, heat = await desk.lookout.now(), await desk.heat.found()
    return await desk.page(
        request,
        "threads.html",
        tubes=sample.tubes,
        heat=heat,
        chart=heat.chart if heat and sample.tubes.oldest else None,
        state_of=state_of,
        shades=SHADES_S,
    )


async def thread(desk: Desk, request: Request) -> Response:
    pipe = tube_named(request.query_params.get("pipe", ""))
    holds_requests = takes_requests(pipe)
    sees = holds_requests and await desk.may(request, "view_payloads")
    async with desk.lookout.looking() as observer:
        explained = await why(observer, pipe)
        head = await observer.range(pipe, _HEAD) if sees else None
    handler, _ = split_key(key_of(pipe))
    secrets = OF_OWN_HANDLERS.get(handler, NO_SECRETS)
    requests = [request_in(message, AMONG_OTHERS_BYTES, secrets) for message in head.messages] if head else []
    numbered = list(zip(head.numbers, requests, strict=True)) if head else []
    return await desk.page(
        request,
        "thread.html",
        pipe=pipe,
        handler=handler,
        explained=explained,
        holds_requests=holds_requests,
        requests=numbered,
    )


def tube_named(pipe: str) -> str:
    """The tube. Raises `ConfigurationError` for what is none."""
    if pipe.count("/") < 3 or not pipe.rpartition("/")[2].isdecimal():
        raise ConfigurationError("name a tube, as MODULE/Handler/THREAD/PRIORITY")
    return pipe
