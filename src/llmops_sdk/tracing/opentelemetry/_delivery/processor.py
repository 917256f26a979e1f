"""The queue of spans, the thread that empties it, and the counts."""

from __future__ import annotations

import collections
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.util.types import Attributes

from llmops_sdk.tracing.opentelemetry._delivery.carriers import Carrier, Make
from llmops_sdk.tracing.opentelemetry._delivery.counts import SpanCounts
from llmops_sdk.tracing.opentelemetry._delivery.quiet import Trouble

__all__ = ["Delivery"]

_BATCH: Final = 512
"""Spans of one request at most, as OpenTelemetry has it."""

_BATCH_TEXTS: Final = 500_000
"""Bytes of texts in one request at most, unless one span has more. With all else that is about 1 MB: what stands before
collectors often takes no more than 1 MiB (nginx, unless told)."""

_SPAN_BYTES: Final = 4096
"""What a span of twenty short attributes holds of memory, measured."""

_SMALL: Final = frozenset({int, bool, float})

_FORK_S: Final = 0.2
"""How long a fork waits for a request that is under way."""


class Delivery(SpanProcessor):
    """Carries the spans away that have ended, in the order of their ends, and knows what has become of each.

    Who ends a span never waits: a span that finds no room is dropped, and counted. It is the new one that goes, so that
    what was begun to be told is told, and since that costs nothing. One daemon thread sends; it sleeps while there is
    nothing. A forked child begins anew, with an empty queue, a thread and connections of its own; what waited at the
    fork is sent by the parent alone.

    Args:
        make: Makes the carrier; called again in a forked child.
        carrier: The first one.
        most: Spans that may wait.
        most_bytes: About as many bytes of texts and records they may hold.
        every_s: Seconds that a span waits for others at most, before they are sent together.
    """

    def __init__(self, make: Make, carrier: Carrier, *, most: int, most_bytes: int, every_s: float) -> None:
        self._make = make
        self._most = most
        self._most_bytes = most_bytes
        self._every_s = every_s
        self._closed = False
        self._trouble = Trouble()
        self._begin_anew(carrier)
        os.register_at_fork(
            before=_if_there(self._let_it_end),
            after_in_parent=_if_there(self._go_on),
            after_in_child=_if_there(self._begin_anew),
        )

    def _begin_anew(self, carrier: Carrier | None = None) -> None:
        # Of the locks, threads and connections of a parent nothing can be used in a forked child.
        # The lock may be taken twice by one thread: the garbage collector may end a span while one is put in.
        self._changed = threading.Condition(threading.RLock())
        self._trouble.begin()
        self._carrier = carrier
        self._carrying = threading.RLock()
        self._forking: list[int] = []  # threads that hold `_carrying` while they fork
        self._thread: threading.Thread | None = None
        self._queue: collections.deque[tuple[ReadableSpan, int]] = collections.deque()
        self._texts = self._under_way = 0
        self._put = self._gone = self._hurried = 0  # places in the order of the queue, counted from the first span
        self._made = self._delivered = self._rejected = self._dropped = 0

    def _let_it_end(self) -> None:
        # A request holds locks of libraries for moments: pools of connections, modules that are imported with the first
        # one. A child would find them held for ever. While it waits for an answer it holds none, so that is not long.
        if self._carrying.acquire(timeout=_FORK_S):
            self._forking.append(threading.get_ident())

    def _go_on(self) -> None:
        if threading.get_ident() in self._forking:
            self._forking.remove(threading.get_ident())
            self._carrying.release()

    @property
    def counts(self) -> SpanCounts:
        """What has become of the spans so far."""
        with self._changed:
            return SpanCounts(
                made=self._made,
                delivered=self._delivered,
                rejected=self._rejected,
                dropped=self._dropped,
                waiting=len(self._queue) + self._under_way,
            )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing is done yet."""

    def on_end(self, span: ReadableSpan) -> None:
        """Put `span` in the queue, or count it as dropped."""
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        size = _size(span)
        with self._changed:
            self._made += 1
            waiting = len(self._queue)
            held = self._texts + size + (waiting + 1) * _SPAN_BYTES
            if self._closed or waiting >= self._most or held > self._most_bytes:
                self._dropped += 1
                return
            enough = self._is_enough()
            self._queue.append((span, size))
            self._put += 1
            self._texts += size
            if self._thread is None:
                self._start()
            elif waiting == 0 or self._is_enough() != enough:  # the thread sleeps, or has a full batch now
                self._changed.notify_all()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what has ended by now; `False` when some of it still waits after `timeout_millis`."""
        return self.flush(timeout_millis / 1000)

    def flush(self, timeout_s: float) -> bool:
        """Send what has ended by now; `False` when some of it still waits after `timeout_s`."""
        until = time.monotonic() + timeout_s
        with self._changed:
            target = self._hurried = self._put
            self._changed.notify_all()
            alone = self._thread is None  # none could be started: the interpreter is going
        while alone and self._gone < target and time.monotonic() < until:
            self._carry_batch()
        with self._changed:
            return self._changed.wait_for(lambda: self._gone >= target, max(until - time.monotonic(), 0))

    def shutdown(self) -> None:
        """Close, within the 30 s that `TracerProvider.shutdown` gives its processors elsewhere, too."""
        self.close(30.0)

    def close(self, timeout_s: float) -> bool:
        """Flush, then stop for good; what still waits after `timeout_s` is dropped, and so is what ends later."""
        with self._changed:
            if self._closed:
                return self._gone == self._put
            self._closed = True
        done = self.flush(timeout_s)
        with self._changed:
            self._dropped += len(self._queue)
            self._gone += len(self._queue)
            self._queue.clear()
            self._texts = 0
            self._changed.notify_all()
            thread, carrier = self._thread, self._carrier
        if carrier is not None:
            carrier.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(0.5)  # a request that hangs is left to itself
        if not self._under_way:  # else the request that is left to itself may still have something to say
            self._trouble.end()
        self._trouble.tell(self.counts, "", last=True)
        return done

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="llmops_sdk delivery", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is going, or there are too many threads: `flush` sends, or the next span
            return
        self._thread = thread

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                self._changed.wait_for(self._is_due, self._every_s)
                if self._closed and not self._queue:
                    return
            self._carry_batch()

    def _is_due(self) -> bool:
        return self._closed or self._is_enough() or self._hurried > self._gone

    def _is_enough(self) -> bool:
        return len(self._queue) >= _BATCH or self._texts >= _BATCH_TEXTS

    def _take(self) -> list[ReadableSpan]:
        batch: list[ReadableSpan] = []
        size = 0
        with self._changed:
            while self._queue and len(batch) < _BATCH and (not batch or size + self._queue[0][1] <= _BATCH_TEXTS):
                span, one = self._queue.popleft()
                batch.append(span)
                size += one
            self._texts -= size
            self._under_way = len(batch)
        return batch

    def _carry_batch(self) -> None:
        with self._carrying:
            batch = self._take()
            if not batch:
                return
            self._trouble.listen()
            arrived, reason = 0, ""
            token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # sending spans makes no spans
            try:
                if self._carrier is None:
                    self._carrier = self._make()
                arrived = self._carrier.carry(batch)
                reason = self._carrier.reason
            except Exception as exc:  # noqa: BLE001  # told by `Trouble`, once a minute
                reason = type(exc).__name__  # its text may quote what a span holds
            finally:
                detach(token)
                with self._changed:
                    self._under_way = 0
                    self._gone += len(batch)
                    self._delivered += arrived
                    self._rejected += len(batch) - arrived
                    self._changed.notify_all()
                if self._closed:
                    self._trouble.end()
        self._trouble.tell(self.counts, reason)


def _size(span: ReadableSpan) -> int:
    """About how many bytes of texts `span` holds, which is what grows without bound."""
    size = _texts(span.attributes)
    for event in span.events:
        size += _texts(event.attributes)
    return size


def _texts(attributes: Attributes) -> int:
    size = 0
    if attributes:
        # The SDK's mapping asks a lock or a function of Python for each value, and its copy is a plain dict.
        plain: Mapping[str, Any] = attributes.copy() if hasattr(attributes, "copy") else attributes
        for value in plain.values():
            if type(value) is str:
                size += len(value)
            elif type(value) not in _SMALL:
                size += _held(value)
    return size


def _held(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_held(one) for one in value.values())
    if isinstance(value, Sequence):
        return sum(map(_held, value))
    return 8


def _if_there(method: Callable[[], None]) -> Callable[[], None]:
    """Call `method` as long as what it belongs to is used: what is done at a fork is never unregistered."""
    weak = weakref.WeakMethod(method)
    return lambda: own() if (own := weak()) is not None else None
