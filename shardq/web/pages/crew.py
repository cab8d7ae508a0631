"""The workers, the stacks of those on this host, and orders to them and to their supervisors."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from shardq.errors import ConfigurationError
from shardq.model import CrewMember
from shardq.supervisor.wishes import orders
from shardq.system import stacks
from shardq.system.stacks import Told
from shardq.web.acting import note
from shardq.web.desk import Desk, form_of, one
from shardq.web.looking import figures_of, overview_of

_Order = Callable[[CrewMember, signal.Signals], None]


class _Wish(NamedTuple):
    """What can be ordered, as the page says it before and after."""

    order: _Order
    signal: signal.Signals
    name: str
    """For the record."""
    question: str
    what: str
    answer: str


_WORKER: dict[str, _Wish] = {
    "replace": _Wish(
        orders.order_worker,
        orders.REPLACE,
        "replace worker",
        "Replace worker",
        "It finishes the batch in hand and ends, and its supervisor starts another one.",
        "It ends after the batch in hand, and its supervisor starts another one.",
    ),
    "kill": _Wish(
        orders.order_worker,
        orders.KILL,
        "kill worker",
        "Kill worker",
        "It ends at once, whatever it does, and its supervisor starts another one. What it has in hand has then failed "
        "once.",
        "It was killed, and its supervisor starts another one.",
    ),
}
_FAMILY: dict[str, _Wish] = {
    "more": _Wish(
        orders.order_supervisor,
        orders.MORE,
        "one worker more",
        "One worker more",
        "The supervisor starts another worker, until it has 128. A restart forgets it, a reload does not.",
        "The supervisor was told to have one worker more.",
    ),
    "fewer": _Wish(
        orders.order_supervisor,
        orders.FEWER,
        "one worker less",
        "One worker less",
        "A worker ends after the batch in hand. One always stays.",
        "The supervisor was told to have one worker less.",
    ),
    "reload": _Wish(
        orders.order_supervisor,
        orders.RELOAD,
        "reload",
        "Reload",
        "The supervisor tries the new code, and replaces its workers one by one, each after the batch in hand. Code "
        "that does not import is refused, and the old one goes on. A page beside the family begins anew as well.",
        "The supervisor tries the new code. Its log says what came of it.",
    ),
}


async def workers(desk: Desk, request: Request) -> Response:
    seen = overview_of(await desk.lookout.now())
    crew = [(its, orders.is_reached(its)) for its in seen.crew]
    supervisors = dict[int, int]()
    for its, reached in crew:
        if reached and its.supervisor_pid:
            supervisors[its.supervisor_pid] = supervisors.get(its.supervisor_pid, 0) + 1
    elsewhere = sorted({its.host or "" for its, reached in crew if not reached and its.state != "dead"})
    return await desk.page(
        request, "workers.html", crew=crew, figures=figures_of(seen), supervisors=supervisors, elsewhere=elsewhere
    )


async def stack(desk: Desk, request: Request) -> Response:
    """Where the code of a worker is, or of all that can be asked from here."""
    wanted = request.query_params.get("pid", "")
    crew = [its for its in overview_of(await desk.lookout.now()).crew if orders.is_reached(its)]
    asked_for = [its for its in crew if wanted in ("", str(its.at.pid))]
    async with desk.acting:
        told = await asyncio.to_thread(stacks.ask, {its.at.pid for its in asked_for})
    shown = [(its, told.get(its.at.pid, stacks.ENDED)) for its in asked_for]
    return await desk.page(request, "stack.html", shown=shown, wanted=wanted, silent=_silent)


async def ask_worker(desk: Desk, request: Request) -> Response:
    """Say which worker an order is for."""
    query = request.query_params
    wish = _chosen(_WORKER, query.get("what", ""))
    worker = await _worker(desk, query.get("pid", ""))
    return await desk.page(request, "ask-worker.html", what=query["what"], wish=wish, worker=worker)


async def ask_family(desk: Desk, request: Request) -> Response:
    """Say what an order to a supervisor does."""
    query = request.query_params
    wish = _chosen(_FAMILY, query.get("what", ""))
    crew = await _family(desk, query.get("supervisor", ""))
    return await desk.page(request, "ask-family.html", what=query["what"], wish=wish, crew=crew)


async def replace(desk: Desk, request: Request) -> Response:
    return await _order_worker(desk, request, "replace")


async def kill(desk: Desk, request: Request) -> Response:
    return await _order_worker(desk, request, "kill")


async def scale(desk: Desk, request: Request) -> Response:
    return await _order_family(desk, request, ("more", "fewer"))


async def reload(desk: Desk, request: Request) -> Response:
    return await _order_family(desk, request, ("reload",))


async def _order_worker(desk: Desk, request: Request, what: str) -> Response:
    fields = await form_of(request)
    worker = await _worker(desk, one(fields, "pid"))
    if what == "kill" and one(fields, "typed").strip() != str(worker.at.pid):
        raise ConfigurationError(f"type {worker.at.pid} to kill that process; nothing is done")
    return await _ordered(desk, request, _WORKER[what], worker, fields)


async def _order_family(desk: Desk, request: Request, allowed: tuple[str, ...]) -> Response:
    fields = await form_of(request)
    what = one(fields, "what")
    wish = _chosen({name: _FAMILY[name] for name in allowed}, what)
    crew = await _family(desk, one(fields, "supervisor"))
    return await _ordered(desk, request, wish, crew[0], fields)


async def _ordered(
    desk: Desk, request: Request, wish: _Wish, worker: CrewMember, fields: dict[str, list[str]]
) -> Response:
    wish.order(worker, wish.signal)
    pid = worker.at.pid if wish.order is orders.order_worker else worker.supervisor_pid
    deed = desk.deed(request, wish.name, f"process {pid}", one(fields, "reason"))
    deed.count = 1
    await note(desk, deed)
    return await desk.told(request, wish.answer, back="workers")


def _chosen(wishes: dict[str, _Wish], what: str) -> _Wish:
    if what not in wishes:
        raise ConfigurationError("choose what is to be done, on the page of workers")
    return wishes[what]


async def _worker(desk: Desk, pid: str) -> CrewMember:
    """The worker that is this process of this host. Raises `ConfigurationError`."""
    for its in await _reached(desk):
        if str(its.at.pid) == pid:
            return its
    raise ConfigurationError(f"no process {pid} of this host is a worker here now: choose one on the page of workers")


async def _family(desk: Desk, supervisor: str) -> list[CrewMember]:
    """The workers of the supervisor that is this process of this host. Raises `ConfigurationError`."""
    found = [its for its in await _reached(desk) if str(its.supervisor_pid) == supervisor]
    if not found:
        raise ConfigurationError(
            f"no process {supervisor} of this host has workers here now: choose a supervisor on the page of workers"
        )
    return found


async def _reached(desk: Desk) -> list[CrewMember]:
    desk.lookout.forget()
    return [its for its in overview_of(await desk.lookout.now()).crew if orders.is_reached(its)]


def _silent(told: Told) -> str:
    return f"It {told.silent}." if told.silent else ""
