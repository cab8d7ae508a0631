"""The driver of one process, and the reference for every other one."""
