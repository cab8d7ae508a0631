"""The scenarios, one file for each: which figures, which contestants, and what shardq does in it."""
