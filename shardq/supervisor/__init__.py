"""The supervising process: it forks workers, sees them die, replaces them, and ends them in order.

It is a clean process of its own (exec, never a fork of an application), runs a plain `selectors` loop without asyncio
or threads, so that it may fork at any time, and touches no messages. What is where:

* `family`: the loop
* `board`: what is seen of the storage
* `watch`: what the loop waits for, and its patience
* `timer`: a descriptor for a time of day
* `exits`: exit codes
* `workers.member`: one process
* `workers.child`: what a worker process does
* `workers.forked`: what handlers fork is a process of its own
* `workers.interpreter`: the end of a process that must not return
* `workers.deaths`: how processes ended
* `workers.endings`: waiting for that on an event loop, in an application
* `workers.orphans`: what the first process of a container buries
* `workers.pace`: how soon the dead are replaced
* `workers.hung`: whose time is up
* `workers.renewal`: fresh processes in the place of worn ones
* `workers.arrivals`: whether the first workers are there
* `wishes.signals`: what the system asks for
* `wishes.stopping`: whether a signal is a new wish
* `wishes.terminal`: whether the one it was started from went away
* `wishes.control`: what an embedding application asks for
* `wishes.reload`: new code, without giving up the place
* `wishes.reloading`: trying it first, and again
* `wishes.drain`: whether it is done
* `wishes.standby`: waiting for the place of another supervisor
* `code.handlers`: what is served
* `code.script`: the application's own script, where it has handlers
* `code.threads`: which of that starts threads
* `code.sharing`: what a fork must not share
* `code.launch`: how Python is executed for it
* `code.program`: how this one was started
* `output.logs`: lines for people or machines
* `output.heard`: loggers that modules cannot silence by the way
* `output.limit`: an end to what may wait without one
* `output.outlet`: lines where nobody may take them
* `output.telling`: text where nobody may read any more
* `output.standard`: standard input, output and error
* `output.progress`: how far it is
"""
