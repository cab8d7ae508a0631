"""Spans of requests, for OpenTelemetry: `send HANDLER` where a call stores some, `process HANDLER` where a batch is
handled.

shardq never imports OpenTelemetry by itself. Where no code of the application did, there is nothing to do here.

* `api`: is OpenTelemetry there, and its tracer
* `conventions`: names of spans and of what they say
* `sending`: the span of a call
* `processing`: the span of a batch
* `failing`: what a span says of an exception
* `identity`: which trace and span log records belong to
"""
