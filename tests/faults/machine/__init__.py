"""Dying at machine instructions: the tracer, and the sections of the core that it goes through step by step."""
