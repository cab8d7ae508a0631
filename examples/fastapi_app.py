"""A web application whose slow work is done by worker processes: `uvicorn examples.fastapi_app:app --workers 4`.

A request to it is answered once its work is accepted. Every web worker embeds the supervisor under the same name: the
first starts the family, the others use it, and one of them goes on with it when the first one ends. `LEDGER_FOLDER`
says in which folder the accounts are, and has to be set; `LEDGER_URL` names the segment.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from examples.ledger import FOLDER_VARIABLE, Entry, Post, balance, posted
from shardq import Queue, Supervisor

#: Environment variable that names the segment.
URL_VARIABLE = "LEDGER_URL"


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
        yield


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
