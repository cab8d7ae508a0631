"""The verbs of a storage on a server, and what they need to know of it. Most of a verb is one script in `lua/`."""
