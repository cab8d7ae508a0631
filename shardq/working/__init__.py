"""Bind to a thread, take batches, call the handler, acknowledge; and what becomes of failures."""
