"""A web application on Flask, whose slow work is done by a family of its own:

    export LEDGER_FOLDER=/var/lib/ledger
    python -m shardq.supervise examples.ledger --url shm://ledger
    gunicorn --config python:examples.gunicorn_config examples.flask_app:app

A request to it is answered once its work is stored; where there is no room, its client is told to come again. Each web
worker has a queue of its own, opened after the fork. Web workers and the family start, restart and end independently
of each other. `LEDGER_URL` names the storage.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from functools import cache
from typing import Any

from flask import Flask, request

from examples.ledger import Entry, Post, balance, posted
from shardq import Queue, connect
from shardq.errors import QueueFull
from shardq.settings import StorageSettings

#: Environment variable that names the storage.
URL_VARIABLE = "LEDGER_URL"

app = Flask(__name__)


@cache
def queue() -> Queue:
    """The queue of this process. Call it in no process that forks others: each has to open its own."""
    url = os.environ.get(URL_VARIABLE, "shm://ledger")
    # A web worker does not wait for room, since others wait for it.
    opened = asyncio.run(connect(url, StorageSettings(when_full="raise")))
    atexit.register(lambda: asyncio.run(opened.close()))
    return opened


@app.post("/accounts/<int:account>/entries")
def post_entries(account: int) -> tuple[dict[str, int], int]:
    """Accept entries. They are posted in this order, after all that were accepted before."""
    entries = [Entry(account, str(entry["identifier"]), int(entry["amount"])) for entry in request.get_json()]
    return {"accepted": queue().register_sync(Post, *entries)}, 202


@app.get("/accounts/<int:account>")
def get_account(account: int) -> dict[str, int]:
    """What is posted so far, and which process says so."""
    return {"balance": balance(account), "entries": len(posted(account)), "web_worker": os.getpid()}


@app.errorhandler(QueueFull)
def come_again(_: QueueFull) -> tuple[dict[str, Any], int, dict[str, str]]:
    return {"error": "too much to do"}, 503, {"Retry-After": "1"}
