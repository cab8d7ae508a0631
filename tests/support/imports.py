"""What a module of the package imports and calls, read from its source; nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One module: `name` is dotted, and for a package's `__init__` the name of the package."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(), str(self.path))

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def sources(package: Path) -> dict[str, Source]:
    """All modules under the folder `package`, by name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Source(name, path)
    return found


def imported(source: Source) -> Iterator[str]:
    """Dotted names the module imports: inside functions, for type checkers only and by `import_module("...")` too.

    `from a import b` gives `a.b`; whether that is a module or something in one is for the caller to know.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from _imported_by_call(node)


def used(source: Source) -> Iterator[str]:
    """Dotted names the module imports or reads an attribute of, with import aliases undone: `o.fork` is `os.fork`."""
    yield from imported(source)
    aliases = _aliases(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            first, _, rest = dotted.partition(".")
            yield f"{aliases.get(first, first)}.{rest}"


def methods(source: Source) -> set[str]:
    """Names of all attributes the module reads, of whatever object."""
    return {node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}


def reached_through(source: Source, names: Sequence[str]) -> list[tuple[int, str]]:
    """Where the module reads such an attribute of any object, `getattr` with its name included: line and text. Calling
    a method of that name is no reaching through.
    """
    called = {id(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    return [
        (node.lineno, ast.unparse(node))
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Attribute) and node.attr in names and id(node) not in called)
        or (isinstance(node, ast.Call) and _read_by_name(node) in names)
    ]


def _read_by_name(node: ast.Call) -> str:
    """The attribute that `getattr` or `attrgetter` reads, where its name is written there."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = node.args[-1:] if name == "attrgetter" else node.args[1:2] if name == "getattr" else []
    return next((str(one.value).partition(".")[0] for one in given if isinstance(one, ast.Constant)), "")


def _base(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = source.package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def _imported_by_call(node: ast.Call) -> Iterator[str]:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called not in ("import_module", "__import__") or not node.args:
        return
    name = node.args[0]
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        yield name.value


def _aliases(source: Source) -> dict[str, str]:
    found = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            found.update({alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names})
    return found


def _dotted(node: ast.Attribute) -> str | None:
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name):
        return None
    return ".".join([value.id, *reversed(parts)])
