"""What `shardq dead ...` and `shardq park` do."""
