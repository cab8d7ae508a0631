"""Loggers that imported modules cannot silence by accident.

`logging.config.dictConfig` and `fileConfig` disable by default all loggers that they do not name, and `logging.disable`
disables all there are. A module that configures its own logs in this way would also silence the supervisor, and the
operator would not read that a handler does not start. An application that wants fewer lines of shardq gives the logger
`shardq` a level, or handlers of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from shardq.supervisor.output.limit import Turns

NAME = "shardq"


class HeardLogger(logging.Logger):
    """Only its level disables it. Where no handler is left, it uses `last_handler`."""

    last_handler: logging.Handler | None = None
    bounded_in = -1
    """Pid of the process that no handler may hold up, neither shardq's nor one that a module added."""
    turns = Turns()
    lost: Callable[[int], logging.LogRecord] | None = None
    """Makes the record that says how many lines a handler missed."""

    @property
    def disabled(self) -> Any:  # Any: in logging it is an attribute
        return False

    @disabled.setter
    def disabled(self, value: Any) -> None:
        """Ignored: a module that disables all loggers does not mean this one."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return level >= self.getEffectiveLevel()

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        if self.hasHandlers() or self.last_handler is None:
            if os.getpid() != self.bounded_in:
                super().callHandlers(record)
                return
            for handler in self._handlers():
                if record.levelno >= handler.level:
                    self._give_turn(handler, record)
        elif record.levelno >= self.last_handler.level:
            self.last_handler.handle(record)

    def _handlers(self) -> Iterator[logging.Handler]:
        logger: logging.Logger | None = self
        while logger:
            yield from list(logger.handlers)
            logger = logger.parent if logger.propagate else None

    def _give_turn(self, handler: logging.Handler, record: logging.LogRecord) -> None:
        if getattr(handler, "bounded", False):
            handler.handle(record)
            return
        if not self.turns.give(handler, lambda: handler.handle(record)):
            return
        if HeardLogger.lost and (missed := self.turns.lost(handler)):
            said = HeardLogger.lost(missed)
            self.turns.give(handler, lambda: handler.handle(said))


def keep_heard(level: int, handler: logging.Handler, lost: Callable[[int], logging.LogRecord] | None = None) -> None:
    """Let shardq's loggers of this process log from this level on, also after a module disabled all loggers. `handler`
    is used while the modules leave no other. If `lost` is given, no handler may hold up this process, and `lost` makes
    the record that says how many lines a handler has missed.
    """
    HeardLogger.last_handler, HeardLogger.lost = handler, staticmethod(lost) if lost else None
    HeardLogger.bounded_in = os.getpid() if lost else -1
    for name in [NAME, *(name for name in logging.root.manager.loggerDict if name.startswith(f"{NAME}."))]:
        logger = logging.getLogger(name)
        logger.__class__ = HeardLogger
        vars(logger).pop("disabled", None)
    logging.getLogger(NAME).setLevel(level)
