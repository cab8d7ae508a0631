"""Dead letters chosen by what they hold, and written to files."""
