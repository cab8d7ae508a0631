"""Who is attached, alive, inside the guard, asleep, or dead."""
