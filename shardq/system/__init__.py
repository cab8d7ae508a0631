"""What the operating system gives this process, what it refuses it, and what it tells of others."""
