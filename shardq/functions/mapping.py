"""A map of a function over items: which messages they are, how they are spread over threads, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from shardq.encoding.codec import MsgspecSerializer, array_header, decode_array
from shardq.encoding.replies import Reply
from shardq.encoding.round_trip import check_round_trip
from shardq.errors import DecodeError, RequestError
from shardq.functions.apply import Answer, Apply, Task
from shardq.functions.named import Function, named
from shardq.functions.proofs import proof
from shardq.handling.request_types import concrete_types
from shardq.queue import Queue
from shardq.results.mapping import Mapping, Options
from shardq.results.outcome import error_of

#: How many threads the items of a map go to, one after the other: more than are under way as a rule.
_THREADS = 4096
#: How much work goes to one thread in a row. A worker takes it in one batch, so that short functions cost few batches.
_RUN_S = 0.02
_serializer = MsgspecSerializer()


class FunctionMapping(Mapping):
    """One `map` of a function."""

    def __init__(
        self,
        queue: Queue,
        key: str,
        function: Callable[[Any], Any],
        items: Iterable[Any] | AsyncIterable[Any],
        options: Options,
    ) -> None:
        """`key`: that of the workers."""
        super().__init__(queue, Apply, items, options)
        self._key, self._given, self._proof = key, function, b""
        self._function: Function
        self._thread = self._run_left = 0
        """Where the next items go, and how many of them."""

    async def open(self) -> None:
        """As `Mapping.open`. Raises `HandlerError` for a function that workers cannot import or call."""
        self._function = named(self._given)
        self._proof = proof(self._key, self._function.name)
        await super().open()
        assert self._inbox
        self._thread = self._inbox.number  # no two maps have their items in the same threads, but by chance

    @property
    def _called(self) -> str:
        return self._function.name

    def _as_sent(self, requests: Sequence[Any]) -> Sequence[Any]:
        name = self._function.name
        return [Task(name, self._proof, message, self._next_thread()) for message in self._messages(requests)]

    def _messages(self, items: Sequence[Any]) -> list[bytes]:
        """Raises `RequestError` for items that would not arrive as they are."""
        function, kinds = self._function, concrete_types(self._function.item)
        try:
            messages = _serializer.encode(function.item, items)
            if kinds is not None and not kinds.issuperset(map(type, items)):
                # An integer may stand for a float, a `PosixPath` for a `Path`. Others would arrive as something else.
                check_round_trip(_serializer, function.item, items, messages)
        except RequestError as error:
            raise RequestError(f"an item for {function.name} cannot be sent: {error}") from error
        return messages

    def _next_thread(self) -> int:
        if not self._run_left:
            self._thread = (self._thread + 1) % _THREADS
            self._run_left = self._run
        self._run_left -= 1
        return self._thread

    @property
    def _run(self) -> int:
        """How many items go to a thread in a row: at first one, so that all workers are busy with few items."""
        longest = max(1, self._chunk // 4)
        if self._function.waits:
            return longest  # a worker waits for those of a batch at the same time
        mean_s = self.tally.mean_s
        return 1 if mean_s is None else max(1, min(longest, int(_RUN_S / max(mean_s, 1e-6))))

    def _answers(self, reply: Reply) -> Iterator[tuple[Sequence[int], Sequence[Any], Exception | None]]:
        for numbers, answers, error in super()._answers(reply):
            if error:
                yield numbers, answers, error
            else:
                yield from self._opened(numbers, answers, reply.attempts)

    def _opened(
        self, numbers: Sequence[int], answers: Sequence[Answer], attempts: int
    ) -> Iterator[tuple[Sequence[int], Sequence[Any], Exception | None]]:
        """Results that follow one another, and each failure for itself."""
        start = 0
        for place, answer in enumerate(answers):
            if answer.failure is None:
                continue
            if place > start:
                yield from self._decoded(numbers[start:place], answers[start:place])
            failure = msgspec.structs.replace(answer.failure, attempts=attempts)
            yield numbers[place : place + 1], [None], error_of(Apply, failure)
            start = place + 1
        if start < len(answers):
            yield from self._decoded(numbers[start:], answers[start:])

    def _decoded(
        self, numbers: Sequence[int], answers: Sequence[Answer]
    ) -> Iterator[tuple[Sequence[int], Sequence[Any], Exception | None]]:
        """Their results. What does not decode, as where its worker has other code, is a failure of its own."""
        messages = b"".join(answer.value for answer in answers)
        try:
            values = decode_array(self._function.result, array_header(len(answers)) + messages)
        except DecodeError as undecodable:
            if len(answers) == 1:
                yield numbers, [None], undecodable
                return
            for number, answer in zip(numbers, answers, strict=True):
                yield from self._decoded((number,), (answer,))
        else:
            yield numbers, values, None
