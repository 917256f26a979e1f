"""A map that was killed goes on from its checkpoint: no row lost, hardly one asked twice, results as they were."""

import asyncio
import dataclasses
import datetime as dt
import enum
import json
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Scripted
from llmops_sdk.guards import PII, Regex, Secrets
from llmops_sdk.messages import Choice, Message, RateLimit, Response, TokenLogprob, ToolCall, Usage
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.pipelines._fingerprint import pipeline_fingerprint, row_key
from llmops_sdk.pipelines._records import record_of, result_of
from llmops_sdk.prompts import Prompt
from llmops_sdk.routers import Router

KEY = "AK" + "IA" + "Q7WERTYU8OP9ASDF"


def echo(fail=()):
    def answer(request):
        text = request.messages[-1].text
        if text in fail:
            raise errors.ServerError(f"no {text}")
        return f"{text}!"

    return Scripted(answer, model="gpt-5-mini")


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


def test_rows_that_are_done_are_not_asked_again_and_failed_ones_are(path):
    rows = [{"n": f"N{i}"} for i in range(10)]
    first = ("{{ n }}" | echo(fail={"N3", "N7"})).map(rows, checkpoint=path)
    assert [r.index for r in first if r.error is not None] == [3, 7]
    engine = echo(fail={"N7"})
    second = ("{{ n }}" | engine).map(rows, checkpoint=str(path))
    assert sorted(request.messages[0].text for request in engine.requests) == ["N3", "N7"]
    assert [r.text for r in second if r.error is None] == [f"N{i}!" for i in range(10) if i != 7]
    assert [r.index for r in second if r.resumed] == [0, 1, 2, 4, 5, 6, 8, 9]
    engine = echo()
    longer = [*rows, {"n": "N10"}]
    third = ("{{ n }}" | engine).map(longer, checkpoint=path, tags={"tenant": "a"})
    assert [r.text for r in third] == [f"N{i}!" for i in range(11)]
    assert len(engine.requests) == 2
    assert third[0].call.tags == {"tenant": "a"}
    assert [line["row"] for line in lines_of(path)[1:]].count(7) == 3


def full_answer(request):
    if "block" in request.messages[-1].text:
        return "a badger"
    call = ToolCall(id="1", name="send", arguments=f'{{"to": "{KEY}"}}')
    token = TokenLogprob(token="grüße", logprob=-0.5, top=(("grüße", -0.5), ("\ud800", -1.5)))
    return Response(
        choices=(
            Choice(text=f'{{"a": "{KEY}"}}', reasoning="hm", finish_reason="stop"),
            Choice(text="\ud800 \u2028", tool_calls=(call,), finish_reason="tool_calls"),
            Choice(text="b", logprobs=(token,), token_ids=(1, 2)),
        ),
        usage=Usage(input_tokens=3, output_tokens=5, cached_input_tokens=1),
        id="id-1",
    )


def test_results_from_the_file_equal_those_of_the_run(path):
    prompt = Prompt.from_string("{{ n }} ada@example.org", response_schema={"type": "object"})
    engine = Router(
        [Scripted(errors.ServerError("down"), name="one"), Scripted(full_answer, model="gpt-5-mini", name="two")]
    )
    pipeline = Pipeline(prompt, PII(), engine, Secrets(), Regex(["badger"], action="block"), refusal="No.")
    rows = [{"n": "one"}, {"n": "block"}]
    for fresh, kept in zip(pipeline.map(rows, checkpoint=path), pipeline.map(rows, checkpoint=path), strict=True):
        assert (fresh.resumed, kept.resumed) == (False, True)
        for name in (
            "text",
            "blocked",
            "verdicts",
            "findings",
            "usage",
            "cost_usd",
            "route",
            "response",
            "output",
            "index",
        ):
            assert getattr(kept, name) == getattr(fresh, name), name
        assert kept.call.id == fresh.call.id
        assert "gpt-5-mini" in str(kept.explain())
        if fresh.blocked:
            with pytest.raises(errors.GuardBlocked):
                kept.raise_for_verdict()
    assert fresh.text == "No."
    assert KEY not in path.read_text()
    assert "badger" not in path.read_text()


def test_a_failed_result_keeps_its_error_in_words():
    result = Pipeline(echo(fail={"a"})).map(["a"])[0]
    record = json.loads(json.dumps(record_of(result)))
    assert record["error"] == {"class": "ServerError", "message": "no a"}
    again = result_of(record, index=0)
    with pytest.raises(errors.LlmopsError, match="ServerError: no a"):
        again.text  # noqa: B018
    assert result_of(record, index=0, error=result.error).error is result.error


def test_a_file_that_was_cut_at_any_byte_is_taken_up(path):
    rows = ["a", "b", "c"]
    Pipeline(echo()).map(rows, checkpoint=path, concurrency=1)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in {*range(0, ends[0] + 2, 7), *range(ends[0], len(whole), 23), *ends, len(whole) - 1}:
        path.write_bytes(whole[:cut])
        engine = echo()
        assert [r.text for r in Pipeline(engine).map(rows, checkpoint=path)] == ["a!", "b!", "c!"]
        assert len(engine.requests) == 3 - max(sum(end <= cut for end in ends) - 1, 0), cut
        assert [line["row"] for line in lines_of(path)[1:]] == [0, 1, 2] or cut < ends[-1]
        assert sorted(line["row"] for line in lines_of(path)[1:]) == [0, 1, 2]


def test_a_file_of_other_rows_another_pipeline_or_another_kind_is_refused_and_stays_as_it_is(path, tmp_path):
    Pipeline(echo()).map(["a", "b"], checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(errors.CheckpointError, match="another row in place 1") as raised:
        Pipeline(echo()).map(["a", "x", "c"], checkpoint=path, concurrency=1)
    assert raised.value.path == str(path)
    for other in ("{{ n }}" | echo(), Pipeline(Scripted("a", model="other")), Pipeline(echo(), Secrets())):
        with pytest.raises(errors.CheckpointError, match="another pipeline"):
            other.map([], checkpoint=path)
    assert path.read_bytes() == before
    foreign = tmp_path / "rows.jsonl"
    for content in (b'{"n": "precious"}', b'{"n": "precious"}\n', b"\x00\xff", b'{"llmops_sdk": "x"}\n'):
        foreign.write_bytes(content)
        with pytest.raises(errors.CheckpointError, match="no checkpoint"):
            Pipeline(echo()).map(["a"], checkpoint=foreign)
        assert foreign.read_bytes() == content
    path.write_bytes(before.replace(b'"version":1', b'"version":9'))
    with pytest.raises(errors.CheckpointError, match="version 9"):
        Pipeline(echo()).map(["a"], checkpoint=path)
    path.write_bytes(before.replace(b'{"row":0', b'{"raw":0'))
    with pytest.raises(errors.CheckpointError, match="line 2"):
        Pipeline(echo()).map(["a"], checkpoint=path)
    path.write_bytes(before.replace(b'"run"', b'"ran"'))
    with pytest.raises(errors.CheckpointError, match="row 0"):
        Pipeline(echo()).map(["a"], checkpoint=path)
    with pytest.raises(errors.CheckpointError, match="cannot be opened"):
        Pipeline(echo()).map(["a"], checkpoint=tmp_path / "no" / "folder.jsonl")


async def test_two_maps_do_not_share_a_file(path):
    first = Pipeline(echo()).aimap(["a", "b"], checkpoint=path)
    assert (await anext(first)).text == "a!"
    with pytest.raises(errors.CheckpointError, match="in use"):
        await Pipeline(echo()).amap(["a"], checkpoint=path)
    await first.aclose()
    assert len(await Pipeline(echo()).amap(["a"], checkpoint=path)) == 1


async def test_what_is_finished_when_a_map_is_cancelled_is_in_the_file(path):
    async def answer(request):
        text = request.messages[-1].text
        await asyncio.sleep(5 if text == "slow" else 0)
        return text

    rows = ["a", "b", "slow", "c"]
    task = asyncio.create_task(Pipeline(Scripted(answer)).amap(rows, checkpoint=path))
    while not path.exists() or len(path.read_bytes().splitlines()) < 4:  # noqa: ASYNC110  (a file calls nobody)
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(line["row"] for line in lines_of(path)[1:]) == [0, 1, 3]


SCRIPT = """
import asyncio, os, sys
from llmops_sdk import Scripted
path, asked, rows, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
log = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

async def answer(request):
    text = request.messages[-1].text
    os.write(log, text.encode() + b"\\n")
    await asyncio.sleep(int(text) % 7 / 2000)
    return text + "!" + "x" * (int(text) % 5 * 3000)

if __name__ == "__main__":
    pipeline = "{{ n }}" | Scripted(answer)
    results = pipeline.map(({"n": n} for n in range(rows)), checkpoint=path, concurrency=concurrency)
    assert [r.text.split("!")[0] for r in results] == [str(n) for n in range(rows)]
    print("done", sum(r.resumed for r in results))
"""


def test_every_row_of_a_map_that_is_killed_again_and_again_is_there_in_the_end(tmp_path):
    script, path, asked = tmp_path / "script.py", tmp_path / "run.jsonl", tmp_path / "asked"
    script.write_text(SCRIPT)
    rows, concurrency, kills = 1500, 8, 0
    command = [sys.executable, str(script), str(path), str(asked), str(rows), str(concurrency)]
    moments = random.Random(7)
    done = None
    while done is None:
        before = path.stat().st_size if path.exists() else 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            if kills < 4:
                while process.poll() is None and (path.stat().st_size if path.exists() else 0) <= before:
                    time.sleep(0.002)
                time.sleep(moments.uniform(0.0, 0.06))
                process.send_signal(signal.SIGKILL)
            out, err = process.communicate(timeout=50)
        if process.returncode == -signal.SIGKILL:
            kills += 1
        else:
            assert process.returncode == 0, err.decode()
            done = out.decode()
    assert kills == 4
    assert done.split()[0] == "done"
    assert int(done.split()[1]) > 0
    lines = lines_of(path)
    assert sorted(line["row"] for line in lines[1:]) == list(range(rows))
    numbers = [int(line) for line in asked.read_text().split()]
    assert set(numbers) == set(range(rows))
    assert len(numbers) - rows <= kills * concurrency


@dataclasses.dataclass
class Row:
    when: dt.date
    colour: "Colour"


class Colour(enum.Enum):
    RED = 1


def test_the_key_of_a_row_is_a_matter_of_its_content():
    def key(row):
        return row_key("f", row)

    rows = [
        None, True, 1, 1.5, "a", "\ud800", ["a"], {"a": 1}, {"a": "1"}, {"a", "b"}, b"a", Decimal("1.50"),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC), Row(when=dt.date(2026, 1, 1), colour=Colour.RED), Message.user("a"),
        [Message.user("a"), Message.assistant("b")],
    ]  # fmt: skip
    assert len({key(row) for row in rows}) == len(rows)
    assert key({"a": 1, "b": [1, 2]}) == key({"b": (1, 2), "a": 1})
    assert row_key("g", "a") != key("a")
    # The same in every process, and in every version that reads the files of this one.
    assert key({"b": {"x", "y", "z"}, "a": [1]}) == "87e88c5e3a970545a1bde133e5ed6032"
    with pytest.raises(errors.ConfigurationError, match="a row holds a object"):
        key({"a": object()})


def test_the_fingerprint_of_a_pipeline_changes_with_what_it_asks():
    def of(*stations):
        return pipeline_fingerprint(Pipeline(*stations))

    one = of("{{ n }}", Scripted("a"), Secrets())
    assert of("{{ n }}", Scripted("b"), Secrets()) == one
    others = [
        of("{{ m }}", Scripted("a"), Secrets()),
        of(Prompt.from_string("{{ n }}", temperature=0.5), Scripted("a"), Secrets()),
        of("{{ n }}", Scripted("a", model="other"), Secrets()),
        of("{{ n }}", Router([Scripted("a"), Scripted("a", model="other")]), Secrets()),
        of("{{ n }}", Scripted("a"), PII()),
        of("{{ n }}", Scripted("a")),
        of(Scripted("a"), Secrets()),
    ]
    assert len({one, *others}) == 8


def test_money_and_limits_of_an_answer_come_back_from_a_checkpoint(tmp_path):
    usage = Usage(input_tokens=1, billed_usd=Decimal("0.25"), also_charged=("web_search_requests",))
    answer = Response(
        choices=(Choice(text="x", finish_reason="stop"),),
        usage=usage,
        cost_usd=Decimal("0.25"),
        rate_limit=RateLimit(remaining_requests=3),
    )
    pipeline = Pipeline("{{ q }}", Scripted(answer))
    rows = [{"q": "a"}]
    (first,) = pipeline.map(rows, checkpoint=tmp_path / "done.jsonl")
    (again,) = pipeline.map(rows, checkpoint=tmp_path / "done.jsonl")

    assert again.response == first.response
    assert again.cost_usd == first.cost_usd == Decimal("0.25")
