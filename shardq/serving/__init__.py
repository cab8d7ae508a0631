"""A supervisor as it is started: its command line, its storage, and the application that it is embedded in."""
