"""The table of the census, and the files its folding handler keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.census.handlers import JSON_NAME, OUT_VARIABLE, RESULTS_NAME, Fold, FoldRequest
from examples.census.measure import Counts
from examples.census.table import Table, as_json, as_text, differences, fold, from_json, total

ONE = Counts(files=1, lines=10, functions=2)
RESULTS = [FoldRequest(f"/lib/{name}.py", name[0], ONE) for name in ("a1", "b1", "a2", "a3")]
FOLDED: Table = {"a": Counts(files=3, lines=30, functions=6), "b": ONE}


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(OUT_VARIABLE, str(tmp_path))
    return tmp_path


def bound_fold(*batches: list[FoldRequest]) -> None:
    """One binding of the handler, from start to the last batch."""
    handler = Fold.create()
    handler.start()
    for batch in batches:
        handler.perform(*batch)


def written(out: Path) -> Table:
    return from_json((out / JSON_NAME).read_text(encoding="utf-8"))


def test_a_table_survives_json_and_has_one_spelling() -> None:
    assert from_json(as_json(FOLDED)) == FOLDED
    assert as_json(dict(reversed(FOLDED.items()))) == as_json(FOLDED)


def test_the_text_ranks_packages_by_lines_and_ends_with_the_total() -> None:
    lines = as_text(FOLDED, top=1).splitlines()
    assert lines[0].split() == ["package", *Counts._fields]
    assert lines[1].split() == ["a", "3", "0", "30", "6", "0", "0"]
    assert lines[2] == "… and 1 more"
    assert lines[3].split() == ["total", "4", "0", "40", "8", "0", "0"]


def test_an_empty_table_has_a_total() -> None:
    assert total({}) == Counts()


def test_differences_name_packages_of_either_table() -> None:
    other: Table = {"a": FOLDED["a"]}
    fold(other, "c", ONE)
    assert differences(FOLDED, FOLDED) == []
    assert [line.partition(":")[0] for line in differences(FOLDED, other)] == ["b", "c"]


def test_folding_goes_on_in_another_object(out: Path) -> None:
    bound_fold(RESULTS[:2])
    bound_fold(RESULTS[2:3], RESULTS[3:])
    assert written(out) == FOLDED


def test_a_repeated_batch_changes_nothing(out: Path) -> None:
    bound_fold(RESULTS[:3], RESULTS[:3])
    bound_fold(RESULTS)
    assert written(out) == FOLDED


def test_a_record_cut_off_by_a_death_comes_again(out: Path) -> None:
    bound_fold(RESULTS)
    results = out / RESULTS_NAME
    results.write_bytes(results.read_bytes()[:-5])
    bound_fold(RESULTS[3:])
    assert written(out) == FOLDED
    assert results.read_bytes().count(b"\n") == len(RESULTS)
