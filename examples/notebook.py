"""How it looks in a notebook: `python -m examples.notebook` runs the cells below as Jupyter would.

One event loop runs all the time, cells may `await` at their top level, and names live on from cell to cell. Handlers
come from a module: worker processes cannot import what is typed into a cell, and a supervisor says so.
"""

from __future__ import annotations

import ast
import asyncio
from inspect import isawaitable
from typing import Any

CELLS = (
    """
import os, tempfile
from examples.ledger import FOLDER_VARIABLE, Entry, Post, balance, posted
from shardq import Handler, Supervisor

folder = tempfile.TemporaryDirectory()
os.environ[FOLDER_VARIABLE] = folder.name
""",
    """
supervisor = Supervisor(Post, workers=2)
await supervisor.start()
""",
    """
await supervisor.queue.register(Post, *(Entry(n % 3, f"first-{n}", n) for n in range(300)))
await supervisor.drain()
print([balance(account) for account in range(3)])
""",
    """
supervisor.scale(4)
await supervisor.queue.register(Post, *(Entry(n % 3, f"second-{n}", -n) for n in range(300)))
await supervisor.drain()
print([balance(account) for account in range(3)], [len(posted(account)) for account in range(3)])
""",
    """
class Typed(Handler[Entry]):
    def perform(self, *entries):
        print(entries)

try:
    Supervisor(Typed)
except Exception as error:
    print(type(error).__name__, error, sep=": ")
""",
    """
await supervisor.stop()
folder.cleanup()
""",
)


async def run(cells: tuple[str, ...]) -> None:
    """Run the cells one after the other in one name space."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells, 1):
        code = compile(cell, f"<cell {number}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, names)
        if isawaitable(result):
            await result


if __name__ == "__main__":
    asyncio.run(run(CELLS))
