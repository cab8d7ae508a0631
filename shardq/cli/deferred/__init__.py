"""What `shardq later ...` does."""
