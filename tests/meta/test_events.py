"""The table of log events, which are an interface, has each event that the code logs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "operations.md"
LEVELS = {"debug", "info", "warning", "error", "exception"}
#: What the code makes of several events: it says them by a name.
BY_NAME = {"event", "said"}


def listed() -> str:
    """The third column of the table, line by line."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Logs\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^\|[^|]*\|[^|]*\|([^|]*)\|", section, re.MULTILINE))


def logged() -> Iterator[tuple[str, str]]:
    """Where something is logged, and a pattern of the event."""
    for path in sorted((ROOT / "shardq").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            event = event_of(node) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
            if event is not None and not (isinstance(event, ast.Name) and event.id in BY_NAME):
                yield f"{path.relative_to(ROOT)}:{event.lineno}", pattern_of(event)


def event_of(call: ast.Call) -> ast.expr | None:
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr in LEVELS and isinstance(call.func.value, ast.Name) and call.func.value.id == "log":
        return call.args[0]
    if call.func.attr == "_say" and len(call.args) > 1:
        return call.args[1]
    return None


def pattern_of(event: ast.expr) -> str:
    if isinstance(event, ast.Constant) and isinstance(event.value, str):
        return re.sub("%s", "[^`]+", re.escape(event.value))
    assert isinstance(event, ast.JoinedStr), ast.unparse(event)
    return "".join(pattern_of(part) if isinstance(part, ast.Constant) else "[^`]+" for part in event.values)


def test_every_event_is_listed() -> None:
    table = listed()
    found = list(logged())
    assert len(found) > 50
    assert [f"{where} {event}" for where, event in found if not re.search(f"`{event}`", table)] == []


def test_an_event_that_is_not_listed_is_found() -> None:
    assert not re.search(f"`{pattern_of(ast.Constant('it rained'))}`", listed())
    assert re.search(f"`{pattern_of(ast.Constant('%s keep dying'))}`", listed())
