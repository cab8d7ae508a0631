"""The chromium of the system, headless. Where there is none, tests skip and say what to install."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.page import SECRET
from tests.support.tasks import LIMIT_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Set where these tests must not be skipped.
REQUIRED = "SHARDQ_TESTS_BROWSER"
#: A name of this machine that only the browser knows. Over plain HTTP it trusts no such name as it does the loopback.
NAMED = "page.example"
_FLAGS = (
    f"--host-resolver-rules=MAP {NAMED} 127.0.0.1",
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
    *("--renderer-process-limit=1", "--disable-site-isolation-trials", "--process-per-site"),
)


def chromium() -> str:
    """The path of the browser. Skips the test where there is none, or fails it where there has to be one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        why = "there is no chromium here: apt-get install chromium"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and {why}")
        pytest.skip(why)
    return found


@contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """A browser that keeps what it writes in this folder, and downloads nothing."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        environment = os.environ | {"HOME": str(home), "TMPDIR": str(home)}
        started = playwright.chromium.launch(executable_path=path, args=list(_FLAGS), env=environment)
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(chromium: Browser, address: str, expects: Sequence[str] = (), **options: Any) -> Iterator[Page]:
    """A page that was let in, with these options. In the end it has said nothing to its console, but what has one of
    the words in `expects`.
    """
    context, said = chromium.new_context(**options), list[str]()
    context.set_default_timeout(LIMIT_S * 1000)
    try:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(f"{address}?token={quote(SECRET)}")
        page.wait_for_selector("nav")
        yield page
    finally:
        context.close()
    assert [its for its in said if not any(word in its for word in expects)] == []


def elsewhere(does: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns in another thread: in this one an event loop serves the browser."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(does, *arguments).result()


def until_text(page: Page, text: str) -> None:
    # Between two pages there is no body.
    page.wait_for_function("text => document.body?.innerText.includes(text)", arg=text)
