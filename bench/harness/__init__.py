"""From a scenario to figures: sizes, processes, rounds, results files, summaries, tables."""
