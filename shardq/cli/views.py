"""Requests and results as commands show them: with masks in the place of secrets, unless told to reveal them."""

from __future__ import annotations

import argparse
from typing import Any

from shardq.cli.application import handlers_of
from shardq.encoding.generic import readable
from shardq.encoding.secrets import NO_SECRETS, OF_OWN_HANDLERS, Secrets
from shardq.handling.info import info_of


class View:
    """Knows the types of an application's requests where the command was given its modules."""

    def __init__(self, options: argparse.Namespace | None = None) -> None:
        """Without options it knows no application, and hides secrets. Raises what an application raises that does not
        import.
        """
        self._reveal: bool = options.reveal if options else False
        self._handlers = handlers_of(options.app if options else ())

    def request(self, message: bytes, handler: str, noted: Secrets = NO_SECRETS) -> Any:
        """A request of the handler `module/Handler`. `noted` is what is known of its secrets without its type."""
        known = self._handlers.get(handler)
        secrets = OF_OWN_HANDLERS.get(handler, noted) if known is None else info_of(known).secrets
        return readable(message, secrets, reveal=self._reveal)

    def results(self, results: bytes, handler: str) -> Any:
        """The results of such requests, as a list. Where they cannot be read, what stands in their place."""
        known = self._handlers.get(handler)
        secrets = NO_SECRETS if known is None else info_of(known).secrets_of_results
        return readable(results, secrets, reveal=self._reveal)

    def only_result(self, results: bytes, handler: str) -> Any:
        """The result in a list of one."""
        shown = self.results(results, handler)
        return shown[0] if isinstance(shown, list) else shown
