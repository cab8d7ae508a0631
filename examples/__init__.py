"""Programs that use shardq as an application would."""
