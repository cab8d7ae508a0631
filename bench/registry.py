"""Which scenarios there are, in the order of the page."""

from __future__ import annotations

from bench.scenarios import (
    absent,
    backlog,
    beside,
    binding,
    calls,
    compute,
    deferred,
    fairness,
    fan,
    follow_up,
    halves,
    idle,
    importing,
    memory,
    payloads,
    pending,
    recovery,
    routes,
    startup,
    threads,
    wake_up,
)

_MODULES = (
    calls,
    wake_up,
    halves,
    routes,
    threads,
    binding,
    backlog,
    payloads,
    compute,
    fan,
    follow_up,
    fairness,
    beside,
    idle,
    importing,
    startup,
    recovery,
    memory,
    absent,
    deferred,
    pending,
)

SCENARIOS = {scenario.name: scenario for module in _MODULES for scenario in module.SCENARIOS}
