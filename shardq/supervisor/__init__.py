"""The supervising process: it forks workers, sees them die, replaces them, and ends them in order.

It is a clean process of its own (exec, never a fork of an application), runs a plain `selectors` loop without asyncio
or threads, so that it may fork at any time, and touches no messages. What is where:

* `family`: the loop
* `member`: one process
* `arrivals`: whether the first workers are there
* `child`: what a worker process does
* `forked`: what handlers fork is a process of its own
* `interpreter`: the end of a process that must not return
* `standard`: standard input, output and error
* `sharing`: what a fork must not share
* `orphans`: what the first process of a container buries
* `board`: what is seen of the storage
* `handlers`: what is served
* `watch`: what the loop waits for, and its patience
* `threads`: which of that starts threads
* `script`: the application's own script, where it has handlers
* `signals`: what the system asks for
* `stopping`: whether a signal is a new wish
* `terminal`: whether the one it was started from went away
* `control`: what an embedding application asks for
* `launch`: how Python is executed for it
* `deaths`: how processes ended
* `endings`: waiting for that on an event loop, in an application
* `pace`: how soon the dead are replaced
* `exits`: exit codes
* `timer`: a descriptor for a time of day
* `hung`: whose time is up
* `renewal`: fresh processes in the place of worn ones
* `program`: how this one was started
* `reload`: new code, without giving up the place
* `reloading`: trying it first, and again
* `standby`: waiting for the place of another supervisor
* `drain`: whether it is done
* `progress`: how far it is
* `logs`: lines for people or machines
* `heard`: loggers that modules cannot silence by the way
* `output`: text where nobody may read any more
"""
