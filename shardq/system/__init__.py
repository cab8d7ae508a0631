"""What the operating system gives this process, and what it refuses it."""
