"""vLLM in the process, on the real embedded model."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmops_sdk.engines import Engine
from llmops_sdk.engines.embedded import checkpoint
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import (
    BadRequestError,
    ClosedError,
    ConfigurationError,
    ContextLengthError,
    EngineDied,
    NotFoundError,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, Message, Request, Response

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

CAPITAL = "What is the capital of France?"


def ask(text: str = CAPITAL, **parameters: object) -> Request:
    values: dict[str, object] = {"temperature": 0.0, "max_tokens": 24, **parameters}
    return Request(messages=(Message.user(text),), **values)  # type: ignore[arg-type]


def endless() -> Request:
    return ask("Count.", max_tokens=1500, extra={"ignore_eos": True})


async def streamed(engine: Engine, request: Request) -> Response:
    joiner = ChunkJoiner()
    async for chunk in engine.astream(request):
        joiner.add(chunk)
    return joiner.response()


async def drained(stream: AsyncIterator[Chunk]) -> None:
    async for _ in stream:
        pass


async def idle(engine: VLLM) -> bool:
    """Whether vLLM has nothing to do any more, within two seconds."""
    for _ in range(100):
        if engine._core.get_num_unfinished_requests() == 0 and engine.running == 0:
            return True
        await asyncio.sleep(0.02)
    return False


def core_processes() -> list[int]:
    return [child.pid or 0 for child in multiprocessing.active_children() if "EngineCore" in child.name]


async def test_it_answers(engine: VLLM) -> None:
    response = await engine.agenerate(ask())
    assert "Paris" in response.text
    assert response.finish_reason == "stop"
    assert response.usage is not None
    assert response.usage.input_tokens > 10
    assert 3 < response.usage.output_tokens <= 24
    assert (response.engine, response.model) == ("embedded", "HuggingFaceTB/SmolLM2-135M-Instruct")


async def test_a_joined_stream_is_the_whole_answer(engine: VLLM) -> None:
    request = ask("Name three colours and say what each of them is like.", max_tokens=60)
    whole = await engine.agenerate(request)
    joined = await streamed(engine, request)
    assert joined.text == whole.text
    assert joined.finish_reason == whole.finish_reason == "length"
    assert joined.usage == whole.usage


async def test_a_stream_comes_in_pieces(engine: VLLM) -> None:
    chunks = [chunk async for chunk in engine.astream(ask(max_tokens=8))]
    assert sum(1 for chunk in chunks if chunk.text) > 3
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_eight_requests_share_the_steps(engine: VLLM) -> None:
    requests = [ask(f"Tell me about the number {n}.", max_tokens=32, extra={"ignore_eos": True}) for n in range(8)]
    began = time.perf_counter()
    for request in requests:
        await engine.agenerate(request)
    one_by_one = time.perf_counter() - began
    began = time.perf_counter()
    await asyncio.gather(*map(engine.agenerate, requests))
    together = time.perf_counter() - began
    assert together < 0.8 * one_by_one


async def test_closing_the_stream_stops_the_work(engine: VLLM) -> None:
    stream = engine.astream(endless())
    await anext(stream)
    assert engine.running == 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert engine.running == 0
    assert await idle(engine)


async def test_cancelling_the_task_stops_the_work(engine: VLLM) -> None:
    task = asyncio.create_task(engine.agenerate(endless()))
    while engine._core.get_num_unfinished_requests() == 0:  # noqa: ASYNC110  (vLLM has no event for it)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await idle(engine)


async def test_a_seed_repeats_an_answer(engine: VLLM) -> None:
    texts = [(await engine.agenerate(ask("Invent a name.", temperature=1.0, seed=seed))).text for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


async def test_several_answers_have_their_own_index(engine: VLLM) -> None:
    request = ask("Invent a name.", temperature=1.0, seed=5, n=3)
    whole = await engine.agenerate(request)
    joined = await streamed(engine, request)
    assert len(whole.choices) == 3
    assert len({choice.text for choice in whole.choices}) > 1
    assert [choice.text for choice in joined.choices] == [choice.text for choice in whole.choices]
    assert joined.usage == whole.usage


async def test_a_stop_text_ends_the_answer_before_it(engine: VLLM) -> None:
    whole = (await engine.agenerate(ask())).text
    for response in (await engine.agenerate(ask(stop=("Paris",))), await streamed(engine, ask(stop=("Paris",)))):
        assert response.text == whole.partition("Paris")[0]
        assert response.finish_reason == "stop"


async def test_a_schema_shapes_the_answer(engine: VLLM) -> None:
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 120}, "city": {"enum": ["Paris", "Rome"]}},
        "required": ["age", "city"],
        "additionalProperties": False,
    }
    response = await engine.agenerate(ask("Invent a person as JSON.", response_schema=schema, max_tokens=60))
    person = json.loads(response.text)
    assert person["city"] in ("Paris", "Rome")
    assert 0 <= person["age"] <= 120


@pytest.mark.parametrize(
    ("extra", "pattern"),
    [({"choice": ["yes", "no"]}, "yes|no"), ({"regex": r"\d{3}-\d{4}"}, r"\d{3}-\d{4}")],
    ids=["choice", "regex"],
)
async def test_extra_shapes_the_answer(engine: VLLM, extra: dict[str, object], pattern: str) -> None:
    assert re.fullmatch(pattern, (await engine.agenerate(ask("Is it hot?", extra=extra))).text)


async def test_an_answer_goes_on_where_the_last_message_ends(engine: VLLM) -> None:
    messages = (Message.user(CAPITAL), Message.assistant("The capital of France is"))
    request = Request(messages=messages, temperature=0, max_tokens=4, extra={"continue_final_message": True})
    assert (await engine.agenerate(request)).text.startswith(" Paris")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"extra": {"top_kk": 3}}, "top_kk.*knows .*, top_k$"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 7.0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n has to be"),
        ({"extra": {"min_tokens": "many"}}, ""),
        ({"response_schema": {"type": "no such type"}}, ""),
        ({"extra": {"regex": "(["}}, ""),
        ({"adapter": "banana"}, "adapters.*banana"),
        ({"messages": ()}, "no messages"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "stream"])
async def test_a_wrong_request_is_refused(engine: VLLM, parameters: dict[str, object], says: str, whole: bool) -> None:
    values = {"messages": (Message.user(CAPITAL),), "max_tokens": 4, **parameters}
    request = Request(**values)  # type: ignore[arg-type]
    with pytest.raises(BadRequestError, match=re.compile(says, re.DOTALL)) as caught:
        await (engine.agenerate(request) if whole else streamed(engine, request))
    assert caught.value.engine == "embedded"
    assert await idle(engine)
    assert "Paris" in (await engine.agenerate(ask())).text


async def test_a_prompt_that_fills_the_window_is_refused_with_numbers(engine: VLLM) -> None:
    with pytest.raises(ContextLengthError) as caught:
        await engine.agenerate(ask("word " * 5000))
    assert caught.value.window == engine.context_window == 2048
    assert caught.value.tokens is not None
    assert 5000 < caught.value.tokens < 5100


async def test_a_gigantic_prompt_is_refused_without_counting_it(engine: VLLM) -> None:
    with pytest.raises(ContextLengthError) as caught:
        await engine.agenerate(ask("x" * 20_000_000))
    assert (caught.value.tokens, caught.value.window) == (None, 2048)


async def test_the_sync_face_reaches_the_loop_of_the_app(engine: VLLM) -> None:
    def work() -> tuple[str, str]:
        whole = engine.generate(ask()).text
        return whole, "".join(chunk.text for chunk in engine.stream(ask()))

    whole, joined = await asyncio.to_thread(work)
    assert "Paris" in whole
    assert whole == joined
    assert engine._home is asyncio.get_running_loop()


async def test_leaving_a_sync_stream_stops_the_work(engine: VLLM) -> None:
    def work() -> None:
        stream = engine.stream(endless())
        next(stream)
        stream.close()  # type: ignore[attr-defined]

    await asyncio.to_thread(work)
    assert await idle(engine)


async def test_another_loop_reaches_the_engine(engine: VLLM) -> None:
    async def elsewhere() -> tuple[str, str]:
        whole, joined = await asyncio.gather(engine.agenerate(ask()), streamed(engine, ask()))
        return whole.text, joined.text

    whole, joined = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert "Paris" in whole
    assert whole == joined


async def test_a_start_leaves_the_environment_as_it_was(engine: VLLM) -> None:
    assert engine.startup.keys() >= {
        "import",
        "configure",
        "core",
        "weights",
        "kv_cache",
        "warm_up",
        "report",
        "connect",
    }
    for name in ("LD_PRELOAD", "OMP_NUM_THREADS", "VLLM_ENABLE_V1_MULTIPROCESSING", "TRANSFORMERS_OFFLINE"):
        assert name not in os.environ


async def test_a_killed_core_fails_its_streams_and_can_be_started_again(engine: VLLM) -> None:
    stream = engine.astream(endless())
    await anext(stream)
    (core,) = core_processes()
    os.kill(core, signal.SIGKILL)
    with pytest.raises(EngineDied) as caught:
        await asyncio.wait_for(drained(stream), 10)
    assert caught.value.retryable
    assert engine.running == 0
    await engine.astart()
    assert "Paris" in (await engine.agenerate(ask())).text
    assert core not in core_processes()


async def test_closing_gives_all_back_and_the_next_engine_works(one_vllm: object, engine: VLLM, tmp_path: Path) -> None:
    stream = engine.astream(endless())
    await anext(stream)
    core, context = weakref.ref(engine._core), engine._core.engine_core.resources.ctx
    await engine.aclose()
    with pytest.raises(ClosedError, match="closed"):
        await drained(stream)
    await engine.aclose()
    with pytest.raises(ClosedError, match="open a new one"):
        await engine.agenerate(ask())
    assert core_processes() == []
    gc.collect()
    assert core() is None
    assert context.closed
    await one_vllm.close()  # type: ignore[attr-defined]

    folder = tmp_path / "model"
    steps: list[str] = []
    opened = Engine.open(
        f"vllm:{folder}",
        dtype="float32",  # as the embedded model, whatever processor this is
        max_model_len=512,
        kv_cache_gib=0.5,
        cpu_threads=1,
        progress=lambda step, seconds: steps.append(step) if seconds is not None else None,
    )
    assert isinstance(opened, VLLM)
    async with opened:
        with pytest.raises(NotFoundError, match="no model folder"):
            await opened.agenerate(ask())
        folder.symlink_to(checkpoint())
        answers = await asyncio.gather(*(opened.agenerate(ask()) for _ in range(3)))
        assert all("Paris" in answer.text for answer in answers)
        assert steps[-9:] == [
            "import",
            "configure",
            "core",
            "weights",
            "kv_cache",
            "warm_up",
            "report",
            "connect",
            "ready",
        ]
        assert len(core_processes()) == 1
        assert (opened.context_window, opened.name, opened.model) == (512, "vllm", str(folder))
    assert core_processes() == []


async def test_a_refused_engine_argument_is_named(one_vllm: object) -> None:
    await one_vllm.close()  # type: ignore[attr-defined]
    for arguments, says in (({"max_num_seqz": 3}, "max_num_seqs"), ({"block_size": "huge"}, "block_size")):
        async with VLLM(str(checkpoint()), engine_args=arguments) as opened:
            with pytest.raises(ConfigurationError, match=says):
                await opened.astart()


def run_script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(text), encoding="utf-8")
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200, check=False)


async def test_a_forked_child_is_told_and_does_no_harm(one_vllm: object, tmp_path: Path) -> None:
    await one_vllm.close()  # type: ignore[attr-defined]
    done = await asyncio.to_thread(
        run_script,
        tmp_path,
        """
        import os, sys
        from llmops_sdk.engines import Engine
        from llmops_sdk.errors import ClosedError

        if __name__ == "__main__":
            engine = Engine.open("embedded:", cpu_threads=1)
            engine.start()
            child = os.fork()
            if child == 0:
                try:
                    engine.generate("Hello")
                except ClosedError as error:
                    print("child:", error, flush=True)
                engine.close()
                sys.exit(3)
            print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            print("parent:", engine.generate("What is the capital of France?").text, flush=True)
            engine.close()
        """,
    )
    assert "child: the engine 'embedded' was started before this process was forked" in done.stdout, done.stderr
    assert "status 3" in done.stdout
    assert re.search("parent: .*Paris", done.stdout), done.stderr
    assert done.returncode == 0


async def test_a_script_without_a_main_guard_is_told(one_vllm: object, tmp_path: Path) -> None:
    await one_vllm.close()  # type: ignore[attr-defined]
    done = await asyncio.to_thread(
        run_script,
        tmp_path,
        """
        from llmops_sdk.engines import Engine

        engine = Engine.open("embedded:", cpu_threads=1)
        engine.start()
        """,
    )
    assert done.returncode != 0
    assert done.stderr.rstrip().splitlines()[-1].count("if __name__ == '__main__':") == 1
    assert "EngineDied" in done.stderr


async def test_two_event_loops_one_after_the_other(one_vllm: object) -> None:
    await one_vllm.close()  # type: ignore[attr-defined]
    opened = Engine.open("embedded:", cpu_threads=1)

    def two_programs() -> list[str]:
        with contextlib.closing(opened):
            return [asyncio.run(opened.agenerate(ask())).text for _ in range(2)]

    texts = await asyncio.to_thread(two_programs)
    assert all("Paris" in text for text in texts)
    assert core_processes() == []


async def test_the_core_ends_when_the_application_is_killed(one_vllm: object) -> None:
    await one_vllm.close()  # type: ignore[attr-defined]
    application = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _APPLICATION, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert application.stdout is not None
    core = int(await application.stdout.readline())
    assert _alive(core)
    application.kill()
    await application.wait()
    for _ in range(500):
        if not _alive(core):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the core outlived the application")


_APPLICATION = """
import time
from llmops_sdk.engines import Engine

if __name__ == "__main__":
    engine = Engine.open("embedded:", cpu_threads=1)
    engine.start()
    print(engine._core.engine_core.resources.engine_manager.processes[0].pid, flush=True)
    time.sleep(60)
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
