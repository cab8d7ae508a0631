"""What the page does with workers and supervisors: only with those of its own host, and only by their pids."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

from shardq.cli.top.rows import TABLES
from shardq.sampling import Sampler
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.crashing import TIMEOUT, Ask, Fragile, environment
from tests.support.homes import Home, ServerHome, on_each_home
from tests.support.jobs import Folder, Gated
from tests.support.page import OWN, asked, fields_of, site_of
from tests.support.programs import Supervise, lives, until
from tests.support.supervised import Start
from tests.support.supervised import client as queue_at

JOBS = jobs.__name__


@pytest.fixture
def client(home: Home) -> Iterator[httpx.Client]:
    with asked(site_of(home.url)) as client:
        yield client


@pytest.fixture
def family(home: Home, start: Start) -> Iterator[Supervise]:
    program = start(f"{JOBS}:Gated", "--url", home.url, "--workers", 1).serving()
    yield program
    assert program.stop() == Exit.OK


def asked_for(client: httpx.Client, path: str, **query: Any) -> str:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def worker_of(client: httpx.Client, program: Supervise) -> int:
    """Its one worker, once the page shows it."""
    [worker] = program.workers(1)
    until(lambda: f"pid={worker}" in client.get("/workers").text, "the page shows the worker")
    return worker


def post(client: httpx.Client, action: str, fields: dict[str, list[str]]) -> httpx.Response:
    return client.post(f"/{action}", data=fields, headers=OWN)


@on_each_home
def test_a_worker_is_replaced_after_its_batch(
    client: httpx.Client, home: Home, family: Supervise, folder: Folder
) -> None:
    worker = worker_of(client, family)
    leave_two(home, folder)
    folder.until("begin", 0)
    until(lambda: "Gated/0" in client.get("/ask-worker", params={"what": "replace", "pid": worker}).text, "it is busy")
    question = asked_for(client, "/ask-worker", what="replace", pid=worker)
    assert f"process {worker}?" in question

    answer = post(client, "replace", fields_of(question, "replace"))

    assert "ends after the batch in hand" in answer.text
    assert lives(worker)
    folder.permit(2)
    assert [line.pid for line in folder.until("done", 0, 1)] == [worker, worker]
    until(lambda: not lives(worker), "the worker has ended")
    assert worker_of(client, family) != worker
    assert post(client, "replace", {"pid": [str(worker)]}).status_code == 400


@on_each_home
def test_a_worker_is_killed_by_who_types_its_pid(client: httpx.Client, home: Home, family: Supervise) -> None:
    worker = worker_of(client, family)
    question = asked_for(client, "/ask-worker", what="kill", pid=worker)
    assert f"Type its process number, {worker}" in question
    fields = fields_of(question, "kill")

    for typed in ("", str(worker + 1), "kill"):
        refused = post(client, "kill", fields | {"typed": [typed]})
        assert refused.status_code == 400
        assert "nothing is done" in refused.text
    assert lives(worker)

    asked_for_it = fields | {"typed": [f" {worker} "], "reason": ["it hangs"]}
    assert "It was killed" in post(client, "kill", asked_for_it).text
    until(lambda: not lives(worker), "the worker is dead")
    with queue_at(home.url) as queue:
        [action] = asyncio.run(queue.storage.actions())
    assert (action.what, action.target, action.count) == ("kill worker", f"process {worker}", 1)
    assert (action.reason, action.by) == ("it hangs", "page")
    assert worker_of(client, family) != worker
    assert post(client, "kill", fields | {"typed": [str(worker)]}).status_code == 400


@on_each_home
def test_a_family_grows_shrinks_and_gets_new_code(client: httpx.Client, family: Supervise) -> None:
    worker_of(client, family)

    def ordered(what: str, action: str) -> str:
        question = asked_for(client, "/ask-family", what=what, supervisor=family.pid)
        return post(client, action, fields_of(question, action)).text

    assert "one worker more" in ordered("more", "scale")
    family.workers(2)
    until(lambda: client.get("/workers").text.count("what=kill") == 2, "the page shows both")
    assert "one worker less" in ordered("fewer", "scale")
    family.workers(1)
    assert "tries the new code" in ordered("reload", "reload")
    family.hear("reloaded")
    until(lambda: len(family.some_workers()) == 1, "one worker is there")
    for fields in ({}, {"supervisor": ["1"]}, {"supervisor": [str(family.pid)], "what": ["reload"]}):
        assert post(client, "scale", fields).status_code == 400


@on_each_home
def test_the_stack_of_a_busy_worker_is_shown(
    client: httpx.Client, home: Home, family: Supervise, folder: Folder
) -> None:
    worker = worker_of(client, family)
    leave_two(home, folder)
    folder.until("begin", 0)
    until(lambda: "_take_permit" in client.get("/stack").text, "it has written that it begins, and waits")

    for path in ("/stack", f"/stack?pid={worker}"):
        page = client.get(path).text
        assert "_take_permit" in page
        assert f"process {worker}" in page
    assert "It is no worker of this host any more" in client.get("/stack", params={"pid": family.pid}).text
    folder.permit(2)
    folder.until("done", 0, 1)


@on_each_home
def test_a_page_without_the_right_to_act_shows_no_order(home: Home, family: Supervise) -> None:
    with asked(site_of(home.url, read_only=True)) as client:
        until(lambda: "stack?pid=" in client.get("/workers").text, "the page shows the worker")
        assert not re.search("ask-worker|ask-family|<button", client.get("/workers").text)


@pytest.mark.parametrize("home", [ServerHome], indirect=True)
def test_workers_of_another_host_are_not_touched(
    client: httpx.Client, family: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, host = worker_of(client, family), socket.gethostname()
    fields = fields_of(client.get("/ask-worker", params={"what": "replace", "pid": worker}).text, "replace")
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")

    page = asked_for(client, "/workers")

    assert f"Workers of {host} are steered there" in page
    assert not re.search("ask-worker|ask-family|stack.pid", page)
    assert post(client, "replace", fields).status_code == 400
    assert post(client, "reload", {"supervisor": [str(family.pid)], "what": ["reload"]}).status_code == 400
    assert lives(worker)


def leave_two(home: Home, folder: Folder) -> None:
    """Have the family do two items in one batch."""
    with queue_at(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(2)))


def test_the_deadline_of_a_batch_is_shown(client: httpx.Client, home: Home, start: Start, folder: Folder) -> None:
    lasts = environment(folder.path, "") | {TIMEOUT: "7000"}
    program = start(f"{Fragile.__module__}:Fragile", "--url", home.url, "--workers", 1, environment=lasts).serving()
    with queue_at(home.url) as queue:
        queue.register_sync(Fragile, Ask(0, "hang"))

    until(lambda: "Fragile/0" in client.get("/workers").text, "the worker is busy")

    left_s = client.get("/api/v1/status").json()["workers"][0]["left_s"]
    assert 6000 < left_s <= 7000
    assert re.search(r"<td class=\"n\">1:5\d:\d\d</td>", client.get("/workers").text)
    sampler = Sampler(home.url)
    [row] = TABLES["workers"].rows(asyncio.run(sampler.look()), ())
    sampler.close()
    assert any(re.fullmatch(r"1:5\d:\d\d", cell) for cell in row.cells)
    program.kill_family()
