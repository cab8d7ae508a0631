"""The handlers that a worker serves, and by which terms a storage may hand out requests of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import is_
from time import monotonic
from typing import Any
from weakref import ref

from shardq.errors import HandlerError, shown
from shardq.handler import Handler, find_handler, handler_classes, importable_names, is_coming
from shardq.handling import newcomers
from shardq.handling.info import check_usable, info_of
from shardq.model import INBOX, Terms, handler_name, split_key
from shardq.queue import Queue
from shardq.recurrent import TIME_HANDLERS
from shardq.results.inbox import Inbox
from shardq.settings import WorkerSettings

#: How often a busy worker looks for what is not announced, as a class that is gone.
LOOK_S = 0.02


class Handlers:
    """Those that the worker was told to serve, or all that there are in this process."""

    def __init__(self, queue: Queue, settings: WorkerSettings, only: Any = None) -> None:
        """Raises `HandlerError` for an `only` that cannot be served."""
        self._queue = queue
        self._settings = settings
        self._only = None if only is None else _by_name(only)
        # Every worker drops results that no caller waits for.
        self._names = frozenset((*(self._only or ()), INBOX))
        self.terms: dict[str, Terms] = {}
        """By handler, for threads of which a storage can hand out before the handler is made. As of the last look."""
        self._known: list[ref[type[Handler[Any]]]] = []
        """The handler classes that there were when this looked last."""
        self._registered = self._announced = -1
        """How many handlers were registered with the queue then, and how many were announced in this process. Fewer
        than 0: this has not looked yet."""
        self._true_until = 0.0
        """When to look again, monotonic."""
        self._batch_size = 0
        """That of the settings, by which the terms were found out."""
        self.incomplete = False
        """Whether one of them is still being defined, in another thread."""

    @property
    def fixed(self) -> bool:
        """Whether the worker was told which to serve."""
        return self._only is not None

    def served(self) -> frozenset[str]:
        """Names of the handlers that the worker serves now: one that was imported meanwhile counts as well."""
        size = self._settings.batch_size
        if size != self._batch_size or newcomers.announced() != self._announced or monotonic() >= self._true_until:
            self._look_again()
        return self._names

    def of(self, key: str) -> type[Handler[Any]] | None:
        """The handler of a thread. None: it is not here."""
        return self._class_of(split_key(key)[0])

    def look_anew(self) -> None:
        """Forget what the last look found: it is not true any more."""
        self._known, self._announced = [], -1

    def _look_again(self) -> None:
        first, self._announced = self._announced < 0, newcomers.announced()
        others = self._only is None and self._look()
        former, self._batch_size = self._batch_size, self._settings.batch_size
        if others or first or self._batch_size != former:
            self.terms = dict(self._all_terms())
        if self._only is not None:
            self._true_until = float("inf")
        else:
            self._true_until = 0.0 if self.incomplete else monotonic() + LOOK_S

    def _look(self) -> bool:
        """Look for handlers, and say whether there are others than before."""
        classes = handler_classes()
        known, registered = list(map(ref, classes)), len(self._queue.handlers)
        if not self.incomplete and registered == self._registered and _same(known, self._known):
            return False
        self.incomplete = any(map(is_coming, classes))
        self._known, self._registered = known, registered
        self._names = frozenset((*self._queue.handlers, *importable_names(classes)))
        return True

    def _all_terms(self) -> Iterator[tuple[str, Terms]]:
        for name in self._names:
            handler = self._class_of(name)
            with suppress(Exception):  # it is raised again, and logged, where the handler is made
                if handler is not None and (info := info_of(handler)).begins_at_once():
                    terms = info.terms(self._settings.batch_size)
                    if terms is not None:
                        yield name, terms

    def _class_of(self, name: str) -> type[Handler[Any]] | None:
        if name == INBOX:
            return Inbox
        if self._only is not None:
            return self._only.get(name)
        return self._queue.handlers.get(name) or find_handler(name)


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether these are the very same objects. Of a class that is gone only the reference stays: another class may have
    its address by now.
    """
    return len(some) == len(others) and all(map(is_, some, others))


def _by_name(handlers: Any) -> dict[str, type[Handler[Any]]]:
    """Handlers to serve, by name. Raises `HandlerError` where one of them is no handler class, or there is none."""
    one = isinstance(handlers, type | str) or not isinstance(handlers, Iterable)
    several = (handlers,) if one else tuple(handlers)
    if not several:
        raise HandlerError(f"handler={shown(handlers)} names no handler: give handler classes, or None for all")
    for handler in several:
        if handler not in TIME_HANDLERS:
            check_usable(handler)
    return {handler_name(handler): handler for handler in several}
