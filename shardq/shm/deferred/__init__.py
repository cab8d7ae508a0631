"""What waits for its time."""
