"""Requests to messages and back: what a type can hold, and that it arrives as it was sent."""
