"""Threads and tubes by name, what is in them, whose they are, and what is in a worker's hands."""
