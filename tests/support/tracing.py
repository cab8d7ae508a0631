"""OpenTelemetry in the process that runs the tests, for one test at a time; and a program's set-up for workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from shardq.tracing import api

#: The folder that workers write their spans to, a file for each.
FOLDER = "SHARDQ_TEST_SPANS"


class Spans:
    """The spans that ended so far."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    @property
    def names(self) -> list[str]:
        return [span.name for span in self._exporter.get_finished_spans()]


@contextmanager
def recorded(sampler: Sampler = DEFAULT_ON) -> Iterator[Spans]:
    """Within, this process has a provider whose spans are kept here. OpenTelemetry takes one for the life of a process:
    what it keeps it in is put back.
    """
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provided(provider):
        yield Spans(exporter)


@contextmanager
def provided(provider: Any) -> Iterator[None]:
    """Within, this is the provider of this process. None: there is none."""
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = provider
    api.tracer.cache_clear()
    try:
        yield
    finally:
        trace._TRACER_PROVIDER = before
        api.tracer.cache_clear()


def identity(span: ReadableSpan) -> tuple[int, int]:
    """Trace and span."""
    return span.context.trace_id, span.context.span_id


def parent_of(span: ReadableSpan) -> tuple[int, int] | None:
    return (span.parent.trace_id, span.parent.span_id) if span.parent else None


def linked_to(span: ReadableSpan) -> Sequence[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def said(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes."""
    return dict(span.attributes or {})


def set_up() -> None:
    """For `--init`: spans are exported in the background, into a file of this process."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ToFile(Path(os.environ[FOLDER], f"{os.getpid()}.jsonl"))))
    trace.set_tracer_provider(provider)


class ToFile(SpanExporter):
    """Adds a line for each span."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{span.to_json(indent=None)}\n" for span in spans)
        return SpanExportResult.SUCCESS


def raise_at_once() -> None:
    raise ConnectionError("no collector there")


async def set_up_async() -> None: ...


NOT_CALLABLE = 3
