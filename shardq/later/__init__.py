"""Requests that wait for their time: listed, chosen by a filter, cancelled, or had come now."""
