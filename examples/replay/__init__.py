"""A stream of events replayed into SQLite, in the order of each account; README.md shows it beside a
`ProcessPoolExecutor`.
"""
