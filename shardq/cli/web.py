"""What `shardq web` does."""

from __future__ import annotations

import argparse
import os
import secrets

from shardq.cli.verbs import Verbs, group, names_storage
from shardq.connect import is_redis, segment_name
from shardq.errors import ConfigurationError, shown
from shardq.system.addresses import Address


def add_web(verbs: Verbs) -> None:
    """Add the command."""
    made = group(verbs, "web", "serve a page that shows a storage and steers it")
    names_storage(made)
    made.set_defaults(run=web)
    made.add_argument(
        "--listen",
        default="127.0.0.1:8700",
        metavar="ADDRESS",
        help="HOST:PORT, or unix:PATH for a socket of mode 0600 (default: 127.0.0.1:8700)",
    )
    made.add_argument("--read-only", action="store_true", help="without any action")
    made.add_argument("--prefix", default="", metavar="/PATH", help="the path under which a proxy has the page")
    made.add_argument("--host", action="append", default=[], metavar="NAME", help="answer to this name as well")
    made.add_argument(
        "--user-header", metavar="NAME", help="the header in which a proxy names the user, instead of a token"
    )
    made.add_argument(
        "--exports",
        default=".",
        metavar="FOLDER",
        help="where letters are written before they are dropped, and requests before they are cancelled",
    )


def web(options: argparse.Namespace) -> None:
    """Serve the page until a signal ends it. Raises `ConfigurationError`."""
    try:
        from shardq.web.desk import Site
        from shardq.web.serving import serve
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the page needs {error.name}: pip install 'shardq[web]'") from error
    if not is_redis(options.url):
        segment_name(options.url)
    secret = secrets.token_urlsafe(24)
    hosts = frozenset(name.lower() for name in options.host)
    site = Site(options.url, hosts, options.read_only, os.path.abspath(options.exports), _prefix(options.prefix))
    serve(site, Address.parsed(options.listen), secret=secret, user_header=options.user_header)


def _prefix(text: str) -> str:
    """`/jobs`, or nothing. Raises `ConfigurationError`."""
    prefix = text.rstrip("/")
    if prefix and (not prefix.startswith("/") or any(one in prefix for one in "?#;\\") or not prefix.isprintable()):
        raise ConfigurationError(f"{shown(text)} is no path: write --prefix /jobs")
    return prefix
