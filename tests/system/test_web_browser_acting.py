"""What operators do with the page in a real browser, step by step, as they see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shardq import connect
from shardq.web.access import Token
from shardq.web.application import application
from tests.support import jobs
from tests.support.browser import elsewhere, opened, until_text
from tests.support.homes import Home, ServerHome
from tests.support.jobs import Folder, Gated
from tests.support.letters import Notify, User, name_of
from tests.support.page import COOKIE, SECRET, served, site_of
from tests.support.programs import Supervise, lives, until
from tests.support.supervised import Start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOUR_S = 3600


@pytest.fixture
def family(home: Home, start: Start, folder: Folder) -> Iterator[Supervise]:
    """One worker, which is at an item of two."""
    elsewhere(home.leave, Gated, folder.notes(range(2)))
    program = start(f"{jobs.__name__}:Gated", "--url", home.url, "--workers", 1).serving()
    folder.until("begin", 0)
    yield program
    folder.permit(9)
    program.stop()


@pytest.fixture
def address(family: Supervise, url: str, tmp_path: Path) -> Iterator[str]:
    with served(application(site_of(url, tmp_path), Token(SECRET, COOKIE))) as address:
        yield f"{address}/"


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def do(url: str, act: Callable[[Any], Any]) -> Any:
    async def acted() -> Any:
        async with await connect(url) as queue:
            return await act(queue)

    return elsewhere(asyncio.run, acted())


def deferred(url: str) -> int:
    async def count(queue: Any) -> int:
        return int((await queue.storage.backlog()).deferred)

    return int(do(url, count))


def have_some_wait(url: str) -> None:
    async def register(queue: Any) -> None:
        for number in range(1, 5):
            await queue.register(Notify, User(number, "Ann" if number % 2 else "Bob"), defer=number * HOUR_S)
        await queue.register(Notify, User(9, "Cyd"), recurrent="30 8 * * MON-FRI")

    do(url, register)


def test_what_waits_is_ticked_and_cancelled(page: Page, address: str, url: str, tmp_path: Path) -> None:
    have_some_wait(url)
    page.goto(f"{address}later")
    page.locator("input[name=id]").first.check()
    until_text(page, "Held while you select")
    page.click("text=Cancel what is ticked")
    until_text(page, "Cancel 1 request that waits?")
    assert deferred(url) == 4
    page.click("button.do")

    until_text(page, "1 request cancelled.")
    assert deferred(url) == 3
    assert len(list(tmp_path.glob("shardq-cancelled-*"))) == 1
    page.click("main a.button")
    page.wait_for_selector("input[name=id]")
    assert page.locator("input[name=id]").count() == 3


def test_what_fits_a_filter_comes_now_without_a_script(chromium: Browser, address: str, url: str) -> None:
    have_some_wait(url)
    with opened(chromium, address, java_script_enabled=False) as page:
        page.goto(f"{address}later")
        page.fill("input[name=match]", "name=Ann")
        page.keyboard.press("Enter")
        page.click("text=Run now all that fit")
        page.click("button.do")
        page.wait_for_selector("text=2 requests came now.")
    assert deferred(url) == 2


def test_a_time_is_skipped(page: Page, address: str, url: str) -> None:
    have_some_wait(url)
    page.goto(f"{address}later")
    times = page.locator("table").first.locator("time")
    first, second = times.nth(0).get_attribute("datetime"), times.nth(1).get_attribute("datetime")
    page.click("text=Skip next")
    until_text(page, "It leaves out the first of these times")
    page.click("button.do")
    until_text(page, "It is left out once.")

    page.goto(f"{address}later")
    assert page.locator("table").first.locator("time").nth(0).get_attribute("datetime") == second != first
    page.click("text=End…")
    page.click("button.do")
    until_text(page, "It comes no more.")


def test_a_tube_that_no_worker_serves_is_parked(page: Page, address: str, url: str) -> None:
    do(url, lambda queue: queue.register(Notify, User(1), User(2)))
    page.goto(f"{address}threads")
    page.click(f"th a:has-text('{name_of(Notify)}')")
    page.click("text=Park…")
    until_text(page, "Park 2 requests of")
    page.click("button.do")
    until_text(page, "became dead letters.")

    page.click("main a.button")
    until_text(page, name_of(Notify))


def test_a_worker_is_looked_at_replaced_and_killed(page: Page, address: str, family: Supervise, folder: Folder) -> None:
    [worker] = family.workers(1)
    page.goto(f"{address}workers")
    page.click("text=Stack")
    until_text(page, "_take_permit")
    page.click("text=Workers >> nth=0")
    page.click("text=Replace…")
    until_text(page, "It finishes the batch in hand and ends")
    page.click("button.do")
    until_text(page, "It ends after the batch in hand")
    assert lives(worker)
    folder.permit(2)
    until(lambda: not lives(worker), "the worker has ended")
    [other] = family.workers(1)

    page.goto(f"{address}workers")
    page.wait_for_selector(f"[aria-label='Kill process {other}']")
    page.click("text=Kill…")
    page.fill("[name=typed]", str(other))
    page.click("form button")
    until_text(page, "It was killed")
    until(lambda: not lives(other), "the worker is dead")


def test_a_wrong_pid_kills_nothing(chromium: Browser, address: str, family: Supervise) -> None:
    [worker] = family.workers(1)
    with opened(chromium, address, expects=("400",)) as page:
        page.goto(f"{address}workers")
        page.click("text=Kill…")
        page.fill("[name=typed]", str(worker + 1))
        page.click("form button")
        until_text(page, "nothing is done")
    assert lives(worker)


def test_a_family_grows_and_gets_new_code(page: Page, address: str, family: Supervise) -> None:
    page.goto(f"{address}workers")
    page.click("text=One more…")
    until_text(page, "It has 1 worker now.")
    page.click("button.do")
    until_text(page, "one worker more")
    family.workers(2)

    page.goto(f"{address}workers")
    page.click("text=Reload…")
    page.click("button.do")
    until_text(page, "tries the new code")
    family.hear("reloaded")


@pytest.mark.parametrize("home", [ServerHome], indirect=True)
def test_workers_of_another_host_are_not_offered(
    page: Page, address: str, family: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    page.goto(f"{address}workers")

    until_text(page, "are steered there")
    assert page.locator("main button, main a").count() == 0
