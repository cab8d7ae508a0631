"""The driver of many hosts: a Redis or Valkey server.

What is stored lies in partitions, each a handful of keys with one hash tag (`layout`). A verb is one script (`lua/`,
`scripts`), sent by the connection of the running event loop (`links`, `wire`). A coroutine that has to wait is told by
the server, over one subscription of its process (`bells`).
"""
