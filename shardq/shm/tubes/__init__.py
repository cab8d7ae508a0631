"""Threads and tubes by name, their messages, which worker is bound to them, and what a worker has in hand."""
