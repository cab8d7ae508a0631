"""Renews the pictures of the page in docs/howto/page/, and that of `shardq top`, while a family works.
`scripts/pictures` runs it.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from shardq import connect
from shardq.cli.parser import new_parser
from shardq.cli.top.app import Top
from shardq.cli.top.source import Source
from shardq.model import Action, handler_name
from shardq.web.access import Token
from shardq.web.application import application
from shardq.web.desk import Site
from tests.support.browser import browser
from tests.support.page import COOKIE, SECRET, served
from tests.support.picture_jobs import Gone, Notify, Photo, Resize
from tests.support.programs import ROOT, Supervise
from tests.support.segments import remove_files

#: Pictures by their names: the page, what is clicked on it, and the colours. The letter is opened to be edited, which
#: moves its traceback out of sight: that names folders of this machine.
PICTURES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "overview": ("", (), "light"),
    "handlers": ("handlers", (), "light"),
    "threads": ("threads", (), "light"),
    "workers": ("workers", (), "light"),
    "kill": ("workers", ("text=Kill… >> nth=0",), "light"),
    "dead": ("dead", (), "light"),
    "letters": ("dead?all=1", (), "light"),
    "letter": ("dead?all=1", ("tbody th a", "text=Edit and put back"), "light"),
    "ask": ("ask?what=requeue&all=1", (), "light"),
    "later": ("later", (), "light"),
    "audit": ("audit", (), "light"),
    "overview-dark": ("", (), "dark"),
}
_FOLDER = ROOT / "docs" / "howto" / "page"
_COLOURS = 160
_TOP, _TERMINAL = ROOT / "docs" / "reference" / "top.svg", (138, 16)
#: Rates are those of so many seconds.
_RATES_S = 11.0
#: How long the family works before, in milliseconds: the last hour has some points then.
_MEANWHILE_MS = 35_000


#: What operators did before.
_ACTIONS = (
    Action("pause", "shop.jobs/Notify", 1, "the mailer is down", "ann", 1000, 4711, "shop-1", "command"),
    Action(
        "dead requeue", "shop.jobs/Resize, type=TimeoutError", 1204, "disk was full", "bob", 1001, 812, "shop-1", "page"
    ),
    Action("dead drop", "shop.jobs/Resize, user.id=***", 3, "account is closed", "bob", 1001, 812, "shop-1", "page"),
    Action("resume", "shop.jobs/Notify", 1, "", "ann", 1000, 4720, "shop-1", "command"),
    Action(
        "later skip",
        "shop.jobs/Report/0/0#5a3f09bc41d7e26b",
        1,
        "public holiday",
        "ann",
        1000,
        4733,
        "shop-1",
        "command",
    ),
)


async def _fill(url: str) -> None:
    photos = [Photo(f"{number}.jpg", f"user-{number % 97}") for number in range(6000)]
    async with await connect(url) as queue:
        await queue.register(Gone, *photos[:60])
        await queue.register(Notify, photos[0], recurrent="30 8 * * MON-FRI")
        await queue.register(Notify, photos[1], recurrent=3600)
        for minutes, photo in enumerate(photos[2:7], 1):
            await queue.register(Notify, photo, defer=1800 * minutes)
        await queue.register(Resize, *photos)
        await queue.register(Notify, *photos)
        for action in _ACTIONS:
            await queue.storage.record(action)


def main() -> None:
    name = f"shop-{secrets.token_hex(3)}"
    module = "tests.support.picture_jobs"
    family = Supervise(f"{module}:Resize", f"{module}:Notify", "--url", f"shm://{name}", "--workers", 2)
    try:
        family.serving()
        asyncio.run(_fill(f"shm://{name}"))
        with (
            tempfile.TemporaryDirectory() as home,
            served(application(Site(f"shm://{name}"), Token(SECRET, COOKIE))) as at,
        ):
            _take(at, Path(home))
        asyncio.run(_take_top(f"shm://{name}"))
    finally:
        family.stop()
        family.discard()
        remove_files(name)


def _take(address: str, home: Path) -> None:
    with browser(home) as started:
        pages = {}
        for scheme in ("light", "dark"):
            context = started.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 720})
            pages[scheme] = context.new_page()
            pages[scheme].goto(f"{address}/?token={quote(SECRET)}")
            pages[scheme].wait_for_selector("nav")
        pages["light"].wait_for_timeout(_MEANWHILE_MS)
        for name, (path, clicked, scheme) in PICTURES.items():
            page = pages[scheme]
            page.goto(f"{address}/{path}")
            for selector in clicked:
                page.click(selector)
            page.wait_for_timeout(1500)
            file = _FOLDER / f"{name}.png"
            page.screenshot(path=file)
            Image.open(file).convert("P", palette=Image.Palette.ADAPTIVE, colors=_COLOURS).save(file, optimize=True)


async def _take_top(url: str) -> None:
    async with await connect(url) as queue:
        await queue.storage.pause(handler_name(Gone), None, "it is about to move")
    options = new_parser().parse_args(["top", "--url", url])
    app = Top(Source(options), read_only=False)
    async with app.run_test(size=_TERMINAL) as pilot:
        await pilot.pause(_RATES_S)
        _TOP.write_text(app.export_screenshot(title="shardq top"), encoding="utf-8")


if __name__ == "__main__":
    main()
