"""The files of a segment: what they are called, whose they are, and what the system refuses."""
