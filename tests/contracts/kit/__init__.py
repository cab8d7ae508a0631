"""Other processes at work on a driver, for the clauses that need some."""
