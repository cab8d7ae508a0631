"""The page in a real browser: it renews what is shown, but not under the user's hands, and obeys its own policy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from shardq import Handler, connect
from shardq.cli import main
from shardq.cli.recurrent import id_of
from shardq.deadletters import Buried
from shardq.drivers import SharedStorage
from shardq.model import Action
from shardq.web.access import LOOPBACK, Token
from shardq.web.application import application
from tests.support import hostile
from tests.support import letters as storing
from tests.support.browser import NAMED, elsewhere, opened, until_text
from tests.support.chance import EVERYTHING, sample_of_run
from tests.support.drivers import MIB
from tests.support.letters import Fulfil, Notify, Order, User
from tests.support.page import COOKIE, SECRET, served, site_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ORDERS = [Order(number, User(number), "timed out" if number % 2 else "key") for number in range(6)]


@pytest.fixture
def url(name: str) -> str:
    SharedStorage.create(name, 32 * MIB).detach()
    return f"shm://{name}"


@pytest.fixture
def address(url: str, tmp_path: Path) -> Iterator[str]:
    site = replace(site_of(url, tmp_path), hosts=LOOPBACK | {NAMED})
    with served(application(site, Token(SECRET, COOKIE))) as address:
        yield f"{address}/"


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def let_fail(url: str, handler: type[Handler[Any]], *requests: Any) -> None:
    elsewhere(storing.let_fail, url, handler, *requests)


def letters_at(url: str) -> Sequence[Buried]:
    found: Sequence[Buried] = elsewhere(storing.letters_at, url)
    return found


def register(url: str, *users: User) -> None:
    async def send() -> None:
        async with await connect(url) as queue:
            await queue.register(Notify, *users)

    elsewhere(asyncio.run, send())


def test_what_is_shown_is_renewed(page: Page, url: str, address: str) -> None:
    page.goto(f"{address}threads")
    until_text(page, "No thread has requests")

    register(url, User(1), User(2))

    until_text(page, "2 requests")
    until_text(page, "Live")


def test_nothing_is_renewed_under_the_users_hands(page: Page, url: str, address: str) -> None:
    until_text(page, "Live")
    page.evaluate("document.getSelection().selectAllChildren(document.querySelector('h1'))")
    until_text(page, "Held while you select")
    register(url, User(1))
    asked = page.evaluate("performance.getEntriesByType('resource').length")
    page.wait_for_timeout(1500)

    assert page.evaluate("document.getSelection().toString()") == "Overview"
    assert page.evaluate("performance.getEntriesByType('resource').length") == asked

    page.evaluate("document.getSelection().removeAllRanges()")
    until_text(page, "Live")
    page.wait_for_function("document.querySelector('.card .value')?.innerText == '1'")


def test_a_user_who_is_let_in_no_more_is_told_so(chromium: Browser, address: str) -> None:
    with opened(chromium, address, expects=("401",)) as page:
        until_text(page, "Live")
        page.context.clear_cookies()
        until_text(page, "You are not let in any more")


def test_letters_are_filtered_put_back_and_the_way_back_is_kept(page: Page, url: str, address: str) -> None:
    let_fail(url, Fulfil, *ORDERS)
    page.goto(f"{address}dead")
    page.fill("input[name=match]", "type=KeyError")
    page.keyboard.press("Enter")
    until_text(page, "Put back all that fit")
    assert page.locator("input[name=id]").count() == 3

    page.click("tbody th a")
    until_text(page, "Traceback")
    page.go_back()
    until_text(page, "Put back all that fit")
    assert page.input_value("input[name=match]") == "type=KeyError"

    page.click("text=Put back all that fit")
    until_text(page, "Put back 3 dead letters?")
    assert len(letters_at(url)) == 6
    page.click("button.do")
    until_text(page, "3 put back")
    assert len(letters_at(url)) == 3


def test_what_is_ticked_is_dropped(page: Page, url: str, address: str, tmp_path: Path) -> None:
    let_fail(url, Fulfil, *ORDERS)
    page.goto(f"{address}dead?all=1")
    page.check("[data-all]")
    assert page.locator("input[name=id]:checked").count() == 6
    page.locator("input[name=id]").first.uncheck()
    page.click("text=Drop what is ticked")
    until_text(page, "Drop 5 dead letters?")
    page.click("button.do")

    until_text(page, "5 dropped")
    assert len(letters_at(url)) == 1
    assert len(list(tmp_path.glob("shardq-dropped-*"))) == 1


def test_all_is_done_without_a_script(chromium: Browser, url: str, address: str) -> None:
    let_fail(url, Fulfil, *ORDERS)
    with opened(chromium, address, java_script_enabled=False) as page:
        page.goto(f"{address}dead?all=1")
        page.locator("input[name=id]").first.check()
        page.click("text=Put back what is ticked")
        page.click("button.do")
        page.wait_for_selector("text=1 put back")
    assert len(letters_at(url)) == 5


def test_the_page_acts_at_a_name_without_tls(chromium: Browser, url: str, address: str) -> None:
    let_fail(url, Fulfil, ORDERS[0])
    named = address.replace("127.0.0.1", NAMED)
    with opened(chromium, named, expects=("origin was untrustworthy",)) as page:
        page.goto(f"{named}ask?what=requeue&all=1")
        page.click("button.do")
        until_text(page, "1 put back")


def test_a_handler_is_paused_and_resumed(page: Page, url: str, address: str) -> None:
    register(url, User(1, "Ann"))
    page.goto(f"{address}handlers")
    page.click("text=Pause")
    page.check("text=for an hour")
    page.fill("[name=reason]", "the mailer is down")
    page.click("button.do")
    until_text(page, "was paused")
    until_text(page, "the mailer is down")

    page.click("text=Resume")
    page.wait_for_selector("text=was paused", state="detached")

    page.click("nav >> text=Audit")
    until_text(page, "the mailer is down")
    assert page.locator("tbody th").all_inner_texts() == ["resume", "pause"]
    moment = page.locator("tbody time").first
    assert re.fullmatch(r"\d+ s ago|now", moment.inner_text())
    assert (moment.get_attribute("title") or "").endswith(" UTC")


def test_all_handlers_are_paused_and_resumed(page: Page, url: str, address: str) -> None:
    register(url, User(1, "Ann"))
    page.goto(address)
    page.click("text=Pause all")
    until_text(page, "Pause 1 handler?")
    page.check("text=for a day")
    page.fill("[name=reason]", "the database moves")
    page.click("button.do")
    until_text(page, "1 handler is paused.")

    page.click("text=Resume all")
    page.wait_for_selector("text=is paused", state="detached")
    page.click("nav >> text=Audit")
    until_text(page, "the database moves")


def test_the_audit_shows_what_comes(page: Page, url: str, address: str) -> None:
    page.goto(f"{address}audit")
    until_text(page, "has done anything")

    assert elsewhere(main, ["pause", "--url", url, "m/H", "--reason", "from a terminal"]) == 0

    until_text(page, "from a terminal")
    until_text(page, "by command")


PAGES = ["", "handlers", "threads", "workers", "dead", "dead?all=1", "later", "letter?id=LETTER", "thread?pipe=TUBE"]
PAGES += ["ask?what=drop&all=1", "ask-pause?handler=m/H", "dead?match=nonsense", "later?match=within=1h", "stack"]
PAGES += [
    "ask-later?what=cancel&all=1",
    "ask-recurrent?what=skip&id=AGAIN",
    "ask-park?pipe=TUBE",
    "ask-worker",
    "audit",
]


def test_pages_fit_are_accessible_and_hostile_texts_are_inert(chromium: Browser, url: str, address: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    text = f"<script>alert(1)</script><img src=x onerror=alert(1)>\"'{hostile.ALL}{'x' * 65536}"
    let_fail(url, hostile.Speaks, hostile.Text(text))
    let_fail(url, Fulfil, *ORDERS)
    register(url, User(1, text))
    pause(url, text[:100])
    hostile_letter = next(its.id for its in letters_at(url) if its.letter.handler.endswith("Speaks"))
    tube = elsewhere(asyncio.run, _tubes(url))[0]
    found = {"LETTER": hostile_letter, "TUBE": tube, "AGAIN": elsewhere(asyncio.run, _wait(url, text))}
    paths = [re.sub("LETTER|TUBE|AGAIN", lambda name: quote(found[name[0]]), path) for path in PAGES]
    shown = sample_of_run(paths, len(paths) // 2)
    on_a_desk, in_a_hand = (shown, shown) if EVERYTHING else (shown[::2], shown[1::2])
    for scheme, width, here in (("light", 1280, on_a_desk), ("dark", 390, in_a_hand)):
        size = {"width": width, "height": 900}
        with opened(chromium, address, color_scheme=scheme, viewport=size, expects=("400",)) as page:
            for path in here:
                page.goto(address + path)

                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
                found = Axe().run(page).response["violations"]
                assert [(its["id"], [node["html"] for node in its["nodes"]]) for its in found] == [], path
                assert page.locator("main img").count() == 0


def test_the_shown_part_keeps_the_policy_of_its_page(page: Page, address: str) -> None:
    assert not re.search(r"\sstyle=|\son\w+=|<style", page.content())


def pause(url: str, reason: str) -> None:
    """Pause a handler for a reason that may be hostile, and record that with such texts."""

    async def keep_off() -> None:
        async with await connect(url) as queue:
            await queue.storage.pause("m/H", None, reason)
            await queue.storage.record(Action(reason, reason, 1, reason, reason, 0, 1, reason, reason))

    elsewhere(asyncio.run, keep_off())


async def _tubes(url: str) -> list[str]:
    async with await connect(url) as queue:
        return [pipe for pipe in await queue.storage.pipes() if "Notify" in pipe]


async def _wait(url: str, text: str) -> str:
    """Have requests wait, once and again and again. Returns the id of the one that recurs."""
    async with await connect(url) as queue:
        await queue.register(Notify, User(1, text), User(2, text), defer=3600)
        await queue.register(Notify, User(3, text), recurrent=3600)
        [its] = await queue.storage.scheduled()
        return id_of(its)
