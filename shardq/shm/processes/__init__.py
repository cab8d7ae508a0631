"""Which processes are attached, alive, inside the guard, asleep, or dead."""
