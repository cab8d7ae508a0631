"""Connections to one server: what goes over them, what errors mean, and calls that are made again."""
