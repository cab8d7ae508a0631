"""Looking at a segment from outside: without slot, guard and semaphore, through memory that cannot be written.

Nothing here waits for another process, and nothing makes one wait. What changes is copied, and counts where the words
that would have moved did not. No look is repeated without an end.
"""
