"""Every order of events that matters: the real code of several processes, run one step at a time by a plan."""
