"""All that a driver calls: each verb is one guarded section, or few."""
