"""The page on performance: first where shardq is slower than a rival, then where it is faster, then every scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.harness.contestant import ROOT
from bench.harness.results import PUBLISHED, Results, busy
from bench.harness.scenario import Figure, Kind, Scenario
from bench.harness.size import FULL
from bench.harness.summary import Summary, failures, rounds, shown, shown_ratio
from bench.registry import SCENARIOS
from bench.report import chart

_INTRODUCTION = """\
<!-- Made by `scripts/bench --report` from {source}: change that, or the scenarios, and not this page. -->

# Performance

What shardq costs, beside rivals and floors: all figures of a scenario come from one run, in which its contestants took
turns, round after round. Given are the median over the rounds and, in brackets, the least and the most. *Ratio* is
the median over the rounds of shardq's figure divided by that contestant's figure of the same round. Compare ratios: the
figures themselves depend on the machine. A *rival* is what people would take instead; a *floor* is the same work
without a queue, or with less to do than any queue has.

| | |
|---|---|
{surroundings}
"""

_NOT_FULL = """
**This run had the size `{size}`**: each contestant did a share of what it does in a full one, which counts
for the backlogs and numbers of threads in the names below as well. Its figures say less.
"""

_BUSY = """
**The machine had other work**: {load} processes wanted one of its {cores} cores before the run began. All figures are
worse than they would be alone, and so unevenly that ratios say little as well.
"""

_REPEAT = """
`scripts/bench --renew` measures all of it again and writes this page, `scripts/bench NAME` measures one scenario, and
`scripts/bench --list` names all. [How it is measured](../../bench/README.md) says what takes part and why.
"""

_SLOWER = "## Where shardq is slower"
_FASTER = "## Where shardq is faster"
#: What stands above each list.
_HOW = "Each rival beside shardq in the same shape, the {first} first. A ratio is shardq's figure over the rival's."
_COMPARED = "| scenario | figure | rival | shardq | rival's | ratio |\n|---|---|---|---|---|---|"


def text(results: Results, found: Mapping[str, Sequence[Summary]], charts: str) -> str:
    """The page. `charts` is the folder of the charts, as seen from it."""
    compared = [each for its in found.values() for each in its if each.contestant.kind is Kind.RIVAL and each.ratio]
    slower = sorted((each for each in compared if each.slower), key=lambda each: each.advantage)
    faster = sorted((each for each in compared if not each.slower), key=lambda each: -each.advantage)
    load, cores = results.taken["load"], results.machine["cores"]
    parts = [
        _INTRODUCTION.format(source=PUBLISHED.relative_to(ROOT), surroundings="\n".join(_surroundings(results))),
        "" if results.taken["size"] == FULL.name else _NOT_FULL.format(size=results.taken["size"]),
        _BUSY.format(load=load, cores=cores) if busy(results) else "",
        _REPEAT,
        _comparison(_SLOWER, _HOW.format(first="worst"), slower, found),
        _comparison(_FASTER, _HOW.format(first="best"), faster, found),
        "\n## All scenarios\n",
        *(_scenario(SCENARIOS[name], its, failures(results.scenarios[name]), charts) for name, its in found.items()),
    ]
    return "".join(parts)


def _surroundings(results: Results) -> Iterator[str]:
    machine, taken = results.machine, results.taken
    yield f"| machine | {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB |"
    yield f"| system | {machine['system']} |"
    yield f"| versions | {', '.join(f'{name} {version}' for name, version in results.versions.items())} |"
    yield f"| taken | {taken['time']}, commit {taken['commit']}, {rounds(taken['rounds'])}, size {taken['size']} |"
    yield f"| command | `{taken['command']}` |"


def _comparison(heading: str, how: str, chosen: Sequence[Summary], found: Mapping[str, Sequence[Summary]]) -> str:
    rows = [
        f"| [`{each.scenario.name}`](#{each.scenario.name}) | {_measure(each.figure)} "
        f"| {each.contestant.name} | {shown(_own(each, found[each.scenario.name]), each.figure)} "
        f"| {shown(each.median, each.figure)} "
        f"| {shown_ratio(each.ratio)} |"
        for each in chosen
    ]
    body = "\n".join([_COMPARED, *rows]) if rows else "Nowhere, in this run."
    return f"\n{heading}\n\n{how}\n\n{body}\n"


def _own(rival: Summary, found: Sequence[Summary]) -> float:
    """The median of shardq that the rival's is compared with."""
    return next(each.median for each in found if each.figure is rival.figure and each.contestant.name == rival.subject)


def _scenario(scenario: Scenario, found: Sequence[Summary], failed: Sequence[str], charts: str) -> str:
    """Where each contestant failed in every round, there is nothing to show but that."""
    parts = [f"### {scenario.name}", f"{_capital(scenario.title)}.", *(f"**{sentence}**" for sentence in failed)]
    if found:
        first = [summary for summary in found if summary.figure is scenario.figures[0]]
        parts += [f"![{chart.in_words(first)}]({charts}/{scenario.name}.svg)", _table(scenario, found)]
    return "\n" + "\n\n".join([*parts, scenario.caveats.strip()]) + "\n"


def _table(scenario: Scenario, found: Sequence[Summary]) -> str:
    """One row for each contestant, and two columns for each figure."""
    found_figures = {each.figure for each in found}
    figures = [figure for figure in scenario.figures if figure in found_figures]
    heading = "".join(f" {_measure(figure)}, {_better(figure)} | ratio |" for figure in figures)
    names = list(dict.fromkeys(summary.contestant.name for summary in found))
    cells = {(each.contestant.name, each.figure.name): _cells(each) for each in found}
    rows = ["| " + name + " |" + "".join(cells[name, figure.name] for figure in figures) for name in names]
    return "\n".join([f"| contestant |{heading}", "|---|" + "---|---|" * len(figures), *rows])


def _cells(summary: Summary) -> str:
    low, middle, high = (shown(value, summary.figure) for value in (summary.low, summary.median, summary.high))
    return f" {middle} ({low} to {high}) | {shown_ratio(summary.ratio)} |"


def _better(figure: Figure) -> str:
    return "less is better" if figure.less_is_better else "more is better"


def _measure(figure: Figure) -> str:
    """What is measured, in its unit; a share has none."""
    return figure.meaning if figure.unit == "1" else f"{figure.meaning}, {figure.unit}"


def _capital(text: str) -> str:
    return text if text.startswith("if_") else text[0].upper() + text[1:]
