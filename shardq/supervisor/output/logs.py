"""Logs on standard error: lines for people, or one JSON object a line for machines.

Levels: `error`: an operator has to act now; `warning`: an operator should look today; `info`: what the family does;
`debug`: for developers of shardq. The fields of an event are an interface; docs/reference/operations.md lists them.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from shardq.supervisor.output import outlet
from shardq.supervisor.output.heard import keep_heard
from shardq.supervisor.output.limit import OTHERS_S, within
from shardq.supervisor.output.telling import ERASE_LINE
from shardq.text.portrait import text
from shardq.text.printable import printable, shown

#: Attributes of every log record; all others are the fields of the event.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


#: Logged as soon as the reader takes lines again.
_LOST = "lines were lost, their reader took none"


def configure(level: str, *, as_json: bool, waits: bool = True, erases: bool = False) -> None:
    """Send all logs of this process to standard error. `waits`: whether this process may wait without end for the
    reader of its logs. Processes that it forks may wait in any case. `erases`: a line that shows progress may stand
    there, so each line of the log removes that first.
    """
    handler = _Handler() if waits else _BoundedHandler()
    handler.begins = ERASE_LINE if erases else ""
    handler.setFormatter(_JsonLines() if as_json else _PlainLines("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    keep_heard(logging.getLevelNamesMapping()[level.upper()], handler, None if waits else _lost)
    outlet.announce = lambda lines: f"{handler.format(_lost(lines))}\n"


class _Handler(logging.StreamHandler[TextIO]):
    """A line that cannot be written is no error: a handler's code may have closed standard error."""

    begins = ""
    """What stands before each line."""

    def format(self, record: logging.LogRecord) -> str:
        return self.begins + super().format(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        with suppress(Exception):
            super().handleError(record)


class _BoundedHandler(_Handler):
    """For a supervisor: it hears no signal while it waits for the reader of its logs, so it waits only shortly."""

    bounded = True

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: a thread that a module started may hang while it holds it."""
        if os.getpid() != self._pid:
            return super().handle(record)
        taken = bool(self.filter(record))
        if taken:
            self.emit(record)
        return taken

    def emit(self, record: logging.LogRecord) -> None:
        if os.getpid() != self._pid:
            super().emit(record)
            return
        try:
            outlet.put(self.stream, self.format(record) + self.terminator)
        except Exception:
            within(OTHERS_S, lambda: self.handleError(record))


def _lost(lines: int) -> logging.LogRecord:
    fields = {"name": "shardq.supervisor", "levelno": logging.WARNING, "levelname": "WARNING", "lines": lines}
    return logging.makeLogRecord({**fields, "msg": _LOST})


class _Lines(logging.Formatter):
    """Formats records of shardq and of other code. It shows exceptions by their portraits: `shardq.text.portrait`."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        return text(ei[1]).rstrip("\n") if ei[1] is not None else ""

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the name is logging's
        return printable(stack_info, keep="\n\t")


class _PlainLines(_Lines):
    """One line for an event, or as many as its text has: fields add no line, and no part has escape codes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        fields = "".join(f" {name}={_text_of(value)}" for name, value in _fields(record).items())
        return printable(super().formatMessage(record), keep="\n\t") + fields


class _JsonLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        line |= {f"{name}_" if name in line else name: value for name, value in _fields(record).items()}
        try:
            return _in_json(line)
        except Exception:  # all that foreign values raise, and those that JSON does not have
            return _in_json({name: _for_json(value) for name, value in line.items()})


def _in_json(value: Any) -> str:
    return json.dumps(value, default=str, allow_nan=False)


def _for_json(value: Any) -> Any:
    """The value, or what stands in its place where JSON cannot have it."""
    try:
        _in_json(value)
    except Exception:  # as above
        return shown(value)
    return value


def _text_of(value: Any) -> str:
    try:
        return printable(str(value))
    except Exception:  # all that foreign values raise
        return shown(value)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
