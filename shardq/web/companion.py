"""The page beside the workers of a family. Its supervisor opens the socket and executes it; it ends with that one."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from collections.abc import Sequence

from shardq.system.addresses import Address
from shardq.web.application import application
from shardq.web.desk import Site
from shardq.web.serving import served, site_at, token_at


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the supervisor executes."""
    parser = argparse.ArgumentParser(prog="shardq.web.companion")
    parser.add_argument("--url-in", required=True, help="the variable that has the URL")
    parser.add_argument("--token-in", required=True, help="the variable that has the token")
    parser.add_argument("--address", required=True, help="where the socket listens")
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the socket")
    parser.add_argument("--life", type=int, required=True, help="end of file says that the supervisor has ended")
    options = parser.parse_args(arguments)
    address = Address.parsed(options.address)
    url, secret = os.environ.pop(options.url_in), os.environ.pop(options.token_in)
    app = application(site_at(address, Site(url, exports=os.getcwd())), token_at(address, secret))
    asyncio.run(served(app, socket.socket(fileno=options.socket), options.life))
    return 0
