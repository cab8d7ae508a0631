"""Counting one source file. Knows nothing of queues."""

from __future__ import annotations

import ast
import operator
import tokenize
import warnings
from collections import Counter
from typing import NamedTuple


class Counts(NamedTuple):
    """What was counted in one file, or in many."""

    files: int = 0
    unparsed: int = 0
    """Files that cannot be read, decoded or parsed. They add to `files` and to nothing else."""
    lines: int = 0
    functions: int = 0
    """`def` and `async def`, methods and nested ones included; lambdas not."""
    classes: int = 0
    branches: int = 0
    """Branch complexity: places where control can go one way or another. One for each `if`, `elif` and conditional
    expression, each loop and each `for` of a comprehension, each `if` of a comprehension, each `except`, each `case`,
    and each `and` and `or`."""


NOTHING = Counts()
UNPARSED = Counts(files=1, unparsed=1)

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.comprehension,
    ast.ExceptHandler,
    ast.match_case,
)


def add(left: Counts, right: Counts) -> Counts:
    return Counts(*map(operator.add, left, right))


def measure_file(path: str) -> Counts:
    """Count a file, decoded as its byte order mark or coding line says. Never raises because of what is in it."""
    try:
        with tokenize.open(path) as file:
            return measure_source(file.read())
    except (OSError, UnicodeDecodeError, SyntaxError):
        # A coding line that names no codec is a SyntaxError.
        return UNPARSED


def measure_source(source: str) -> Counts:
    tree = _parsed(source)
    if tree is None:
        return UNPARSED
    nodes = list(ast.walk(tree))
    kinds = Counter(map(type, nodes))
    return Counts(
        files=1,
        lines=source.count("\n") + (source != "" and not source.endswith("\n")),
        functions=sum(kinds[kind] for kind in _FUNCTIONS),
        classes=kinds[ast.ClassDef],
        branches=sum(kinds[kind] for kind in _BRANCHES) + sum(map(_extra_branches, nodes)),
    )


def _parsed(source: str) -> ast.Module | None:
    try:
        # The census is no linter: invalid escapes in the counted files are not its user's to read about.
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # ValueError: null bytes. MemoryError is how the parser says that an expression is nested too deeply.
        return None


def _extra_branches(node: ast.AST) -> int:
    """Branches that are a node's list and no node of their own."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return len(node.ifs)
    return 0
