"""Room, and how messages lie in it."""
