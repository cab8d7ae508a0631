"""The rival that is in the standard library: `multiprocessing.Queue`, each call put as one list."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import TOTALS, Blob, Job, Nothing, Ping, calls_of, compute, stamped
from bench.load.pace import paced
from bench.load.percentiles import percentiles_us, warm_percentiles_us

_CONTEXT = multiprocessing.get_context("fork")
_FLUSH, _END = "flush", "end"
_HANDLER = Nothing()


class Consumers:
    """Processes that take from one queue and call a function with each item."""

    def __init__(self, handle: Callable[[Any], object], count: int) -> None:
        self.queue = _CONTEXT.Queue()
        self._done, self._on = _CONTEXT.Semaphore(0), _CONTEXT.Semaphore(0)
        self._processes = [_CONTEXT.Process(target=self._consume, args=(handle,), daemon=True) for _ in range(count)]

    def seconds_for(self, items: Iterable[Any]) -> float:
        """From the first put until all is handled."""
        put = self.queue.put
        start = time.perf_counter()
        for item in items:
            put(item)
        self.flush()
        return time.perf_counter() - start

    def flush(self) -> None:
        """Until all that was put is handled."""
        for _ in self._processes:
            self.queue.put(_FLUSH)
        for _ in self._processes:
            self._done.acquire()
        for _ in self._processes:
            self._on.release()

    def start(self) -> None:
        for process in self._processes:
            process.start()

    def end(self) -> None:
        for _ in self._processes:
            self.queue.put(_END)
        for process in self._processes:
            process.join()
        self.queue.close()

    def _consume(self, handle: Callable[[Any], object]) -> None:
        while (item := self.queue.get()) != _END:
            if item == _FLUSH:
                self._done.release()
                self._on.acquire()
            else:
                handle(item)


@contextmanager
def consuming(handle: Callable[[Any], object], count: int) -> Iterator[Consumers]:
    consumers = Consumers(handle, count)
    consumers.start()
    yield consumers
    consumers.end()


def calls(size: Size, *, consumers: int, call: int) -> Figures:
    """Each call is one list; single requests are put as they are."""
    total = size.count(TOTALS[call], call)
    handle = _handle_single if call == 1 else _handle_list
    with consuming(handle, consumers) as rival:
        rival.seconds_for(_items(call, total // 10))  # to warm up
        return {"end_to_end_per_s": total / rival.seconds_for(_items(call, total))}


def _items(call: int, total: int) -> Iterator[Any]:
    made = calls_of(call, total)
    return (requests[0] for requests in made) if call == 1 else made


def _handle_single(request: Job) -> None:
    _HANDLER.handle(request)


def _handle_list(requests: list[Job]) -> None:
    _HANDLER.handle(*requests)


def computing(size: Size, *, tasks: int, seconds: float, workers: int) -> Figures:
    """Tasks of so much processor time, put one by one."""
    count = size.count(tasks, workers)
    with consuming(compute, workers) as rival:
        rival.seconds_for([seconds] * workers)
        return {"of_ideal": count * seconds / workers / rival.seconds_for([seconds] * count)}


def wake_ups(size: Size, *, pings: int, pause_s: float) -> Figures:
    """One item after each pause: from the put to the first line of the consumer."""
    count = size.count(pings)
    delays = _CONTEXT.RawArray("q", count)

    def note(ping: Ping) -> None:
        delays[ping.number] = time.monotonic_ns() - ping.sent_ns

    with consuming(note, 1) as rival:
        for number in range(count):
            time.sleep(pause_s)
            rival.queue.put(Ping(number, time.monotonic_ns()))
        rival.flush()
    return warm_percentiles_us(delays)


def half_load(size: Size, *, call: int, calls: int) -> Figures:
    """Calls at half the rate that one consumer can take: from the put to the consumer's first line."""
    count = size.count(calls)
    delays = _CONTEXT.RawArray("q", count)

    def handle(requests: list[Ping]) -> None:
        first, sent_ns = requests[0]
        if sent_ns:
            delays[first // call] = time.monotonic_ns() - sent_ns

    with consuming(handle, 1) as rival:
        seconds = rival.seconds_for(stamped(0, call, sent_ns=0) for _ in range(count))
        per_s = count / seconds / 2
        paced(lambda number: rival.queue.put(stamped(number, call, time.monotonic_ns())), count, per_s)
        rival.flush()
    return {**percentiles_us(delays), "offered_per_s": per_s * call}


def payloads(size: Size, *, content_bytes: int, call: int, total: int) -> Figures:
    """Calls of requests of so many bytes."""
    count = size.count(total, call)
    requests = [Blob(number, bytes(content_bytes)) for number in range(call)]
    with consuming(lambda blobs: None, 1) as rival:
        rival.seconds_for([requests] * max(1, count // call // 10))
        seconds = rival.seconds_for([requests] * (count // call))
    return {"end_to_end_per_s": count / seconds, "mib_per_s": count * content_bytes / seconds / (1 << 20)}


def fan(size: Size, *, producers: int, consumers: int, call: int, total: int) -> Figures:
    """Several processes put lists."""
    each = size.count(total // producers, call)
    with consuming(_handle_list, consumers) as rival:
        began, go = _CONTEXT.Semaphore(0), _CONTEXT.Semaphore(0)

        def produce() -> None:
            began.release()
            go.acquire()
            for requests in calls_of(call, each):
                rival.queue.put(requests)

        children = [_CONTEXT.Process(target=produce) for _ in range(producers)]
        for child in children:
            child.start()
        for _ in children:
            began.acquire()
        start = time.perf_counter()
        for _ in children:
            go.release()
        for child in children:
            child.join()
        rival.flush()
        return {"end_to_end_per_s": each * producers / (time.perf_counter() - start)}
