"""The files of a segment: their names, their owners, and what the system refuses."""
