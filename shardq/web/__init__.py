"""A page on which operators see a storage and steer what is in it. Needs the extra `web`: `pip install 'shardq[web]'`.

`shardq web` serves it, `python -m shardq.supervise … --web ADDRESS` runs it beside a family, and `app` mounts it in an
application. It looks through `shardq.observe`, acts as the commands do, and imports no application.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from shardq.web.access import LOOPBACK, Authorize, Right

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["Authorize", "Right", "app"]


def app(
    url: str,
    *,
    authorize: Authorize,
    hosts: Collection[str] = LOOPBACK,
    read_only: bool = False,
    exports: str | Path = ".",
) -> Starlette:
    """An ASGI application to be mounted in another one: `site.mount("/jobs", shardq.web.app(url, authorize=may))`.

    `authorize(request, right)` says whether a request may do a thing, and may be a coroutine: `view` sees figures,
    names of handlers and threads; `view_payloads` sees what is in requests, errors and tracebacks; `act` changes what
    is stored. `hosts` are the names that it answers to, without a port. `read_only`: there are no actions at all.
    `exports` is the folder that letters are written to before they are dropped, and requests before they are cancelled.

    Raises `ConfigurationError` for a URL that cannot be used, and where the extra is not installed.
    """
    from shardq.web.application import application
    from shardq.web.desk import Site

    return application(
        Site(url, hosts=frozenset(hosts), read_only=read_only, exports=os.path.abspath(exports)), authorize
    )
