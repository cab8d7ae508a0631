"""The supervising process: it forks workers, sees them die, replaces them, and ends them in order.

It is a clean process of its own (exec, never a fork of an application), runs a plain `selectors` loop without asyncio
or threads, so that it may fork at any time, and touches no messages. `family` holds the loop, `child` what a worker
process does, `signals` and `deaths` the two kinds of news, `handlers` what is served, `progress` what a drain shows.
"""
