"""Many rows: bounded, lazy, in order or as they come, and each failure kept to its row."""

import asyncio
import itertools
import sqlite3
import threading
import time
import tracemalloc

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.guards import Regex
from llmops_sdk.messages import Choice, Response, Usage
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.routers import Router


class Slow(Engine):
    """Answers with the question after as many milliseconds as that says, and counts."""

    def __init__(self, most=64):
        self.running = self.most = 0
        self.cancelled = 0
        self._most = most
        self.busy = asyncio.Event()

    @property
    def concurrency(self):
        return self._most

    async def agenerate(self, request):
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == 8:
            self.busy.set()
        text = request.messages[-1].text
        try:
            await asyncio.sleep(int(text) / 1000)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return Response(choices=(Choice(text=text),), usage=Usage(input_tokens=1, output_tokens=2))


async def collect(results):
    return [result async for result in results]


@pytest.fixture(params=["imap", "aimap"])
def imap(request):
    """`imap(pipeline, rows, ...)`: all results, by `pipeline.imap` or by `pipeline.aimap`."""
    if request.param == "imap":
        return lambda pipeline, rows, **options: list(pipeline.imap(rows, **options))
    return lambda pipeline, rows, **options: asyncio.run(collect(pipeline.aimap(rows, **options)))


@pytest.mark.parametrize("rows", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_results_come_in_order_or_as_they_are_ready(imap, rows):
    delays = ["60", "1", "30", "2"]
    assert [(r.index, r.text) for r in imap(Pipeline(Slow()), rows(delays))] == list(enumerate(delays))
    as_ready = imap(Pipeline(Slow()), rows(delays), ordered=False)
    assert as_ready[0].text in {"1", "2"}
    assert as_ready[-1].text == "60"
    assert sorted(r.index for r in as_ready) == [0, 1, 2, 3]
    assert all(r.text == delays[r.index] for r in as_ready)


async def test_asynchronous_rows_are_taken():
    async def rows():
        for n in range(5):
            await asyncio.sleep(0)
            yield str(n)

    assert [r.text for r in await Pipeline(Slow()).amap(rows())] == [*"01234"]
    assert [r.text async for r in Pipeline(Slow()).aimap(rows())] == [*"01234"]


async def test_no_more_rows_are_read_than_are_worked_on():
    read = 0

    def rows():
        nonlocal read
        for _ in range(200):
            read += 1
            yield "5"

    engine = Slow()
    most_ahead = 0
    results = Pipeline(engine).aimap(rows(), concurrency=8, ordered=False)
    done = 0
    async for _ in results:
        done += 1
        most_ahead = max(most_ahead, read - done)
    assert (done, engine.most) == (200, 8)
    assert most_ahead <= 16


def test_a_consumer_that_does_not_come_back_stops_the_reading(imap):
    read = 0

    def rows():
        nonlocal read
        for n in itertools.count():
            read += 1
            yield str(n % 2)

    results = Pipeline(Slow()).imap(rows(), concurrency=4)
    for _ in range(10):
        next(results)
    time.sleep(0.1)
    assert read <= 10 + 2 * 4 + 2
    results.close()


def test_one_slow_row_holds_up_the_order_but_not_the_others_without_bound():
    delays = ["150", *["1"] * 100]
    engine = Slow()
    results = Pipeline(engine).imap(delays, concurrency=4)
    assert next(results).text == "150"
    results.close()
    assert [r.text for r in Pipeline(engine).map(delays, concurrency=4)] == delays


def test_a_generator_of_many_rows_takes_flat_memory():
    class Plain(Engine):
        async def agenerate(self, request):
            return Response(choices=(Choice(text="x" * 1000),))

    def peak(count):
        tracemalloc.start()
        try:
            seen = sum(len(r.text) for r in Pipeline(Plain()).imap(("q" for _ in range(count)), concurrency=16))
            assert seen == count * 1000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50)
    assert peak(2000) < peak(100) + 500_000  # kept, each result would take some 3,000 bytes


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (Scripted("a"), 64),
        (Slow(most=7), 7),
        (VLLM("model", max_num_seqs=40), 50),
        (VLLM("model", max_num_seqs=8), 16),
        (Router([Slow(most=7), Scripted("a")]), 71),
        (Router([Router([Slow(most=2)]), Slow(most=3)]), 5),
    ],
)
def test_every_engine_says_how_much_it_can_hold(engine, expected):
    assert engine.concurrency == expected


def test_by_default_as_many_rows_are_worked_on_as_the_engine_can_hold():
    engine = Slow(most=5)
    Pipeline(engine).map(["2"] * 30)
    assert engine.most == 5


def test_engine_by_protocol_needs_to_say_nothing():
    class Bare:
        name = "bare"
        running = most = 0

        async def agenerate(self, request):
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.25)  # so long that all have begun, on a busy machine, too
            self.running -= 1
            return Response(choices=(Choice(text="a"),))

        def astream(self, request):
            raise NotImplementedError

    engine = Bare()
    assert len(Pipeline(engine).map(["q"] * 100)) == 100
    assert engine.most == 64


def fail_at(*rows):
    def answer(request):
        text = request.messages[-1].text
        if text in rows:
            raise errors.ServerError(f"no {text}")
        return text

    return Scripted(answer)


def test_a_failed_row_stops_the_others_only_on_request(imap):
    pipeline = Pipeline(fail_at("3"))
    rows = [*"0123456789"]
    results = imap(pipeline, rows)
    assert [r.index for r in results if r.error is not None] == [3]
    assert isinstance(results[3].error, errors.ServerError)
    with pytest.raises(errors.ServerError, match="no 3"):
        imap(pipeline, rows, on_error="raise")
    with pytest.raises(errors.ServerError, match="no 3"):
        pipeline.map(rows, on_error="raise")


async def test_the_first_failure_stops_the_rest_at_once():
    engine = Slow()

    async def rows():
        yield "not a number"
        while True:
            yield "5000"

    started = time.monotonic()
    with pytest.raises(errors.EngineError):
        await Pipeline(engine).amap(rows(), on_error="raise", concurrency=8)
    assert time.monotonic() - started < 3
    assert engine.running == 0


async def test_cancelling_stops_what_is_running():
    engine = Slow()
    task = asyncio.create_task(Pipeline(engine).amap(["5000"] * 100, concurrency=8))
    await asyncio.wait_for(engine.busy.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (engine.running, engine.cancelled) == (0, 8)


def test_a_row_whose_engine_is_cancelled_by_itself_is_not_lost_in_silence():
    class Cancelled(Engine):
        async def agenerate(self, request):
            raise asyncio.CancelledError

    results = Pipeline(Cancelled()).map(["a", "b"])
    assert [type(result.error) for result in results] == [errors.EngineError] * 2


def test_each_row_has_its_own_deadline():
    results = Pipeline(Slow()).map(["1", "2000", "1"], deadline_s=0.2)
    assert [r.error is None for r in results] == [True, False, True]
    assert isinstance(results[1].error, errors.DeadlineExceeded)


def test_rows_that_cannot_be_read_end_the_map(imap):
    def rows():
        yield "1"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk"):
        imap(Pipeline(Slow()), rows())


def test_blocking_rows_are_read_in_one_thread_beside_the_loop():
    threads = set()

    def rows():
        connection = sqlite3.connect(":memory:")  # usable in the thread that made it, and in no other
        for (n,) in connection.execute(
            "WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x+1 FROM c LIMIT 50) SELECT x FROM c"
        ):
            threads.add(threading.current_thread().name)
            yield str(n % 3)
        connection.close()

    assert len(Pipeline(Slow()).map(rows(), concurrency=4)) == 50
    assert threads == {"llmops-sdk-rows"}


def test_a_map_may_be_fed_by_another_map():
    first, second = Pipeline("{{ n }}", Scripted(lambda request: request.messages[-1].text + "!")), Pipeline(Slow())
    texts = (result.text.strip("!") for result in first.imap({"n": n} for n in range(20)))
    assert [result.text for result in second.imap(texts)] == [str(n) for n in range(20)]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ("text", {}, "rows"),
        ({"name": "Ada"}, {}, r"map\(\[row\]\)"),
        (5, {}, "iterable"),
        ([], {"on_error": "ignore"}, "on_error"),
        ([], {"concurrency": 0}, "concurrency"),
        ([], {"deadline_s": -1}, "deadline_s"),
        ([], {"executor": "spark"}, "'ray'"),
        ([], {"executor": object()}, "executor"),
    ],
)
def test_what_makes_no_sense_is_refused(rows, options, said):
    for face in (Pipeline(Slow()).map, lambda *given, **more: list(Pipeline(Slow()).imap(*given, **more))):
        with pytest.raises(errors.ConfigurationError, match=said):
            face(rows, **options)


def test_a_line_at_the_end_says_what_became_of_the_rows(capsys):
    def answer(request):
        text = request.messages[-1].text
        if text == "2":
            raise errors.RateLimitError("slow down")
        return "badger" if text == "3" else "fine"

    pipeline = Scripted(answer, model="gpt-5-mini", usage=Usage(input_tokens=1000, output_tokens=1000)) | Regex(
        ["badger"], action="block"
    )
    pipeline.map([*"01234"], progress=True)
    line = capsys.readouterr().err
    assert line.startswith(
        "5 rows: 3 ok, 1 blocked, 1 failed (1 RateLimitError); 4,000 tokens in, 4,000 out; 0.009 USD; "
    )
    pipeline.map([*"01"])
    assert capsys.readouterr().err == ""
    (Scripted("a") | Regex(["badger"])).map(["q"], progress=True)
    assert "cost unknown" in capsys.readouterr().err
    with pytest.raises(errors.RateLimitError):
        pipeline.map([*"012"], progress=True, on_error="raise", concurrency=1)
    assert capsys.readouterr().err.startswith("stopped after 2 rows")


def test_nothing_is_left_behind():
    before = threading.active_count()
    for _ in range(5):
        Pipeline(Slow()).map(iter(["1"] * 5))
    for _ in range(100):
        if threading.active_count() <= before + 1:  # the SDK's own loop may have been started
            break
        time.sleep(0.01)
    assert threading.active_count() <= before + 1
