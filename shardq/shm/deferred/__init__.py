"""Deferred and recurrent messages, which wait for their due time."""
