"""The frequent case of some verbs of shared memory in C, and of what comes before an append. Nothing here is needed:
`shm` and `handling` do all of it in Python.

`engine` is the extension, which is there where it could be compiled; `choice.py` says whether to use it. `shm.core` and
`handling.plain` ask it first. What is not the frequent case, it leaves to Python, having changed nothing. The files,
each after those that it uses:

* `words.h`: the numbers of `shm.words` and of some other modules; `header.py` alone writes it
* `cpython.h`: the part of CPython's interface that they use, which all supported versions have
* `core.h`: what the files share, and how a word is read and stored
* `known.c`: what is known of threads and tubes by their names (`shm/tubes/directory.py`)
* `layout.c`: where the parts of this segment lie, as `shm.layout` computed it
* `guard.c`: mutual exclusion (`shm/processes/guard.py`)
* `journal.c`: what is under way (`shm/journal.py`)
* `records.c`: framing of messages (`shm/memory/record.py`)
* `extents.c`: memory for messages (`shm/memory/extents.py`, `reserve.py`)
* `sleepers.c`: which processes to ring (`shm/processes/sleepers.py`, `bells.py`)
* `tallies.c`: what is counted (`shm/tubes/tallies.py`)
* `claims.c`: which threads have work, and who serves them (`shm/tubes/claims.py`)
* `chains.c`: how a tube's records hang together (`shm/memory/record_chain.py`)
* `deaths.c`: threads whose worker died (`shm/tubes/claims.py`, `delivery.py`)
* `batches.c`: what is handed out (`shm/tubes/fifo.py`, `delivery.py`)
* `acknowledge.c`: what leaves (`shm/tubes/fifo.py`, `shm/verbs/handing.py`)
* `turn.c`: a worker's turn, and its rest (`shm/verbs/delivering.py`, `waiting.py`)
* `results.c`: what a turn is asked, and what came of it, as Python sees them
* `plan.c`: where the messages of a call go; changes nothing
* `bells.c`: ringing what was called (`shm/processes/doorbell.py`), and before a call is stored the one that it is for
* `append.c`: storing a call (`shm/verbs/appending.py`)
* `step.c`: the messages of a call by tube (`handling/prepared.py`); knows no segment
* `module.c`: the extension as Python sees it

Two rules. The order of the stores is that of the Python code: so its repair mends what a process left that died here.
And each word of the segment is checked before it is used as a place: where one is odd, Python gets the verb, and says
what is wrong.

A section never gives up the interpreter's lock, makes no object that the garbage collector knows, and calls nothing
that could run other Python code. So no other thread of the process is in the same section, and no finalizer comes back.
"""
