"""The handlers and requests that are measured, and helpers to run them."""
