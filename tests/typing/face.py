"""The public face as type checkers see it: checked by mypy and pyright, never executed."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import assert_type

from llmops_sdk import (
    Call,
    Chunk,
    Engine,
    Finding,
    Guard,
    Message,
    Pipeline,
    Prompt,
    Request,
    Response,
    Result,
    Router,
    Scripted,
    Usage,
    Verdict,
    __version__,
    errors,
    guard,
    guards,
)
from llmops_sdk.calls import Event
from llmops_sdk.engines import Cached, CacheStats, MemoryStore, Semantic, SQLiteStore
from llmops_sdk.engines.redis import RedisStore
from llmops_sdk.pipelines import PipelineStream, SyncStream
from llmops_sdk.protocols import GuardContext, GuardStream

assert_type(__version__, str)


async def the_first_code_block_of_the_design(customer: str, rows: list[dict[str, object]]) -> None:
    answer = (
        Prompt.load("support/answer@prod")
        | guards.PromptInjection()
        | guards.PII(restore=True)
        | Router(
            [
                Engine.open("vllm:HuggingFaceTB/SmolLM2-135M-Instruct"),
                Engine.open("openai:gpt-5-mini"),
            ]
        )
        | guards.Secrets()
    )

    result = answer.run(question="Where is my parcel?", customer=customer)
    assert_type(result, Result)
    result = await answer.arun(question="Where is my parcel?", deadline_s=8)
    assert_type(result, Result)
    async for chunk in answer.astream(question="Where is my parcel?"):
        assert_type(chunk, Chunk)
        assert_type(chunk.text, str)
    results = answer.map(rows, concurrency=64, progress=True)
    assert_type(results, list[Result])


async def engines_with_a_cache(engine: Engine, request: Request) -> None:
    for store in (MemoryStore(), SQLiteStore("answers.db"), RedisStore("redis://localhost")):
        cached = Cached(engine, store, ttl_s=60, semantic=Semantic(embedder=engine, threshold=0.95))
        assert_type(await cached.agenerate(request), Response)
        assert_type(cached.stats, CacheStats)
        assert_type(cached.stats.entries, int | None)
        await cached.forget("Where is my parcel?")


async def what_a_run_gives(pipeline: Pipeline) -> None:
    result = pipeline.run({"name": "Ada"}, budget_usd=Decimal("0.01"), tags={"tenant": "a"}, hooks=[print_event])
    assert_type(result.text, str)
    assert_type(result.blocked, bool)
    assert_type(result.verdicts, tuple[Verdict, ...])
    assert_type(result.findings, tuple[Finding, ...])
    assert_type(result.usage, Usage)
    assert_type(result.cost_usd, Decimal | None)
    assert_type(result.route, tuple[str, ...])
    assert_type(result.call, Call)
    assert_type(result.raise_for_verdict(), Result)
    assert_type(await pipeline.amap([{"name": "Ada"}]), list[Result])
    for result in pipeline.imap(({"name": name} for name in ("Ada", "Grace")), ordered=False, checkpoint="run.jsonl"):
        assert_type(result, Result)
    async for result in pipeline.aimap([{"name": "Ada"}], on_error="raise"):
        assert_type(result.error, Exception | None)


async def what_streams_give(pipeline: Pipeline) -> None:
    stream = pipeline.stream(name="Ada")
    assert_type(stream, SyncStream)
    chunks: Iterator[Chunk] = stream
    assert_type(next(chunks), Chunk)
    assert_type(stream.result, Result | None)
    astream = pipeline.astream(name="Ada")
    assert_type(astream, PipelineStream)
    achunks: AsyncIterator[Chunk] = astream
    assert_type(await anext(achunks), Chunk)


def print_event(event: Event, call: Call) -> None:
    print(call.id, event)


class NoShouting(Guard):
    """A guard by subclass, in four lines."""

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        return Verdict.block("shouting") if text.isupper() else Verdict.allow()

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        return None


@guard
def no_links(text: str) -> Verdict:
    """A guard by function."""
    return Verdict.flag("a link") if "http" in text else Verdict.allow()


@guard(name="no_numbers", on_error="allow")
async def no_numbers(text: str, context: GuardContext) -> Verdict:
    """A guard by function that waits for something."""
    return Verdict.rewrite(text.replace("1", "one"), [Finding(kind="number", start=0, end=1)])


assert_type(no_links, Guard)
assert_type(no_numbers, Guard)


class Echo(Engine):
    """An engine by subclass."""

    async def agenerate(self, request: Request, /) -> Response:
        """Say it again."""
        return await Scripted(request.messages[-1].text).agenerate(request)


def an_engine_alone() -> None:
    engine = Echo()
    assert_type(engine.generate("Hello"), Response)
    assert_type(engine.generate([Message.system("Be brief."), Message.user("Hello")]), Response)
    assert_type(engine.stream("Hello"), Iterator[Chunk])


def what_can_fail(pipeline: Pipeline) -> None:
    try:
        pipeline.run(name="Ada").raise_for_verdict()
    except errors.GuardBlocked as blocked:
        assert_type(blocked.verdict, Verdict)
    except errors.AllEnginesFailed as failed:
        assert_type(failed.attempts, tuple[errors.Attempt, ...])
    except errors.EngineError as failed:
        assert_type(failed.retry_after_s, float | None)


def the_line_by_hand() -> None:
    pipeline = Pipeline(Prompt.from_string("Hello {{ name }}", temperature=0.0), no_links, Echo(), name="hello")
    assert_type(pipeline.run(name="Ada"), Result)
    from_string = "Say hello to {{ name }}" | Scripted("Hello!")
    assert_type(from_string.run(name="Ada"), Result)
