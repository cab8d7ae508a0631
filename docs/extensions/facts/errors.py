"""All errors: the classes of `shardq.errors`, what their docstrings advise, and the messages that the code has."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import shardq.errors
from docs.extensions.facts.advice import Advice, advice_of
from shardq.errors import ShardqError

_PACKAGE = Path(shardq.errors.__file__).parent


def text() -> str:
    return "\n".join(part for cls in classes() for part in _section(cls))


def classes() -> list[type[ShardqError]]:
    """In the order of their file."""
    return [its for its in vars(shardq.errors).values() if isinstance(its, type) and issubclass(its, ShardqError)]


def advice(cls: type[ShardqError]) -> Advice:
    return advice_of(cls.__doc__ or "")


@cache
def messages() -> Mapping[str, Sequence[str]]:
    """The messages of each class by its name. What differs from case to case is in capitals."""
    found: dict[str, list[str]] = {cls.__name__: [] for cls in classes()}
    for path in sorted(_PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and (name := _name(node.func)) in found:
                said = _said(node.args[0]).strip()
                if any(letter.islower() for letter in said) and said not in found[name]:
                    found[name].append(said)
    return found


def _section(cls: type[ShardqError]) -> Iterator[str]:
    its = advice(cls)
    yield f"## {cls.__name__}\n"
    yield f"{its.what}\n"
    for label, said in (("Why", its.why), ("Next", its.next)):
        if said:
            yield f"**{label}:** {said}\n"
    if said := messages()[cls.__name__]:
        yield "Messages:\n"
        yield from (f"* {_escaped(message)}" for message in said)
        yield ""


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else ""


def _said(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _placeholder(node.value)
    return ""


def _placeholder(node: ast.expr) -> str:
    """The last name in what is put there, in capitals: NAME for `{shown(segment.name)}`."""
    names = [its.attr if isinstance(its, ast.Attribute) else its.id for its in _named(node)]
    return (names[-1] if names else "…").strip("_").upper()


def _named(node: ast.expr) -> list[ast.Attribute | ast.Name]:
    if isinstance(node, ast.Call):
        inner = [its for argument in node.args for its in _named(argument)]
        return inner or _named(node.func)
    if isinstance(node, ast.Attribute | ast.Name):
        return [node]
    return [its for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr) for its in _named(child)]


def _escaped(message: str) -> str:
    """As text of Markdown, without the meanings that its characters may have there."""
    return "".join(f"\\{each}" if each in "\\*_[]<>{}#|$~" else each for each in inspect.cleandoc(message))
