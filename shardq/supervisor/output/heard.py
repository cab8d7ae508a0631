"""Loggers that modules cannot silence by the way.

`logging.config.dictConfig` and `fileConfig` disable all loggers that they do not name unless told otherwise, and
`logging.disable` does so with all there are: of a module that configures its own logs nobody expects that a family says
nothing any more when a handler does not start. Where an application wants less of shardq it gives the logger `shardq` a
level, or handlers of its own.
"""

from __future__ import annotations

import logging
from typing import Any

NAME = "shardq"


class HeardLogger(logging.Logger):
    """Is disabled by nothing but its level, and finds a handler where there is none left."""

    last_handler: logging.Handler | None = None

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
            super().callHandlers(record)
        elif record.levelno >= self.last_handler.level:
            self.last_handler.handle(record)


def keep_heard(level: int, handler: logging.Handler) -> None:
    """Let shardq's loggers of this process log from this level on, whatever modules do to all loggers. `handler` is
    used while they leave no other.
    """
    HeardLogger.last_handler = handler
    for name in [NAME, *(name for name in logging.root.manager.loggerDict if name.startswith(f"{NAME}."))]:
        logger = logging.getLogger(name)
        logger.__class__ = HeardLogger
        vars(logger).pop("disabled", None)
    logging.getLogger(NAME).setLevel(level)
