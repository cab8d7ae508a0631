"""Runs pieces of a page one after the other, in a process of its own that reads them from standard input.

They share the names of `__main__`, and may wait with `await` as they stand. What each prints follows a line that marks
it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import sys

#: Begins the line that says which piece prints what follows.
MARK = "\x1e"


async def _run(pieces: list[tuple[str, int, str]]) -> None:
    names = vars(sys.modules["__main__"])
    for path, line, text in pieces:
        print(f"{MARK}{line}", flush=True)
        # As many lines above it as in the document, so that a traceback names that.
        code = compile("\n" * (line - 1) + text, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        waiting = eval(code, names)
        if inspect.iscoroutine(waiting):
            await waiting


if __name__ == "__main__":
    asyncio.run(_run(json.load(sys.stdin)))
