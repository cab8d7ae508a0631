"""Exit codes of a supervisor and its workers: the members of `Exit`, with their docstrings."""

from __future__ import annotations

import ast
import inspect
import itertools

from docs.extensions.facts.advice import Advice, advice_of
from docs.extensions.facts.tables import table
from shardq.supervisor.exits import Exit


def text() -> str:
    found = meanings()
    return table(
        ("code", "name", "what happened", "what to do next"),
        ((f"{code.value}", f"`{code.name}`", found[code.name].what, found[code.name].next) for code in Exit),
    )


def meanings() -> dict[str, Advice]:
    """What each code means, and what to do next, by its name."""
    [body] = (node.body for node in ast.parse(inspect.getsource(Exit)).body if isinstance(node, ast.ClassDef))
    return {
        ast.unparse(member.targets[0]): advice_of(str(ast.literal_eval(docstring.value)))
        for member, docstring in itertools.pairwise(body)
        if isinstance(member, ast.Assign) and isinstance(docstring, ast.Expr)
    }
