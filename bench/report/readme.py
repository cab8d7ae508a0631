"""The short table in the README, between two markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.harness.results import Results, busy
from bench.harness.scenario import Kind
from bench.harness.summary import Summary, failures, rounds, shown

BEGIN = "<!-- begin: made by scripts/bench --report -->"
END = "<!-- end: made by scripts/bench --report -->"

_COLUMNS = (
    "shardq, 1 worker",
    "shardq, 2 workers",
    "`multiprocessing.Queue`",
    "`ProcessPoolExecutor.map`",
    "`sharded-queue`, in process",
    "`huey`, SQLite",
)


class _Row(NamedTuple):
    title: str
    scenario: str
    contestants: tuple[str | None, ...]
    """By column."""
    words: tuple[str, ...] = ("-",) * len(_COLUMNS)
    """What stands in each column where there is no figure."""
    figures: tuple[str, ...] = ()
    """Names of the figures that are shown, between strokes. None: the first one of the scenario."""


def _calls(title: str, call: int, verb: str, put: str) -> _Row:
    contestants = (
        f"shardq{verb}, 1 worker",
        f"shardq{verb}, 2 workers",
        f"multiprocessing.Queue, {put}, 1 consumer",
        "ProcessPoolExecutor.map, 1 worker",
        "sharded-queue, in process",
        "huey, SQLite",
    )
    return _Row(title, f"calls-{call}", contestants)


_ROWS = (
    _calls("single requests, requests/s", 1, ", register_sync", "single"),
    _calls("calls of 16, requests/s", 16, "", "lists"),
    _calls("calls of 128, requests/s", 128, "", "lists"),
    _calls("calls of 10,000, requests/s", 10_000, "", "lists"),
    _Row("wake-up, median, us", "wake-up", ("shardq, bound thread", None, "multiprocessing.Queue", None, None, None)),
    _Row(
        "2 ms of work, share of ideal",
        "compute-2ms",
        (None, "shardq", "multiprocessing.Queue, single", "ProcessPoolExecutor.map", None, None),
    ),
    _Row(
        "`kill -9` of a worker: its work goes on after, us",
        "recovery",
        (None, "shardq, one idle worker", None, None, None, None),
        ("-", "-", "never: it is lost", "never: `BrokenProcessPool`", "never: all is lost", "never: it is lost"),
    ),
    _Row(
        "`kill -9` of workers under load: kills / requests lost / out of order",
        "kills",
        (None, "shardq", "multiprocessing.Queue", "ProcessPoolExecutor.map", None, None),
        figures=("kills", "lost", "late"),
    ),
)


def table(results: Results, found: Mapping[str, Sequence[Summary]]) -> str:
    """The table, with where it comes from."""
    compared = [each for its in found.values() for each in its if each.contestant.kind is Kind.RIVAL and each.ratio]
    slower = sum(each.slower for each in compared)
    machine, taken = results.machine, results.taken
    meanwhile = [f"The machine had other work: its load was {taken['load']} before."] if busy(results) else []
    failed = sum(len(failures(results.scenarios[name])) for name in found)
    some = [f"Contestants that failed in a round or in all, for the page to name: {failed}."] if failed else []
    rows = [_row(row, its) for row in _ROWS if (its := found.get(row.scenario))]
    return "\n".join(
        [
            f"Medians of {_rounds(results)} of `scripts/bench`, size {taken['size']}, on {machine['processor']}",
            f"with {machine['cores']} cores.",
            *meanwhile,
            *some,
            "[Performance](docs/reference/performance.md) has commands and commits, and says what rivals do not do.",
            f"It begins with the {slower} of {len(compared)} comparisons in which a rival is better than shardq.",
            "",
            f"| end to end, 16 threads | {' | '.join(_COLUMNS)} |",
            "|---|" + "---|" * len(_COLUMNS),
            *rows,
        ]
    )


def _rounds(results: Results) -> str:
    """How many rounds those scenarios went that have a row."""
    shown = [results.scenarios[row.scenario] for row in _ROWS if row.scenario in results.scenarios]
    counts = {len(figures) for runs in shown for figures in runs.values()} or {results.taken["rounds"]}
    return rounds(max(counts)) if len(counts) == 1 else f"{min(counts)} to {rounds(max(counts))}"


def replaced(readme: str, new: str) -> str:
    """The README with this table. Raises `ValueError` where a marker is missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no table to replace: put {BEGIN} and {END} where it is to stand")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def _row(row: _Row, found: Sequence[Summary]) -> str:
    figures = row.figures or (found[0].figure.name,)
    cells = (_cell(name, figures, found) or words for name, words in zip(row.contestants, row.words, strict=True))
    return f"| {row.title} | {' | '.join(cells)} |"


def _cell(contestant: str | None, figures: Sequence[str], found: Sequence[Summary]) -> str:
    medians = {each.figure.name: each for each in found if each.contestant.name == contestant}
    return " / ".join(shown(medians[name].median, medians[name].figure) for name in figures if name in medians)
