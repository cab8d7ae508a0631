"""Moving house: all that a storage holds goes into another one, and who uses the old one is told where."""
