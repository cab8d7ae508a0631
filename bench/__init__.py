"""What it costs: every scenario measures shardq beside a rival and a floor, in the same run. See README.md."""
