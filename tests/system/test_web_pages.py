"""What the page shows of a storage, and what it does with dead letters."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount

import shardq.web
from shardq import connect
from shardq.cli import main
from shardq.drivers import SharedStorage
from shardq.letters.exported import read_letters
from shardq.model import MOST_PAUSES, Action
from shardq.web import paging
from shardq.web.access import NamedByProxy
from shardq.web.application import VIEWS, application
from tests.support import hostile
from tests.support.drivers import MIB
from tests.support.homes import Home, on_each_home
from tests.support.letters import Fulfil, Login, Notify, Order, SignIn, User, let_fail, letters_at, name_of
from tests.support.page import OWN, SECRET, asked, fields_of, served, site_of
from tests.support.tasks import LIMIT_S

#: The file of htmx 2.0.11, as its package has it.
HTMX = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
ORDERS = [Order(number, User(number % 3, "Ann"), "timed out" if number % 2 else "key") for number in range(6)]
FULFIL = name_of(Fulfil)


@pytest.fixture(autouse=True)
def _room(home: Home) -> None:
    if home.url.startswith("shm://"):
        SharedStorage.create(home.name, 32 * MIB).detach()


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    with asked(site_of(url, tmp_path)) as client:
        yield client


@pytest.fixture
def orders(url: str) -> list[str]:
    """The ids of six dead letters."""
    let_fail(url, Fulfil, *ORDERS)
    return [its.id for its in letters_at(url)]


def queued(url: str) -> int:
    async def look() -> int:
        async with await connect(url) as queue:
            return (await queue.storage.backlog()).queued

    return asyncio.run(look())


def register(url: str, handler: Any, *requests: Any, **options: Any) -> None:
    async def send() -> None:
        async with await connect(url) as queue:
            await queue.register(handler, *requests, **options)

    asyncio.run(send())


def record(url: str, action: Action) -> None:
    async def send() -> None:
        async with await connect(url) as queue:
            await queue.storage.record(action)

    asyncio.run(send())


def shown(client: httpx.Client, path: str, **query: Any) -> str:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def told(client: httpx.Client, **query: Any) -> dict[str, list[str]]:
    """What the page that asks whether to drop letters posts."""
    return fields_of(client.get("/ask", params={"what": "drop"} | query).text, "drop")


@on_each_home
def test_the_pages_show_what_is_there(client: httpx.Client, url: str, orders: list[str]) -> None:
    register(url, Notify, User(7, "Ann"))
    register(url, Notify, User(8, "Bob"), recurrent="30 8 * * MON-FRI")

    assert re.search(r"Dead letters.*?>6<", shown(client, "/"), re.DOTALL)
    assert name_of(Notify) in shown(client, "/handlers")
    assert "No worker serves" in shown(client, "/workers")
    assert f"{name_of(Notify)}/" in shown(client, "/threads")
    assert shown(client, "/later").count("<time") >= 5
    [tube] = json.loads(client.get("/api/v1/tubes").text)
    thread = shown(client, "/thread", pipe=tube["pipe"])
    assert "Ann" in thread
    assert "Why it does not run" in thread
    groups = shown(client, "/dead")
    assert "ValueError" in groups
    assert "KeyError" in groups
    assert "letters.py:" in groups
    assert client.get("/healthz").status_code == 503
    assert "\nshardq_dead_letters{" in client.get("/metrics").text


@on_each_home
def test_a_handler_is_paused_and_goes_on(client: httpx.Client, url: str) -> None:
    name = name_of(Notify)
    register(url, Notify, User(7, "Ann"))
    question = client.get("/ask-pause", params={"handler": name}).text
    fields = fields_of(question, "pause") | {"span": ["3600"], "reason": ["the mailer is <b>down</b>"]}

    assert client.post("/pause", data=fields, headers=OWN).headers["location"] == "handlers"
    page = client.get("/handlers").text
    assert "the mailer is &lt;b&gt;down&lt;/b&gt;" in page
    assert ">paused<" in page
    assert f"ask-pause?handler={name}" not in page

    client.post("/resume", data=fields_of(page, "resume"), headers=OWN)
    assert ">paused<" not in client.get("/handlers").text


@on_each_home
def test_all_handlers_are_paused_and_go_on(client: httpx.Client, url: str) -> None:
    names = sorted(map(name_of, (Notify, Fulfil)))
    register(url, Notify, User(7, "Ann"))
    register(url, Fulfil, ORDERS[0])
    assert "Pause all…" in shown(client, "/")
    question = shown(client, "/ask-pause", all=1)
    assert "Pause 2 handlers?" in question
    fields = fields_of(question, "pause") | {"span": ["3600"], "reason": ["the database moves"]}
    assert fields["handler"] == names

    assert client.post("/pause", data=fields, headers=OWN).headers["location"] == "./"
    page = shown(client, "/")
    assert "2 handlers are paused." in page
    assert shown(client, "/handlers").count("the database moves") == 2
    refused = client.get("/ask-pause", params={"all": 1})
    assert (refused.status_code, "there is no handler to pause" in refused.text) == (400, True)

    assert client.post("/resume", data=fields_of(page, "resume"), headers=OWN).headers["location"] == "./"
    assert "are paused" not in shown(client, "/")
    actions = json.loads(client.get("/api/v1/audit").text)
    assert [(its["what"], its["target"], its["count"], its["reason"]) for its in actions] == [
        ("resume", ", ".join(names), 2, ""),
        ("pause", ", ".join(names), 2, "the database moves"),
    ]


def test_a_handler_that_cannot_be_paused_leaves_none_of_the_others_out(client: httpx.Client, url: str) -> None:
    register(url, Notify, User(7, "Ann"))
    fields = {"handler": ["m/First", "none", "m/Last"], "span": ""}
    refused = client.post("/pause", data=fields, headers=OWN)

    assert refused.status_code == 400
    assert "is no handler: name it as module/Handler; 2 others are paused" in refused.text
    assert all(name in shown(client, "/handlers") for name in ("m/First", "m/Last"))
    assert [its["count"] for its in json.loads(client.get("/api/v1/audit").text)] == [2]


def test_no_more_are_paused_at_once_than_there_is_room_for(client: httpx.Client, url: str) -> None:
    register(url, Notify, User(7, "Ann"))
    for number in range(MOST_PAUSES):
        client.post("/pause", data={"handler": f"m/H{number}", "span": ""}, headers=OWN)
    refused = client.get("/ask-pause", params={"all": 1})
    assert (refused.status_code, "no more than 31 are paused" in refused.text) == (400, True)


@on_each_home
def test_the_audit_page_shows_who_did_what(client: httpx.Client, url: str, orders: list[str]) -> None:
    assert "has done anything" in shown(client, "/audit")
    name = name_of(Notify)
    client.post("/pause", data={"handler": name, "span": "", "reason": "down <b>again</b>"}, headers=OWN)
    client.post("/resume", data={"handler": name}, headers=OWN)
    client.post("/resume", data={"handler": name}, headers=OWN)  # it is not paused any more
    fields = told(client, handler=FULFIL, match=["user.id=1"])
    client.post("/drop", data=fields | {"reason": ["spam"]}, headers=OWN)
    form = {"id": orders[0], "request": json.dumps(_request_of(client, orders[0])), "reason": "as it was"}
    client.post("/edit", data=form, headers=OWN)

    page = client.get("/audit").text
    actions = json.loads(client.get("/api/v1/audit").text)

    assert [(its["what"], its["target"], its["count"], its["reason"]) for its in actions] == [
        ("dead edit", orders[0], 1, "as it was"),
        ("dead drop", f"{FULFIL}, user.id=***", 2, "spam"),
        ("resume", name, 1, ""),
        ("pause", name, 1, "down <b>again</b>"),
    ]
    assert {its["by"] for its in actions} == {"page"}
    assert {its["user"] for its in actions} == {getpass.getuser()}
    assert "down &lt;b&gt;again&lt;/b&gt;" in page
    assert page.count('<time datetime="') == 4
    assert re.search(r'title="\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"', page)
    assert f"by page, process {os.getpid()} on {socket.gethostname()}" in page


def _request_of(client: httpx.Client, letter: str) -> Any:
    return json.loads(client.get("/message", params={"id": letter}).text)


def test_programs_are_told_from_browsers(url: str, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Origin": ""}
    with asked(site_of(url, tmp_path), enters=False) as client:
        headers["Origin"] = str(client.base_url)
        assert client.post("/pause", data={"handler": "m/H", "span": ""}, headers=headers).status_code == 303
        [action] = json.loads(client.get("/api/v1/audit", headers=headers).text)
    assert (action["what"], action["by"]) == ("pause", "API")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_users_of_a_proxy_are_named(url: str, tmp_path: Path, encoding: str) -> None:
    headers = {name.encode(): value.encode(encoding) for name, value in (OWN | {"X-User": "änn@example.com"}).items()}
    app = application(site_of(url, tmp_path), NamedByProxy("X-User"))
    with served(app) as address, httpx.Client(base_url=address, headers=headers, timeout=LIMIT_S) as client:
        assert client.post("/pause", data={"handler": "m/H", "span": ""}).status_code == 303
        [action] = json.loads(client.get("/api/v1/audit").text)
    assert (action["user"], action["by"]) == ("änn@example.com", "page")


def test_users_of_an_application_are_named(url: str) -> None:
    class Known(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
            return AuthCredentials(), SimpleUser("bob")

    app = shardq.web.app(url, authorize=lambda request, right: request.user.is_authenticated, hosts=["app.example"])
    site = Starlette(routes=[Mount("/jobs", app)], middleware=[Middleware(AuthenticationMiddleware, backend=Known())])
    headers = OWN | {"Host": "app.example"}
    with served(site) as address, httpx.Client(base_url=f"{address}/jobs", headers=headers, timeout=LIMIT_S) as client:
        assert client.post("/pause", data={"handler": "m/H", "span": ""}).status_code == 303
        [action] = json.loads(client.get("/api/v1/audit").text)
    assert (action["user"], action["by"]) == ("bob", "page")


@pytest.mark.parametrize(
    "fields", [{"handler": "no name"}, {"handler": "m/H", "span": "7"}, {"handler": "m/H", "reason": "x" * 129}]
)
def test_what_cannot_be_paused_is_refused(client: httpx.Client, fields: dict[str, str]) -> None:
    assert client.post("/pause", data=fields, headers=OWN).status_code == 400
    assert client.get("/handlers").text.count(">paused<") == 0


@on_each_home
def test_letters_are_found_by_a_filter(client: httpx.Client, url: str, orders: list[str]) -> None:
    def found(*filters: str) -> list[str]:
        return re.findall(r'name="id" value="([^"]*)"', shown(client, "/dead", handler=FULFIL, match=filters))

    assert found() == orders
    assert len(found("type=KeyError")) == 3
    assert len(found("type=KeyError", "user.id=1")) == 1
    assert found("older=1h") == []
    assert "is no filter" in unescape(client.get("/dead", params={"match": "nonsense"}).text)


@on_each_home
def test_all_that_fit_are_put_back_after_their_number_was_told(
    client: httpx.Client, url: str, orders: list[str]
) -> None:
    asked_for = client.get("/ask", params={"what": "requeue", "handler": FULFIL, "match": "type=KeyError"}).text

    assert "Put back 3 dead letters?" in asked_for
    assert len(letters_at(url)) == 6
    answer = client.post("/requeue", data=fields_of(asked_for, "requeue"), headers=OWN)
    assert "3 put back" in answer.text
    assert len(letters_at(url)) == 3
    assert queued(url) == 3


def test_more_than_was_told_are_not_touched(client: httpx.Client, url: str, orders: list[str]) -> None:
    fields = told(client, all="1")
    let_fail(url, Fulfil, *ORDERS)

    assert "6 dropped" in client.post("/drop", data=fields, headers=OWN).text
    assert len(letters_at(url)) == 6
    fields = told(client, all="1") | {"count": ["2"]}
    assert "Drop 6 dead letters?" in client.post("/drop", data=fields, headers=OWN).text
    assert len(letters_at(url)) == 6


@on_each_home
def test_letters_are_written_to_a_file_before_they_are_dropped(
    client: httpx.Client, url: str, orders: list[str], tmp_path: Path
) -> None:
    fields = told(client, id=orders[:2])

    answer = client.post("/drop", data=fields, headers=OWN)

    [file] = tmp_path.glob("shardq-dropped-*.jsonl")
    assert str(file) in answer.text
    assert [its.id for its in read_letters(str(file))] == orders[:2]
    assert [its.id for its in letters_at(url)] == orders[2:]


def test_what_cannot_be_written_to_a_file_is_not_dropped(url: str, orders: list[str]) -> None:
    with asked(site_of(url, Path("/nowhere"))) as client:
        fields = told(client, all="1")
        answer = client.post("/drop", data=fields, headers=OWN).text
        assert "cannot be written: No such file or directory; have the page write to another folder" in unescape(answer)
    assert [its.id for its in letters_at(url)] == orders


@on_each_home
def test_a_request_is_edited_and_put_back(client: httpx.Client, url: str, orders: list[str]) -> None:
    def edited(text: str) -> str:
        return unescape(client.post("/edit", data={"id": orders[0], "request": text}, headers=OWN).text)

    values = msgspec.to_builtins(ORDERS[0], str_keys=True) | {"data": "/wA=", "user": {"id": 0, "name": "Zoe"}}
    assert "is no JSON" in edited("{")
    assert "was a whole number" in edited(json.dumps(values | {"number": "one"}))
    assert letters_at(url)[0].id == orders[0]
    assert "1 put back" in edited(json.dumps(values))
    assert letters_at(url)[0].id == orders[1]
    [tube] = json.loads(client.get("/api/v1/tubes").text)
    assert "Zoe" in shown(client, "/thread", pipe=tube["pipe"])


@pytest.mark.parametrize(
    ("text", "has_a_form"), [("x" * 18_000, True), ("\N{CJK UNIFIED IDEOGRAPH-6F22}" * 8_000, False)]
)
def test_a_request_is_edited_where_a_form_takes_it(
    client: httpx.Client, url: str, text: str, *, has_a_form: bool
) -> None:
    """A browser sends three characters for each byte, and two bytes for the end of a line."""
    let_fail(url, Fulfil, Order(1, User(1, text), "how"))
    [letter] = letters_at(url)
    page = client.get("/letter", params={"id": letter.id}).text
    area = re.search(r"<textarea [^>]*>(.*)</textarea>", page, re.DOTALL)

    assert (area is not None) == has_a_form
    if area:
        form = {"id": letter.id, "request": unescape(area[1]).replace("\n", "\r\n"), "reason": "\N{BLACK STAR}" * 128}
        assert "1 put back" in client.post("/edit", data=form, headers=OWN).text


def test_large_requests_are_not_decoded_for_a_page(client: httpx.Client, url: str) -> None:
    large = "x" * 300_000
    let_fail(url, Fulfil, Order(1, User(1, large), "key"))
    register(url, Notify, User(2, large), User(3, "Ann"))
    register(url, Notify, User(4, large), User(5, "Bob"), defer=60)
    register(url, Notify, User(6, large), recurrent=60)
    [letter] = letters_at(url)

    tube = shown(client, "/thread", pipe=f"{name_of(Notify)}/0/0")
    assert ('"bytes": 300015' in tube, "Ann" in tube) == (True, True)
    later = shown(client, "/later")
    assert (later.count('{"bytes": 300015}'), "Bob" in later) == (2, True)
    page = shown(client, "/letter", id=letter.id)
    assert re.search(r'"bytes": \d+\s}</pre>', page)
    assert "<textarea" not in page
    assert large in client.get("/message", params={"id": letter.id}).text


def test_secrets_are_hidden_everywhere(client: httpx.Client, url: str) -> None:
    let_fail(url, SignIn, Login("ann", "my-password", 4711, {"serial_number": "XK-1"}))
    [letter] = letters_at(url)
    pages = [client.get(path, params={"id": letter.id}).text for path in ("/letter", "/message", "/api/v1/dead")]

    assert all("***" in text for text in pages)
    assert not any(secret in text for text in pages for secret in ("my-password", "4711", "XK-1"))
    assert b64encode(letter.letter.message).decode() not in client.get("/thread", params={"pipe": letter.grave}).text


@pytest.mark.parametrize("path", VIEWS)
def test_what_is_hostile_is_inert(client: httpx.Client, url: str, path: str) -> None:
    text = f"""<script>alert(1)</script><img src=x onerror=alert(1)>"''></textarea>{{{{7*7}}}}{hostile.ALL}"""
    let_fail(url, hostile.Speaks, hostile.Text(text + "x" * 65536))
    register(url, hostile.Echoes, hostile.Text(text))
    record(url, Action(text, text, 1, text, text, 0, 1, text, text))
    [letter] = letters_at(url)
    [tube] = json.loads(client.get("/api/v1/tubes").text)

    answer = client.get(path, params={"id": letter.id, "pipe": tube["pipe"], "match": f"error~{text}"})

    assert answer.status_code == 200
    if not answer.headers["content-type"].startswith("application/json"):
        assert not re.search("<script>alert|<img|</textarea>{{", answer.text)
        assert [its for its in hostile.acting(answer.text) if len(its) == 1] == []  # HTML knows no lines
        assert len(answer.text) < 400_000


def test_programs_are_led_through_the_letters_that_fit(
    client: httpx.Client, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"handler": FULFIL, "match": ["user.name=Ann", "type=KeyError"]}
    fitting = client.get("/api/v1/dead", params=wanted).json()
    assert len(fitting) == 3
    monkeypatch.setattr(paging, "PAGE", 1)
    answer = client.get("/api/v1/dead", params=wanted)
    got = answer.json()
    while "next" in answer.links:
        answer = client.get(urljoin(str(answer.url), answer.links["next"]["url"]))
        got += answer.json()
    assert got == fitting


@on_each_home
def test_programs_get_what_the_commands_print(
    client: httpx.Client, url: str, orders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    register(url, Notify, User(8, "Bob"), recurrent="30 8 * * MON-FRI")
    register(url, Notify, User(8, "Bob"))
    record(url, Action("pause", "m/H"))
    for path, words in {
        "dead": ("dead", "list"),
        "tubes": ("tubes",),
        "recurrent": ("recurrent", "list"),
        "status": ("status",),
        "audit": ("audit",),
    }.items():
        capsys.readouterr()
        assert main([*words, "--json", "--url", url]) == 0
        printed, got = json.loads(capsys.readouterr().out), json.loads(client.get(f"/api/v1/{path}").text)
        assert _shape(got) == _shape(printed)


def test_no_page_is_looked_for_while_no_browser_shows_it(client: httpx.Client) -> None:
    first, second = client.get("/api/v1/status").text, client.get("/api/v1/status").text

    assert first == second  # one look within a second, for all browsers


def test_the_script_that_renews_parts_is_the_one_that_was_published() -> None:
    file = Path(shardq.web.__file__).parent / "static" / "htmx.min.js"

    assert sha256(file.read_bytes()).hexdigest() == HTMX


def _shape(value: Any) -> Any:
    """Names and kinds of what is there."""
    if isinstance(value, dict):
        return {name: _shape(its) for name, its in value.items() if name not in ("rates", "oldest_age_s")}
    return [_shape(its) for its in value] if isinstance(value, list) else type(value).__name__
