"""Charts of the page say the figures that they draw."""

from __future__ import annotations

import re

from shardq.web.charts import heat_map, line


def test_a_line_says_its_last_and_its_greatest_value() -> None:
    assert "5 now, at most 1,200" in line([(0.0, 0.0), (10.0, 1200.0), (20.0, 5.0)], "Queued")
    assert "0 now, at most 0" in line([(0.0, 0.0), (10.0, 0.0)], "Queued")


def test_a_line_is_broken_where_nothing_is_known() -> None:
    assert line([(0.0, 1.0), (10.0, None), (20.0, 2.0)], "Queued").count("<polyline") == 2
    assert line([(0.0, 1.0)], "Queued") == ""


def test_a_map_has_a_cell_each_and_no_foreign_markup() -> None:
    cells = [(f"thread?pipe={number}", "<script>", float(number)) for number in range(40)]

    assert len(re.findall("<rect", heat_map(cells))) == 40
    assert "<script>" not in heat_map(cells)
