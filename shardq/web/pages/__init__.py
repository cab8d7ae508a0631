"""The pages, each with what it reads, and the actions."""
