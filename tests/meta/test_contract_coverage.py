"""Every clause of the contract has a test that names it, and every contract test names a clause."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: `    S3. Once ...` in a docstring of the protocols.
CLAUSE = re.compile(r"^\s+([SLMO]\d+)\. ", re.MULTILINE)
NAMED = re.compile(r"test_([SLMO]\d+)_\w+")


def clauses() -> list[str]:
    contract = ROOT / "shardq" / "protocols"
    return [clause for path in sorted(contract.glob("*.py")) for clause in CLAUSE.findall(path.read_text())]


def contract_tests() -> Iterator[str]:
    for path in sorted((ROOT / "tests" / "contracts").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                yield node.name


def test_clauses_are_numbered_without_gaps() -> None:
    for letter in "SLMO":
        numbers = [int(clause[1:]) for clause in clauses() if clause[0] == letter]
        assert numbers, f"no clause {letter} found"
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_every_clause_has_a_test() -> None:
    tested = {match[1] for name in contract_tests() if (match := NAMED.fullmatch(name))}
    assert set(clauses()) - tested == set()


def test_every_contract_test_names_a_clause() -> None:
    known = set(clauses())
    strays = [name for name in contract_tests() if not (match := NAMED.fullmatch(name)) or match[1] not in known]
    assert strays == []
