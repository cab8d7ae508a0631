"""The supervising process: it forks workers, sees them die, replaces them, and ends them in order.

It is a clean process of its own: it is executed, and never forked from an application. It runs a plain `selectors` loop
without asyncio or threads, so that it may fork at any time. It touches no messages. What is where:

* `family`: the loop
* `shutdown`: how a family ends, and when workers are killed that are still there
* `watch`: what the loop waits for, and its patience
* `timer`: a descriptor for a time of day
* `companions`: programs beside the workers
* `exits`: exit codes
* `workers.member`: one process
* `workers.roster`: the processes of a family
* `workers.child`: what a worker process does
* `workers.forked`: children that handlers fork
* `workers.interpreter`: the end of a process that must not return
* `workers.deaths`: how processes ended
* `workers.endings`: waiting on an application's event loop for processes to end
* `workers.orphans`: orphans, which the first process of a container reaps
* `workers.pace`: how soon the dead are replaced
* `workers.hung`: workers whose handler hangs
* `workers.renewal`: fresh processes in the place of worn ones
* `workers.arrivals`: whether the first workers are there
* `wishes.signals`: signals, as values in a loop
* `wishes.stopping`: whether a signal is a new wish
* `wishes.terminal`: whether the terminal that started the supervisor went away
* `wishes.foreground`: keys of the terminal that are for a program which runs meanwhile
* `wishes.orders`: signals to a family, from another process of its host
* `wishes.control`: what an embedding application asks for
* `wishes.reload`: new code in the same process
* `wishes.reloading`: a reload under way: its probe, and when it is tried again
* `wishes.retrying`: a reload whose code does not import any more
* `wishes.drain`: whether a drain is done
* `wishes.standby`: waiting for the place of another supervisor
* `code.handlers`: what is served
* `code.init`: what each worker calls before it serves
* `code.script`: the application's own script, where it has handlers
* `code.threads`: which imported modules start threads
* `code.sharing`: what a fork must not share
* `code.launch`: how Python is executed for a supervisor or a worker
* `code.program`: how this program was started
* `output.logs`: lines for people or machines
* `output.heard`: loggers that imported modules cannot silence by accident
* `output.limit`: a time limit for code that may wait without end
* `output.outlet`: lines for a reader that may take none
* `output.telling`: text for a reader that may be gone
* `output.standard`: standard input, output and error
* `output.progress`: how far the work is, as a line in place or now and then
* `output.service`: what systemd is told
* `output.live`: that line, for a family that serves on
"""
