"""The page does nothing but for its own user: tokens, foreign sites, foreign hosts, read only, rights."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.routing import Mount

import shardq.web
from shardq.drivers import SharedStorage
from shardq.errors import ConfigurationError
from shardq.system.addresses import Address
from shardq.web import connections
from shardq.web.access import NamedByProxy, Right, Token
from shardq.web.application import ACTIONS, PROBES, QUESTIONS, VIEWS, application
from shardq.web.guarding import MOST_BYTES
from shardq.web.serving import serve, site_at
from tests.support.drivers import MIB
from tests.support.ids import text_of
from tests.support.letters import Fulfil, Order, User, let_fail, letters_at
from tests.support.page import COOKIE, OWN, SECRET, asked, served, site_of
from tests.support.tasks import LIMIT_S

pytestmark = pytest.mark.every_case

SEEN = [*VIEWS, *QUESTIONS]
ALL = [*SEEN, *ACTIONS]
SECURE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
}


@pytest.fixture
def url(name: str) -> str:
    SharedStorage.create(name, 8 * MIB).detach()
    return f"shm://{name}"


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with asked(site_of(url)) as client:
        yield client


@pytest.fixture
def stranger(url: str) -> Iterator[httpx.Client]:
    with asked(site_of(url), enters=False) as client:
        yield client


@pytest.mark.parametrize(
    "given", [{}, {"Cookie": f"{COOKIE}={SECRET}"}, {"Authorization": "Bearer wrong"}], ids=["none", "cookie", "bearer"]
)
def test_nothing_is_answered_without_the_token(stranger: httpx.Client, given: dict[str, str]) -> None:
    for path in ALL:
        answer = stranger.request("POST" if path in ACTIONS else "GET", path, headers=OWN | given)

        assert answer.status_code == 401
        assert "shm://" not in answer.text


def test_a_wrong_token_in_the_address_lets_no_user_in(stranger: httpx.Client) -> None:
    answer = stranger.get("/?token=wrong")

    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_has(stranger: httpx.Client) -> None:
    answer = stranger.get("/dead", params={"token": SECRET})

    assert answer.status_code == 200
    assert 'content="0; url=dead"' in answer.text
    kept = answer.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=strict" in kept
    assert SECRET not in kept
    assert stranger.get("/dead").status_code == 200


def test_a_program_gives_the_token_in_a_header(stranger: httpx.Client) -> None:
    assert stranger.get("/api/v1/status", headers={"Authorization": f"Bearer {SECRET}"}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_each_route_has_its_verbs_and_no_others(client: httpx.Client, method: str) -> None:
    refused = [path for path in ALL if client.request(method, path, headers=OWN).status_code == 405]

    assert refused == [path for path in ALL if method not in ({"POST"} if path in ACTIONS else {"GET", "HEAD"})]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:81"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {},
    ],
    ids=text_of,
)
def test_no_other_site_acts(client: httpx.Client, headers: dict[str, str]) -> None:
    for path in ACTIONS:
        assert client.post(path, headers=headers, data={"all": "1"}).status_code == 403


def test_the_page_itself_acts(client: httpx.Client) -> None:
    for own in (OWN, {"Origin": str(client.base_url).rstrip("/")}):
        for path in ACTIONS:
            assert client.post(path, headers=own, data={"all": "1"}).status_code == 400  # it lacks the number


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:8700.evil.example", "[::2]:80"])
def test_no_foreign_host_is_answered(client: httpx.Client, host: str) -> None:
    for path in (*ALL, *PROBES, "/static/page.js"):
        method = "POST" if path in ACTIONS else "GET"
        assert client.request(method, path, headers=OWN | {"Host": host}).status_code == 421


@pytest.mark.parametrize("listens_at", ["[fd00::1]:8700", "[FD00:0::1]:8700", "Jobs.Example:8700", "10.0.0.1:8700"])
def test_the_address_that_it_listens_at_is_answered(url: str, listens_at: str) -> None:
    host = listens_at.lower().replace(":0::", "::")  # as browsers write it
    with asked(site_at(Address.parsed(listens_at), site_of(url))) as client:
        assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("ask", [{}, {"method": "POST"}, {"headers": {"Host": "evil.example"}}], ids=text_of)
def test_each_answer_says_what_a_browser_may_do_with_it(client: httpx.Client, ask: dict[str, Any]) -> None:
    for path in (*ALL, *PROBES, "/static/page.css", "/nowhere"):
        answer = client.request(**{"method": "GET", "url": path} | ask)
        assert {name: answer.headers.get(name) for name in SECURE} == SECURE
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_what_is_read_only_has_no_actions(url: str) -> None:
    with asked(site_of(url, read_only=True)) as client:
        for path in (*ACTIONS, *QUESTIONS):
            assert client.get(path).status_code == 404
            assert client.post(path, headers=OWN).status_code == 404
        assert {client.post(path, headers=OWN).status_code for path in VIEWS} == {405}


def test_what_is_read_only_shows_no_button(url: str) -> None:
    let_fail(url, Fulfil, Order(1, User(1), "timed out"))
    [letter] = letters_at(url)
    for read_only in (False, True):
        with asked(site_of(url, read_only=read_only)) as client:
            texts = [client.get("/dead?all=1").text, client.get("/letter", params={"id": letter.id}).text]
        assert [("Drop" in text or 'method="post"' in text) for text in texts] == [not read_only] * 2


def test_a_body_may_not_be_large(client: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        yield from [b"a=" + b"b" * 1024] * (MOST_BYTES // 1024 + 1)

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/drop", headers=OWN | kind, content=b"a" * (MOST_BYTES + 1)).status_code == 413
    assert client.post("/drop", headers=OWN | kind, content=parts()).status_code == 413


ENTERS = (
    f"Host: localhost\r\nSec-Fetch-Site: same-origin\r\nAuthorization: Bearer {SECRET}\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\n"
)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "GET / HT",
        f"POST /park HTTP/1.1\r\n{ENTERS}Content-Length: 9\r\n\r\nid=",
        1000 * "GET /static/htmx.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["sends nothing", "sends half a head", "sends half a body", "takes no answer"],
)
def test_no_client_keeps_a_connection(monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    monkeypatch.setattr(connections, "PATIENCE_S", 0.02)
    lost = losses(monkeypatch)

    with served(application(site_of("shm://none"), Token(SECRET, COOKIE))) as address, connected(address) as slow:
        slow.send(sent.encode())

        assert lost.get(timeout=LIMIT_S)


def test_the_page_has_not_more_connections_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    lost = losses(monkeypatch)

    with served(application(site_of("shm://none"), Token(SECRET, COOKIE))) as address:
        with connected(address), connected(address), connected(address):
            assert lost.get(timeout=LIMIT_S)
        assert httpx.get(f"{address}/static/icon.svg").status_code == 200


def losses(monkeypatch: pytest.MonkeyPatch) -> SimpleQueue[bool]:
    """Gets an item for each connection that the page has no more."""
    lost, former = SimpleQueue[bool](), connections.Connection.connection_lost

    def connection_lost(its: connections.Connection, error: Exception | None) -> None:
        former(its, error)
        lost.put(True)

    monkeypatch.setattr(connections.Connection, "connection_lost", connection_lost)
    return lost


def connected(address: str) -> socket.socket:
    """A client that takes little before it reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect((URL(address).hostname, URL(address).port))
    return made


@pytest.mark.parametrize("left", ["", "/queue/a"], ids=["the proxy cuts it", "the proxy leaves it"])
def test_a_prefix_changes_nothing(url: str, left: str) -> None:
    with asked(site_of(url, prefix="/queue/a")) as client:
        for path in ALL:
            method = "POST" if path in ACTIONS else "GET"
            assert client.request(method, left + path, headers=OWN).status_code in (200, 400)


def test_a_prefix_ends_with_a_slash(url: str) -> None:
    with asked(site_of(url, prefix="/queue/a"), enters=False) as client:
        assert client.get("/queue/a").headers["location"] == "a/"
        assert "Path=/queue/a;" in client.get("/queue/a/", params={"token": SECRET}).headers["set-cookie"]


def test_all_addresses_are_relative(client: httpx.Client) -> None:
    addresses = set[str]()
    for path in VIEWS:
        addresses |= set(
            re.findall(r'(?:href|src|action)="([^"]*)"', client.get(path, params={"pipe": "m/H/0/0"}).text)
        )

    assert len(addresses) > 8
    assert [its for its in addresses if its.startswith("/") or ":" in its.partition("?")[0]] == []


def test_it_is_mounted_in_an_application_that_says_who_may_what(url: str) -> None:
    let_fail(url, Fulfil, Order(1, User(1, "Ann"), "it timed out"))
    [letter] = letters_at(url)
    rights: set[Right] = set()

    async def authorize(request: Request, right: Right) -> bool:
        return right in rights

    site = Starlette(routes=[Mount("/jobs", shardq.web.app(url, authorize=authorize, hosts=["app.example"]))])
    with served(site) as address, httpx.Client(base_url=address, headers={"Host": "app.example"}) as client:

        def shown() -> str:
            return client.get("/jobs/letter", params={"id": letter.id}).text

        assert client.get("/jobs/").status_code == 401
        rights.add("view")
        assert client.get("/jobs").headers["location"].endswith("/jobs/")
        assert client.get("/jobs/").status_code == 200
        assert "ValueError" in shown()
        assert not re.search("Ann|it timed out|Put back|Traceback", shown())
        assert client.get("/jobs/dead", params={"match": "user.name=Ann"}).status_code == 400
        assert client.get("/jobs/message", params={"id": letter.id}).status_code == 403
        assert client.get("/jobs/api/v1/dead").status_code == 403
        rights.add("view_payloads")
        assert re.search("Ann", shown())
        assert "Put back" not in shown()
        assert client.post("/jobs/requeue", headers=OWN).status_code == 403
        rights.add("act")
        assert "Put back" in shown()


def test_a_proxy_names_the_user(url: str) -> None:
    with served(application(site_of(url), NamedByProxy("X-User"))) as address, httpx.Client(base_url=address) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"X-User": "ann"}).status_code == 200


def test_who_names_no_storage_is_told() -> None:
    def each_user(request: Any, right: Right) -> bool:
        return True

    with served(shardq.web.app("memory://", authorize=each_user)) as address:
        assert "cannot be looked into" in httpx.get(address).text
    with served(shardq.web.app("shm://nowhere", authorize=each_user)) as address:
        answer = httpx.get(address)
        assert answer.status_code == 503
        assert "tries again" in answer.text
        refused = httpx.post(f"{address}/pause", data={"handler": "m/H", "span": ""}, headers=OWN)
        assert refused.status_code == 503
        assert "there is no segment" in refused.text
        assert "tries again" not in refused.text  # nothing does the action later


def test_probes_say_a_word_also_where_there_is_no_storage() -> None:
    with asked(site_of("shm://nowhere"), enters=False) as stranger:
        for path in PROBES:
            answer = stranger.get(path)
            assert (answer.status_code, answer.text) == (503, "the storage cannot be looked at\n")


def test_a_header_takes_a_socket_that_only_a_proxy_reaches(url: str) -> None:
    with pytest.raises(ConfigurationError, match="unix:PATH"):
        serve(site_of(url), Address.parsed("127.0.0.1:0"), secret="x", user_header="X-User")
