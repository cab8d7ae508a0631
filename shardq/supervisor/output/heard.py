"""Loggers that modules cannot silence by the way.

`logging.config.dictConfig` and `fileConfig` disable all loggers that they do not name unless told otherwise, and
`logging.disable` does so with all there are: of a module that configures its own logs nobody expects that a family says
nothing any more when a handler does not start. Where an application wants less of shardq it gives the logger `shardq` a
level, or handlers of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from shardq.supervisor.output.limit import Turns

NAME = "shardq"


class HeardLogger(logging.Logger):
    """Is disabled by nothing but its level, and finds a handler where there is none left."""

    last_handler: logging.Handler | None = None
    bounded_in = -1
    """Pid of the process whose handlers must not hold it up, whoever made them."""
    turns = Turns()
    lost: Callable[[int], logging.LogRecord] | None = None
    """What says that a handler missed so many lines."""

    @property
    def disabled(self) -> Any:  # Any: in logging it is an attribute
        return False

    @disabled.setter
    def disabled(self, value: Any) -> None:
        """Who disables all loggers does not mean this one."""

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
    """Let shardq's loggers of this process log from this level on, whatever modules do to all loggers. `handler` is
    used while they leave no other. Where `lost` is given no handler may hold up this process, and `lost` makes the
    record that says how many lines one has missed.
    """
    HeardLogger.last_handler, HeardLogger.lost = handler, staticmethod(lost) if lost else None
    HeardLogger.bounded_in = os.getpid() if lost else -1
    for name in [NAME, *(name for name in logging.root.manager.loggerDict if name.startswith(f"{NAME}."))]:
        logger = logging.getLogger(name)
        logger.__class__ = HeardLogger
        vars(logger).pop("disabled", None)
    logging.getLogger(NAME).setLevel(level)
