"""The supervising process: it forks workers, sees them die, replaces them, and ends them in order.

It is a clean process of its own (exec, never a fork of an application), runs a plain `selectors` loop without asyncio
or threads, so that it may fork at any time, and touches no messages. `family` holds the loop, `member` one process,
`child` what a worker process does, `board` what is seen of the storage, `signals` and `deaths` the two kinds of news,
`handlers` what is served, `hung` whose time is up, `renewal` and `reload` fresh processes in the place of old ones,
`drain` and `progress` how far a drain is.
"""
