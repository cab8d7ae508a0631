"""Worker processes: how one begins, lives, ends, and is replaced."""
