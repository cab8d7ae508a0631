"""The chromium of the system, headless. Where there is none, tests skip and say what to install."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: Set where these tests must not be skipped.
REQUIRED = "SHARDQ_TESTS_BROWSER"
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
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
