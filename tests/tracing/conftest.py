"""Runs made by hand: a `Call` and its events, with chosen times, and no pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmops_sdk.calls import (
    AttemptEnded,
    AttemptStarted,
    Call,
    Ended,
    FirstChunk,
    GuardChecked,
    Rendered,
    Retried,
    Routed,
    Started,
    StreamResumed,
)
from llmops_sdk.errors import StreamInterrupted
from llmops_sdk.messages import Choice, Message, PromptRef, Request, Response, Usage
from llmops_sdk.tracing._later import LATER
from llmops_sdk.verdicts import Finding, Verdict

PLANTED = "xyzzy-4711"
"""Stands for what users and models say: it may not leave the process unless content was asked for."""


class Runs:
    """Makes runs; `t` moments are seconds from the start of the run."""

    planted = PLANTED
    prompt = PromptRef(name="support/answer", version="prod", commit="9f31c02ab7e1", hash="c0ffee")
    usage = Usage(input_tokens=1312, output_tokens=158, cached_input_tokens=1024)

    def request(self, *texts: str, **parameters: Any) -> Request:
        """A request with these user messages."""
        messages = tuple(Message.user(text) for text in texts or (f"Tell me {PLANTED}",))
        return Request(messages=messages, prompt=self.prompt, **parameters)

    def attempt(self, call: Call, started: float, at: float, **changes: Any) -> AttemptEnded:
        """An attempt that went well, but for `changes`."""
        t = call.started
        response = Response(
            choices=(Choice(text=f"It is {PLANTED}", finish_reason="stop"),),
            usage=self.usage,
            model="gpt-5-mini-2026",
            id="resp-1",
        )
        values: dict[str, Any] = {
            "engine": "cloud",
            "provider": "openai",
            "number": 1,
            "request": self.request(temperature=0.2, max_tokens=200),
            "response": response,
            "usage": self.usage,
            "cost_usd": Decimal("0.00021325"),
            "error": None,
            "streamed": False,
            "first_chunk_at": None,
            "chunks": 0,
            "model": "gpt-5-mini",
        }
        values.update(changes)
        return AttemptEnded(started=t + started, at=t + at, **values)

    def guard(self, call: Call, at: float, guard: str, stage: Any, verdict: Verdict) -> GuardChecked:
        """A guard that worked for a millisecond until `at`."""
        return GuardChecked(call.started + at - 0.001, call.started + at, guard, stage, verdict, 0.001)

    def record(
        self, call: Call, *events: Any, outcome: str = "ok", error: BaseException | None = None, **end: Any
    ) -> Call:
        """Start, `events`, end at one second; the application gets the last answer unless `end` says another."""
        t = call.started
        answers = [e.response for e in events if isinstance(e, AttemptEnded) and e.error is None]
        end.setdefault("response", answers[-1] if answers and outcome == "ok" else None)
        for event in (Started(t, "support", streamed=False), *events, Ended(t + 1.0, outcome, error, **end)):
            call.record(event)
        return call

    def plain(self, call: Call) -> Call:
        """A render, two guards, a route and an attempt."""
        t = call.started
        email = Finding(kind="email", start=0, end=5)
        return self.record(
            call,
            Rendered(t + 0.001, t + 0.003, self.prompt, self.request()),
            self.guard(call, 0.005, "pii", "input", Verdict.rewrite(f"<{PLANTED}>", (email, email), reason="2 found")),
            Routed(t + 0.006, "latency", ("cloud", "local"), (("azure", "failed 3 s ago"),)),
            AttemptStarted(t + 0.006, "cloud", 1),
            self.attempt(call, 0.006, 0.9),
            self.guard(call, 0.95, "secrets", "output", Verdict.allow()),
        )

    def failed_over(self, call: Call) -> Call:
        """A stream that broke at one engine, and went on at the next."""
        t = call.started
        broke = StreamInterrupted(f"broke at {PLANTED}", partial_text=PLANTED, engine="local", status_code=502)
        broke.__cause__ = ConnectionResetError(PLANTED)
        part = Response(choices=(Choice(text=PLANTED),))
        return self.record(
            call,
            Routed(t + 0.005, "latency", ("local", "cloud"), ()),
            AttemptStarted(t + 0.005, "local", 1, "vllm", "SmolLM2", in_process=True),
            FirstChunk(t + 0.09, "local"),
            self.attempt(
                call, 0.005, 0.2, engine="local", provider="vllm", model="SmolLM2", in_process=True, streamed=True,
                response=part, usage=None, cost_usd=None, error=broke, first_chunk_at=t + 0.09, chunks=11,
            ),
            Retried(t + 0.2, "cloud", 0.05, broke),
            StreamResumed(t + 0.25, "cloud", "resume", 118),
            AttemptStarted(t + 0.25, "cloud", 2),
            self.attempt(call, 0.25, 0.9, number=2, streamed=True, first_chunk_at=t + 0.4, chunks=41),
        )  # fmt: skip


@pytest.fixture
def runs() -> Runs:
    return Runs()


class Written(InMemorySpanExporter):
    """Keeps spans; who asks for them waits until they are written, which is done later."""

    def get_finished_spans(self) -> tuple[Any, ...]:
        assert LATER.flush(timeout_s=30)
        return super().get_finished_spans()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return Written()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def named() -> Callable[[Iterable[Any], str], Any]:
    """The one span whose name begins with a text."""

    def find(spans: Iterable[Any], beginning: str) -> Any:
        (span,) = [span for span in spans if span.name.startswith(beginning)]
        return span

    return find
