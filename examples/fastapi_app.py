"""A web application whose slow work is done by worker processes: `uvicorn examples.fastapi_app:app --workers 4`.

A request to it is answered once its work is accepted. Every web worker embeds the supervisor under the same name: the
first starts the family, the others use it, and one of them goes on with it when the first one ends. `LEDGER_FOLDER`
says in which folder the accounts are, and has to be set; `LEDGER_URL` names the segment. With `--reload` in place of
`--workers`, the family ends and starts with the application, and what is not handled yet stays in the segment.

`LEDGER_OPERATOR` is the password of the user `operator`, who sees and steers the family on the page below `/jobs/`.
Where it is not set, there is no page.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBasic
from pydantic import BaseModel

import shardq.web
from examples.ledger import FOLDER_VARIABLE, Entry, Post, balance, posted
from shardq import Queue, Supervisor

#: Environment variable that names the segment.
URL_VARIABLE = "LEDGER_URL"
#: Environment variable that has the operator's password.
OPERATOR_VARIABLE = "LEDGER_OPERATOR"


class NewEntry(BaseModel):
    """What a client sends. The identifier is the client's, so that sending it twice posts it once."""

    identifier: str
    amount: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if FOLDER_VARIABLE not in os.environ:
        raise RuntimeError(f"nothing could be posted: set {FOLDER_VARIABLE} to the folder of the accounts")
    url = os.environ.get(URL_VARIABLE, "shm://ledger")
    async with Supervisor(Post, url=url, workers=2, if_running="attach") as supervisor:
        app.state.supervisor = supervisor
        if OPERATOR_VARIABLE in os.environ:
            app.mount("/jobs", shardq.web.app(url, authorize=is_operator))
        yield


async def is_operator(request: Any, right: shardq.web.Right) -> bool:
    """Let the operator in, for all that the page does. A browser that sends no password yet is asked for it."""
    given = await HTTPBasic()(request)
    known = compare_digest(given.password.encode(), os.environ[OPERATOR_VARIABLE].encode())
    return known and given.username == "operator"


def get_queue(request: Request) -> Queue:
    supervisor: Supervisor = request.app.state.supervisor
    return supervisor.queue


app = FastAPI(lifespan=lifespan)


@app.post("/accounts/{account}/entries", status_code=202)
async def post_entries(
    account: int, entries: list[NewEntry], queue: Annotated[Queue, Depends(get_queue)]
) -> dict[str, int]:
    """Accept entries. They are posted in this order, after all that were accepted before."""
    requests = [Entry(account, entry.identifier, entry.amount) for entry in entries]
    return {"accepted": await queue.register(Post, *requests)}


@app.get("/accounts/{account}")
def get_account(account: int) -> dict[str, int]:
    """What is posted so far."""
    return {"balance": balance(account), "entries": len(posted(account))}


@app.get("/status")
def get_status(request: Request) -> dict[str, Any]:
    """The family at this moment."""
    stats = request.app.state.supervisor.stats()
    return {"queued": stats.queued, "handled": stats.handled, "workers": [worker.pid for worker in stats.workers]}
