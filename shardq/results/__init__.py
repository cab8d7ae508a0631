"""Requests whose caller waits for their results: `Queue.call` and `Queue.map`."""
