"""Runs with planted secrets, and all that leaves the process of them: a script, too, for a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import logging
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmops_sdk import Guard, Verdict, tracing
from llmops_sdk.calls import Aside, AttemptEnded, Call
from llmops_sdk.engines import Scripted
from llmops_sdk.errors import BadRequestError, ServerError, StreamInterrupted
from llmops_sdk.guards import PII, Secrets
from llmops_sdk.messages import Choice, Document, Message, Request, Response, ToolCall
from llmops_sdk.pipelines import Pipeline, Result
from llmops_sdk.routers import Router
from llmops_sdk.tracing._dialects import DIALECTS
from llmops_sdk.tracing._later import LATER
from llmops_sdk.verdicts import Finding
from llmops_sdk.virtual_time import run_in_virtual_time

SECRETS = {
    "cloud key": "AKIA" + "Z3MXQ7PLWVN4TDRK",
    "token": "gh" + "p_" + "k3J9dQ7mVx2RtY8bLw5NcZ1fHs6GpA4uEo0T",
    "email": "ottilie.brandt" + "@" + "kessler-werke.example.org",
    "phrase": 'the "purple" heron lands at dawn\nunder Öland bridge',
}
"""Found by `Secrets`, by `Secrets`, by `PII`, and by guards of the test alone."""

PLACES = ("variable", "document", "tool result", "tool arguments", "answer", "reasoning", "call", "tag", "error")
"""Where a secret may be planted; what is in a tag or an error alone is found by no guard."""

ENDINGS = ("ok", "fails", "breaks", "fails over", "breaks and goes on", "hedged", "cancelled", "over its deadline")


class Planted(NamedTuple):
    """Where a secret was planted, which guards stand before and behind the engine, and how the run goes."""

    secret: str
    places: frozenset[str]
    guards: tuple[str, str]
    how: str
    ending: str


class Own(Guard):
    """Finds one text, and says where unless it is `silent`."""

    blocking = False

    def __init__(self, secret: str, action: str, *, silent: bool = False, talks: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.secret, self.action, self.silent, self.talks = secret, action, silent, talks

    def check(self, text, context=None):
        start = text.find(self.secret)
        if start < 0:
            return Verdict.allow()
        found = [] if self.silent else [Finding(kind="own", start=start, end=start + len(self.secret))]
        reason = f"it says {self.secret}" if self.talks else "found it"
        if self.action == "rewrite":
            return Verdict.rewrite(text.replace(self.secret, "<own>"), found, reason=reason)
        return Verdict.block(reason, found) if self.action == "block" else Verdict.flag(reason, found)


class Judge(Guard):
    """Asks a model of its own about each text, which repeats it, and is content."""

    blocking = False

    def check(self, text, context=None):
        now = context.call.clock()
        request = Request(messages=(Message.user(f"Is this fine? {text}"),))
        response = Response(choices=(Choice(text=f"It is fine to say {text}"),))
        attempt = AttemptEnded(
            now, now, "judge", "scripted", 1, request, response, None, None, None, False, None, 0, "judge"
        )
        context.call.record(Aside(now, self.name, attempt))
        return Verdict.allow()


def guards_of(kind: str, secret: str) -> list[Any]:
    """Guards by name."""
    made = {
        "secrets": Secrets,
        "secrets flag": lambda: Secrets(action="flag"),
        "secrets block": lambda: Secrets(action="block"),
        "pii": PII,
        "pii flag": lambda: PII(action="flag"),
        "pii restore": lambda: PII(restore=True),
        "rewrite": lambda: Own(secret, "rewrite"),
        "rewrite silently": lambda: Own(secret, "rewrite", silent=True),
        "flag": lambda: Own(secret, "flag", talks=True),
        "flag silently": lambda: Own(secret, "flag", silent=True),
        "block": lambda: Own(secret, "block", talks=True),
        "audit": lambda: Own(secret, "rewrite", mode="audit"),
        "beside": lambda: Own(secret, "rewrite", overlap=True),
        "none": lambda: None,
    }[kind]()
    return [] if made is None else [made]


GUARDS = (
    "none", "secrets", "secrets flag", "secrets block", "pii", "pii flag", "pii restore", "rewrite",
    "rewrite silently", "flag", "flag silently", "block", "audit", "beside",
)  # fmt: skip


class _Everything(logging.Formatter):
    """Lines with all that a record of the log holds."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {vars(record)}"


class Left:
    """All that has left the process, as text."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.records = InMemoryLogRecordExporter()
        self.logs = LoggerProvider(shutdown_on_exit=False)
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(self.records))
        self.measured = InMemoryMetricReader()
        self.meters = MeterProvider([self.measured], shutdown_on_exit=False)
        self.log = io.StringIO()
        self.seen = tracing.memory()
        self.folder = tempfile.TemporaryDirectory()
        self.texts: dict[str, str] = {}

    def hooks(self, contents: list[Any]) -> list[Any]:
        """Every hook that there is."""
        spans = [
            tracing.OpenTelemetry(self.provider, dialects=tuple(DIALECTS), content=content, logger_provider=self.logs)
            for content in contents
        ]
        lines = [tracing.Logs(content=content) for content in contents]
        files = [tracing.JSONL(f"{self.folder.name}/{n}.jsonl", content=content) for n, content in enumerate(contents)]
        return [self.seen, _Breaks(), tracing.Metrics(self.meters, tags=("who",)), *spans, *lines, *files]

    @contextlib.contextmanager
    def logging(self):
        """Take the log of the library with all that it says."""
        logger = logging.getLogger("llmops_sdk")
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(_Everything())
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.setLevel(before)
            logger.removeHandler(handler)

    def take(self, contents: list[Any]) -> None:
        """Take what is there by now."""
        assert LATER.flush(20.0)
        self.texts["spans"] = "\n".join(span.to_json() for span in self.spans.get_finished_spans())
        self.texts["log events"] = "\n".join(
            repr((one.log_record.event_name, one.log_record.body, one.log_record.attributes))
            for one in self.records.get_finished_logs()
        )
        measured = self.measured.get_metrics_data()
        self.texts["metrics"] = "" if measured is None else measured.to_json()
        for file in Path(self.folder.name).iterdir():
            self.texts[file.name] = file.read_text()
        self.texts["log"] = self.log.getvalue()
        self.texts["reprs"] = repr(self.seen)
        for number, call in enumerate(self.seen.calls):
            said = tracing.explain(call)
            self.texts[f"explained {number}"] = f"{said}\n{said._repr_html_()}\n{call!r}"
            for content in (False, *contents):
                self.texts[f"json {number} {content}"] = json.dumps(tracing.to_json(call, content=content))

    def error(self, error: BaseException) -> None:
        """The application was shown this error."""
        self.texts["error"] = "".join(traceback.format_exception(error)) + repr(error) + str(error)

    def close(self) -> None:
        self.folder.cleanup()
        self.provider.shutdown()
        self.meters.shutdown()
        self.logs.shutdown()

    def leaks(self, secret: str) -> dict[str, str]:
        """What quotes `secret`, in whatever form, with what is around it."""
        forms = {secret, *(line for line in secret.splitlines())}
        for form in list(forms):
            forms |= {json.dumps(form)[1:-1], json.dumps(json.dumps(form))[3:-3], repr(form)[1:-1]}
        found = {}
        for name, text in self.texts.items():
            for form in forms:
                place = text.find(form)
                if place >= 0:
                    found[name] = text[max(place - 300, 0) : place + 60]
        return found


class _Breaks:
    """A hook that breaks, and whose error quotes the run; the log says so for each of them."""

    def __init__(self) -> None:
        self.failure = type(f"Failure{next(_NUMBERS)}", (ValueError,), {})

    def __call__(self, event: Any, call: Call) -> None:
        if hasattr(event, "request"):
            raise self.failure(f"{type(event).__name__} {[message.text for message in event.request.messages]}")


_NUMBERS = itertools.count()


def _engine(secret: str, places: frozenset[str], ending: str) -> Any:
    told = secret if "answer" in places else "nothing"

    def whole(request: Request) -> Response:
        calls = (ToolCall(id="c9", name="look", arguments=json.dumps({"at": secret})),) if "call" in places else ()
        choice = Choice(
            text=f"You said: {request.messages[-1].text} I say: {told} and no more",
            finish_reason="stop",
            tool_calls=calls,
            reasoning=f"I think of {secret} here" if "reasoning" in places else None,
        )
        return Response(choices=(choice,))

    def fails(request: Request) -> Exception:
        said = f"cannot read: {request.messages[-1].text!r} {secret if 'error' in places else ''} because"
        error = (ServerError if "over" in ending else BadRequestError)(said, engine="first")
        error.__cause__ = ValueError(json.dumps({"error": {"message": said, "sent": request.messages[-1].text}}))
        return error

    def broken(request: Request) -> list[Any]:
        said = f"You said: {request.messages[-1].text} I say: {told}"
        error = StreamInterrupted(f"broke behind {said[-40:]}", partial_text=said, engine="first")
        return [said[:9], said[9:], " and ", error]

    first: Any = {"fails": fails, "fails over": fails, "breaks": broken, "breaks and goes on": broken}.get(
        ending, whole
    )
    slow = 5.0 if ending in ("hedged", "cancelled", "over its deadline") else 0.0
    engine = Scripted(first, name="first", delay_s=slow)
    if ending in ("fails over", "breaks and goes on", "hedged"):
        return Router([engine, Scripted(whole, name="second")], strategy="priority", hedge=1.0 if slow else None)
    return engine


async def one(left: Left, planted: Planted, contents: list[Any]) -> Call:
    """One run; gives its call."""
    secret, places, ending = planted.secret, planted.places, planted.ending
    question = f"Is {secret} known?" if "variable" in places else "What is known?"
    document = Document(id="d1", text=f"It stands: {secret} here." if "document" in places else "Nothing.")
    given: Any = {"question": question, "document": document}
    prompt: list[Any] = ["Answer by {{ document }}.\n\nThe question: {{ question }}"]
    if places & {"tool result", "tool arguments"}:
        asked = json.dumps({"of": secret}) if "tool arguments" in places else "{}"
        given = [
            Message.user(question),
            Message.assistant(tool_calls=(ToolCall(id="c1", name="find", arguments=asked),)),
            Message.tool(f"found {secret}" if "tool result" in places else "none", tool_call_id="c1", name="find"),
            Message.user("So?"),
        ]
        prompt = []
    inputs = [Judge(), *guards_of(planted.guards[0], secret)]
    outputs = [guard for guard in guards_of(planted.guards[1], secret) if not guard.overlap]
    line = [*prompt, *inputs, _engine(secret, places, ending), *outputs, Judge(name="judge2")]
    pipeline = Pipeline(*line, name="leaving", hooks=left.hooks(contents))
    options: dict[str, Any] = {"tags": {"who": f"for {secret}" if "tag" in places else "nobody", "n": 3}}
    if ending == "over its deadline":
        options["deadline_s"] = 1.0
    try:
        whole = planted.how == "run"
        work = asyncio.ensure_future(pipeline.arun(given, **options) if whole else _streamed(pipeline, given, options))
        if ending == "cancelled":
            await asyncio.sleep(1.0)
            work.cancel()
        _use(await work, secret)
    except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  (whatever the application is shown)
        left.error(exc)
    finally:
        await pipeline.aclose()
    return left.seen.calls[-1]


def _use(result: Result, secret: str) -> None:
    """Execute the tools that were called, and judge the answer in words that quote it."""
    result.raise_for_verdict()
    for call in result.response.choices[0].tool_calls:
        with result.call.executing(call) as execution:
            execution.result = {"of": call.arguments, "is": result.text}
    named = f"about {secret}" if result.call.found else "good"  # a label is the application's own word
    result.feedback(score=1, comment=f"well said: {result.text}", label=named, name=named)


async def _streamed(pipeline: Pipeline, given: Any, options: dict[str, Any]) -> Result:
    async with pipeline.astream(given, **options) as stream:
        async for _ in stream:
            pass
    return stream.result


def leave(planted: Planted) -> tuple[Call, Left]:
    """One run, and all that has left of it."""
    left = Left()
    redact = [guard for kind in planted.guards for guard in guards_of(kind, planted.secret)]
    contents: list[Any] = [True, tracing.ContentPolicy(redact=redact, max_characters=400)]
    with left.logging():
        call = run_in_virtual_time(one(left, planted, contents))
        left.take(contents)
    left.close()
    return call, left


def main() -> None:
    """Run some of everything, and write all that is written of it to standard output."""
    logging.basicConfig(level=logging.DEBUG)
    everywhere = frozenset(PLACES) - {"tool result", "tool arguments"}
    secrets, kinds = itertools.cycle(SECRETS.values()), itertools.cycle(GUARDS[1:])
    for ending in ENDINGS:
        # The first guard finds every secret, so that nothing may leave whatever the second one knows.
        _, left = leave(Planted(next(secrets), everywhere, ("flag", next(kinds)), "run", ending))
        sys.stdout.write("\n".join(left.texts.values()))


if __name__ == "__main__":
    main()
