"""What `shardq --version` prints."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from shardq.errors import ConfigurationError
from shardq.version import __version__


class ShowVersion(argparse.Action):
    """Prints the version, and what does the frequent case of shared memory here. It is looked for only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        try:
            core = import_module("shardq.drivers.shared.engine").engine_name()
        except ConfigurationError as error:
            parser.error(str(error))
        print(f"shardq {__version__} (core: {core})")
        parser.exit()
