"""What shardq is compared with: one file for each rival and floor that takes part in several scenarios."""
