"""The driver of one host: a shared-memory segment, waited on with asyncio."""
