"""What it costs: every scenario measures shardq beside rivals and floors, in the same run. See README.md.

* `registry`: all scenarios by name
* `scenarios/`: one file for each, with what shardq does in it
* `rivals/`: one file for each rival and floor that takes part in several scenarios
* `load/`: the handlers and requests that are measured, and helpers to run them
* `harness/`: from a scenario to figures: sizes, processes, rounds, results files, summaries, tables
* `report/`: from a results file to `docs/reference/performance.md`, its charts and the table in the README
* `results/`: results files
"""
