"""What the page does with requests that wait for their time, with recurrent ones, and with tubes without a worker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

import shardq.web
from shardq import Queue, connect
from shardq.drivers import SharedStorage
from shardq.later.exported import read_requests
from shardq.recurrent import Recurring
from tests.support.drivers import MIB
from tests.support.homes import Home, on_each_home
from tests.support.letters import Fulfil, Notify, Order, User, letters_at, name_of
from tests.support.page import OWN, asked, fields_of, served, site_of

HOUR_S = 3600
NOTIFY = name_of(Notify)


@pytest.fixture(autouse=True)
def _there(home: Home) -> None:
    """Five users an hour apart, two orders, and a schedule of two hours."""
    if home.url.startswith("shm://"):
        SharedStorage.create(home.name, 8 * MIB).detach()

    async def register(queue: Queue) -> None:
        for number in range(1, 6):
            await queue.register(Notify, User(number, "Ann" if number % 2 else "Bob"), defer=number * HOUR_S)
        await queue.register(Fulfil, Order(1, User(1)), Order(2, User(2)), defer=9 * HOUR_S)
        await queue.register(Notify, User(9, "Cyd"), recurrent=2 * HOUR_S)

    do(home.url, register)


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    with asked(site_of(url, tmp_path)) as client:
        yield client


def do(url: str, act: Any) -> Any:
    async def acted() -> Any:
        async with await connect(url) as queue:
            return await act(queue)

    return asyncio.run(acted())


def counts(url: str) -> tuple[int, int, int]:
    """How many are queued, deferred and recurrent."""

    async def look(queue: Queue) -> tuple[int, int, int]:
        found = await queue.storage.backlog()
        return found.queued, found.deferred, found.recurrent

    return do(url, look)  # type: ignore[no-any-return]


def recurring(url: str) -> Recurring:
    async def look(queue: Queue) -> Recurring:
        [found] = await queue.recurrent.list()
        return found

    return do(url, look)  # type: ignore[no-any-return]


def ids(client: httpx.Client, **query: Any) -> list[str]:
    """Those that the page lists to be ticked."""
    answer = client.get("/later", params=query)
    assert answer.status_code == 200, answer.text
    return re.findall(r'name="id" value="([^"]*)"', answer.text)


def question(client: httpx.Client, path: str, **query: Any) -> str:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.text


def post(client: httpx.Client, action: str, fields: dict[str, list[str]]) -> str:
    return unescape(client.post(f"/{action}", data=fields, headers=OWN).text)


@on_each_home
def test_what_waits_is_listed_and_found_by_a_filter(client: httpx.Client) -> None:
    every = ids(client)

    assert len(every) == 7
    assert ids(client, match="within=150m") == every[:2]
    assert ids(client, match=["name=Ann", "beyond=150m"]) == [every[2], every[4]]
    assert ids(client, handler=name_of(Fulfil)) == every[5:]
    assert ids(client, after=every[3]) == every[4:]
    page = client.get("/later").text
    assert "Cyd" in page
    assert page.count("ask-recurrent?") == 2
    assert client.get("/later", params={"match": "nonsense"}).status_code == 400


@on_each_home
def test_what_is_ticked_is_cancelled_after_it_was_written_to_a_file(
    client: httpx.Client, url: str, tmp_path: Path
) -> None:
    first, second, *_ = every = ids(client)
    asked_for = question(client, "/ask-later", what="cancel", id=[first, second])
    assert "Cancel 2 requests that wait?" in asked_for
    assert counts(url) == (0, 7, 1)

    told = post(client, "cancel", fields_of(asked_for, "cancel"))

    assert "2 requests cancelled." in told
    [file] = tmp_path.glob("shardq-cancelled-*.jsonl")
    assert str(file) in told
    assert [its.id for its in read_requests(str(file))] == [first, second]
    assert ids(client) == every[2:]
    again = post(client, "cancel", fields_of(asked_for, "cancel"))
    assert "0 requests cancelled." in again
    assert "2 had come meanwhile, or were taken out by others." in again


@on_each_home
def test_all_that_fit_come_now_but_none_that_came_after_the_question(client: httpx.Client, url: str) -> None:
    before = ids(client, match="name=Ann")
    asked_for = question(client, "/ask-later", what="run", match="name=Ann")
    assert "Run now 3 requests?" in asked_for
    post(client, "cancel", fields_of(question(client, "/ask-later", what="cancel", id=before[0]), "cancel"))
    do(url, lambda queue: queue.register(Notify, User(11, "Ann"), defer=HOUR_S))
    [later] = set(ids(client, match="name=Ann")) - set(before)

    assert "2 requests came now." in post(client, "run", fields_of(asked_for, "run"))
    assert ids(client, match="name=Ann") == [later]
    assert counts(url) == (2, 5, 1)


def test_a_question_that_is_not_remembered_is_to_be_asked_again(client: httpx.Client, url: str) -> None:
    asked_for = question(client, "/ask-later", what="run", match="name=Ann")
    fields = fields_of(asked_for, "run") | {"question": "any"}
    assert client.post("/run", data=fields, headers=OWN).status_code == 400
    assert counts(url) == (0, 7, 1)


@on_each_home
def test_the_time_that_the_page_said_is_skipped_once(client: httpx.Client, url: str) -> None:
    before = recurring(url)
    [skip] = re.findall(r'href="(ask-recurrent\?what=skip[^"]*)"', client.get("/later").text)
    asked_for = client.get(f"/{unescape(skip)}").text
    assert asked_for.count("<time") == 5
    fields = fields_of(asked_for, "skip")

    assert "It is left out once." in post(client, "skip", fields)
    assert "It came meanwhile, or was skipped by another." in post(client, "skip", fields)

    assert (recurring(url).due - before.due).total_seconds() == 2 * HOUR_S


@on_each_home
def test_a_schedule_is_ended(client: httpx.Client, url: str) -> None:
    [end] = re.findall(r'href="(ask-recurrent\?what=end[^"]*)"', client.get("/later").text)
    fields = fields_of(client.get(f"/{unescape(end)}").text, "end")

    assert "It comes no more." in post(client, "end", fields)

    assert counts(url) == (0, 7, 0)
    assert "there is no recurrent request" in post(client, "end", fields)
    assert "there is no recurrent request" in post(client, "skip", fields)


@on_each_home
def test_a_handler_is_paused_from_what_waits(client: httpx.Client, url: str) -> None:
    assert f"ask-pause?handler={NOTIFY}" in client.get("/later").text
    do(url, lambda queue: queue.storage.pause(NOTIFY))

    page = client.get("/later").text

    assert f"ask-pause?handler={NOTIFY}" not in page
    assert ">paused<" in page


@on_each_home
def test_what_is_in_a_tube_is_parked_after_its_number_was_told(client: httpx.Client, url: str) -> None:
    def register(*users: User) -> None:
        do(url, lambda queue: queue.register(Notify, *users))

    register(User(1), User(2))
    [pipe] = do(url, lambda queue: queue.storage.pipes())
    assert "ask-park?pipe=" in client.get("/thread", params={"pipe": pipe}).text
    asked_for = question(client, "/ask-park", pipe=pipe)
    assert "Park 2 requests of" in asked_for
    register(User(3))

    again = post(client, "park", fields_of(asked_for, "park"))
    assert "Park 3 requests of" in again
    assert "Nothing was done" in again
    assert counts(url)[0] == 3

    assert f"3 requests of {pipe} became dead letters." in post(client, "park", fields_of(again, "park"))
    assert [its.letter.reason for its in letters_at(url)] == ["parked"] * 3
    assert "has nothing in it" in post(client, "park", fields_of(again, "park"))


@on_each_home
def test_what_a_worker_has_or_a_pause_keeps_is_not_parked(client: httpx.Client, url: str) -> None:
    do(url, lambda queue: queue.register(Notify, User(1)))
    [pipe] = do(url, lambda queue: queue.storage.pipes())
    fields = fields_of(question(client, "/ask-park", pipe=pipe), "park")

    do(url, lambda queue: queue.storage.pause(NOTIFY))
    assert "is paused, and none of its requests is handed out" in post(client, "park", fields)
    do(url, lambda queue: queue.storage.resume(NOTIFY))

    async def parked_while_claimed(queue: Queue) -> str:
        key = pipe.rpartition("/")[0]
        token = await queue.storage.claim(key)
        told = await asyncio.to_thread(post, client, "park", fields)
        assert await queue.storage.unclaim(key, token)
        return told

    assert "a worker serves" in do(url, parked_while_claimed)
    assert counts(url)[0] == 1
    assert letters_at(url) == []


@on_each_home
def test_what_is_done_is_recorded_with_the_reason(client: httpx.Client, url: str) -> None:
    def acted(path: str, action: str, **query: Any) -> None:
        fields = fields_of(question(client, path, **query), action)
        post(client, action, fields | {"reason": [f" so that {action} is tried "]})

    do(url, lambda queue: queue.register(Notify, User(1)))
    [pipe] = do(url, lambda queue: queue.storage.pipes())
    [skipped] = re.findall(r'ask-recurrent\?what=skip&amp;id=([^"]*)"', client.get("/later").text)
    skipped = unquote(skipped)
    first, *_ = ids(client)

    acted("/ask-park", "park", pipe=pipe)
    acted("/ask-later", "cancel", what="cancel", id=[first])
    acted("/ask-later", "run", what="run", match=["name=Ann", "within=9h"])
    acted("/ask-recurrent", "skip", what="skip", id=skipped)
    acted("/ask-recurrent", "end", what="end", id=skipped)

    found = do(url, lambda queue: queue.storage.actions())[::-1]
    assert [(its.what, its.target, its.count) for its in found] == [
        ("park", pipe, 1),
        ("later cancel", first, 1),
        ("later run", "name=***, within=9h", 2),
        ("later skip", skipped, 1),
        ("recurrent cancel", skipped, 1),
    ]
    assert [its.reason for its in found] == [
        f"so that {action} is tried" for action in ("park", "cancel", "run", "skip", "end")
    ]
    assert {its.by for its in found} == {"page"}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/ask-later", {"what": "burn", "all": "1"}),
        ("/ask-later", {"what": "run"}),
        ("/ask-later", {"what": "run", "id": "none"}),
        ("/ask-recurrent", {"what": "cancel", "id": "m/H/0/0#0"}),
        ("/ask-recurrent", {"what": "skip", "id": "m/H/0/0#0"}),
        ("/ask-park", {"pipe": "m/H"}),
        ("/ask-park", {"pipe": "m/H/0/none"}),
    ],
)
def test_what_makes_no_sense_is_refused(client: httpx.Client, path: str, query: dict[str, str]) -> None:
    assert client.get(path, params=query).status_code == 400


@pytest.mark.parametrize("action", ["cancel", "run"])
@pytest.mark.parametrize("count", ["", "-1", "1e3", "9" * 19])
def test_an_action_has_to_say_how_many_it_was_told(client: httpx.Client, url: str, action: str, count: str) -> None:
    assert client.post(f"/{action}", data={"all": "1", "count": count}, headers=OWN).status_code == 400
    assert counts(url) == (0, 7, 1)


def test_without_the_right_to_see_payloads_none_is_shown_or_told(url: str) -> None:
    def authorize(request: Any, right: str) -> bool:
        return right != "view_payloads"

    with served(shardq.web.app(url, authorize=authorize)) as address, httpx.Client(base_url=address) as client:
        assert len(ids(client)) == 7
        assert not re.search("Ann|Bob|Cyd", client.get("/later").text)
        assert len(ids(client, match="within=150m")) == 2
        assert client.get("/later", params={"match": "name=Ann"}).status_code == 400
        assert client.get("/ask-later", params={"what": "run", "match": "name=Ann"}).status_code == 400
        fields = {"match": "name=Ann", "count": "3"}
        assert client.post("/run", data=fields, headers=OWN).status_code == 400
        assert client.get("/stack").status_code == 403
    assert counts(url) == (0, 7, 1)
