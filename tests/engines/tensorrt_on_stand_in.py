"""Tests of the `tensorrt:` engine on the stand-in; `test_tensorrt.py` runs them in a process of their own."""

import asyncio
import pickle
import threading

import pytest
from tensorrt_llm.llmapi import LLM

from llmops_sdk import errors
from llmops_sdk.engines import Engine
from llmops_sdk.messages import Message, Request, TextPart, ToolCall
from llmops_sdk.testing import EngineContract

HELLO = Request.of("hello")


@pytest.fixture
def lora(tmp_path, write_lora):
    return write_lora(tmp_path / "lora", rank=4)


def opened(**options):
    return Engine.open("tensorrt:some/model", progress=False, **options)


def said(text, **values):
    return Request(messages=(Message.user(text),), **values)


async def streamed(engine, request=HELLO):
    return [chunk async for chunk in engine.astream(request)]


def the_call():
    return LLM.calls[-1]


async def eventually(truth):
    for _ in range(400):
        if truth():
            return
        await asyncio.sleep(0.005)
    raise AssertionError


@pytest.fixture(scope="module")
def shared():
    with opened() as engine:
        engine.start()
        yield engine


class TestContract(EngineContract):
    holds_resources = True

    @pytest.fixture(autouse=True)
    def _shared(self, shared):
        self.shared = shared

    def shared_engine(self):
        return self.shared

    def make_engine(self):
        return opened()

    def make_request(self):
        return Request(messages=(Message.user("Say hello"),), temperature=0.8)

    def make_bad_request(self):
        return said("x", temperature=-1.0)

    def make_failing_engine(self):
        return opened(llm_args={"fails": RuntimeError("no memory")})

    def under_way(self):
        return len(LLM.at_work)


# Answers


async def test_an_answer_with_all_that_is_known_of_it():
    async with opened() as engine:
        answer = await engine.agenerate(said("say:Hi!", logprobs=2))
    choice = answer.choices[0]
    assert (choice.text, choice.finish_reason, choice.token_ids) == ("Hi!", "stop", tuple(map(ord, "Hi!")))
    assert [one.token for one in choice.logprobs] == ["H", "i", "!"]
    assert choice.logprobs[0].top == (("H", -0.5), ("I", -1.5))
    assert (answer.model, answer.engine) == ("some/model", "tensorrt")
    assert answer.id.startswith("tensorrt-")
    prompt = "<user>say:Hi!<a>"
    assert answer.usage.input_tokens == len(prompt)
    assert (answer.usage.output_tokens, answer.usage.cached_input_tokens) == (3, 2)
    assert the_call()["inputs"] == list(map(ord, prompt))
    assert the_call()["streaming"] is False


async def test_a_stream_gives_what_is_new():
    async with opened() as engine:
        chunks = await streamed(engine, said("say:Hello", logprobs=0))
    assert "".join(chunk.text for chunk in chunks) == "Hello"
    assert len(chunks) > 1
    assert [token for chunk in chunks for token in chunk.token_ids] == list(map(ord, "Hello"))
    assert ["".join(one.token for one in chunk.logprobs) for chunk in chunks] == [chunk.text for chunk in chunks]
    assert all(one.top == () for chunk in chunks for one in chunk.logprobs)
    assert the_call()["streaming"] is True


async def test_each_of_several_choices_has_its_end():
    async with opened() as engine:
        answer = await engine.agenerate(said("say:Hello", n=2, temperature=1.0, max_tokens=3))
        chunks = await streamed(engine, said("say:Hello", n=2, temperature=1.0))
    assert [(one.text, one.finish_reason) for one in answer.choices] == [("Hel", "length")] * 2
    assert [chunk.index for chunk in chunks if chunk.finish_reason == "stop"] == [0, 1]
    assert sum(chunk.usage is not None for chunk in chunks) == 1


async def test_the_beginning_of_a_stop_text_is_not_handed_out():
    async with opened() as engine:
        chunks = await streamed(engine, said("say:It is 4. EN EN END never", stop=("END",)))
    assert "".join(chunk.text for chunk in chunks) == "It is 4. EN EN "
    assert chunks[-1].finish_reason == "stop"


async def test_what_is_asked_goes_out_under_its_own_names():
    request = Request(
        messages=(Message.system("s"), Message.user((TextPart(text="a"), TextPart(text="b")))),
        temperature=0.5,
        top_p=0.9,
        max_tokens=7,
        stop=("x",),
        seed=3,
        response_schema={"type": "object"},
        extra={"top_k": 5, "ignore_eos": True, "cache_salt": "me", "chat_template_kwargs": {"thinking": False}},
    )
    async with opened(chat_template="{T}") as engine:
        await engine.agenerate(request)
    asked = the_call()["sampling_params"].asked()
    assert asked.pop("guided_decoding").asked() == {"json": {"type": "object"}}
    assert asked == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["x"],
        "seed": 3,
        "n": 1,
        "top_k": 5,
        "ignore_eos": True,
    }
    assert the_call()["cache_salt"] == "me"
    assert the_call()["inputs"] == list(map(ord, "{T}<system>s<user>abFalse<a>"))


async def test_a_request_that_leaves_all_open_gets_no_default_of_32_tokens():
    async with opened() as engine:
        await engine.agenerate(HELLO)
    assert the_call()["sampling_params"].asked() == {"max_tokens": None, "n": 1}


async def test_options_reach_the_model(tmp_path):
    async with opened(
        tensor_parallel_size=2,
        max_seq_len=64,
        kv_cache_config={"free_gpu_memory_fraction": 0.5},
        speculative_config={"decoding_type": "NGram"},
        guided_decoding_backend=None,
        llm_args={"enable_iter_perf_stats": True},
    ) as engine:
        assert engine.context_window == 64
        await engine.astart()
        assert list(engine.startup) == ["import", "load"]
    arguments = dict(LLM.started[-1].arguments)
    assert arguments.pop("kv_cache_config").asked() == {"free_gpu_memory_fraction": 0.5}
    assert arguments == {
        "model": "some/model",
        "tensor_parallel_size": 2,
        "max_seq_len": 64,
        "speculative_config": {"decoding_type": "NGram"},
        "enable_iter_perf_stats": True,
    }


async def test_an_adapter_goes_by_name_number_and_folder(lora):
    async with opened(adapters={"base": lora, "support": lora}) as engine:
        await engine.agenerate(said("hello", adapter="support"))
        with pytest.raises(errors.BadRequestError, match="'base', 'support'"):
            await engine.agenerate(said("hello", adapter="other"))
    assert the_call()["lora_request"].asked() == {"lora_name": "support", "lora_int_id": 1, "lora_path": str(lora)}
    assert LLM.started[-1].arguments["lora_config"] == {
        "lora_dir": [str(lora), str(lora)],
        "max_lora_rank": 4,
        "max_loras": 2,
        "max_cpu_loras": 2,
    }


async def test_what_tensorrt_llm_tells_of_itself():
    async with opened() as engine:
        assert await engine.astats() == []
        await engine.agenerate(HELLO)
        assert await engine.astats() == [{"iter": 1}]
        assert await engine.akv_cache_events() == [{"event_id": 1}]


# Refusals and failures

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(messages=()), "no messages"),
        (said("x", tools=(TOOL,)), "trtllm-serve"),
        (said("x", tool_choice="required"), "there are no tools"),
        (said("x", max_tokens=0), "max_tokens"),
        (said("x", temperature=float("nan")), "temperature"),
        (said("x", top_p=2.0), "top_p"),
        (said("x", stop=("",)), "stop"),
        (said("x", n=2), "Greedy"),
        (said("x", extra={"topk": 1}), "'topk'"),
        (said("x", extra={"top_k": 1.5}), "whole number"),
        (said("x", extra={"stop_token_ids": 5}), "a list"),
        (said("x", extra={"regex": "a", "grammar": "b"}), "grammar and regex"),
        (said("x", response_schema={"enum": []}), "nothing satisfies it"),
    ],
)
async def test_wrong_requests(request_, words):
    async with opened() as engine:
        with pytest.raises(errors.BadRequestError, match=words):
            await engine.agenerate(request_)


async def test_a_structure_needs_a_backend():
    async with opened(guided_decoding_backend=None) as engine:
        with pytest.raises(errors.BadRequestError, match="guided_decoding_backend"):
            await engine.agenerate(said("x", extra={"regex": "a+"}))


async def test_history_with_tool_calls_is_told():
    call = ToolCall(id="1", name="f", arguments="{}")
    history = (Message.user("a"), Message.assistant(tool_calls=(call,)), Message.tool("42", tool_call_id="1"))
    async with opened() as engine:
        assert (await engine.agenerate(Request(messages=history))).text == "Hello dear world"


async def test_a_prompt_that_fills_the_window_is_not_sent():
    async with opened(max_seq_len=20) as engine:
        before = len(LLM.calls)
        with pytest.raises(errors.ContextLengthError) as caught:
            await engine.agenerate(said("x" * 30))
        assert (caught.value.tokens, caught.value.window) == (39, 20)
        assert len(LLM.calls) == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("the prompt length (5000) exceeds max_seq_len", errors.ContextLengthError),
        ("the grammar cannot be compiled", errors.BadRequestError),
        ("out of luck", errors.ServerError),
    ],
)
async def test_errors_about_one_request_leave_the_engine_up(words, error):
    async with opened() as engine:
        for attempt in (engine.agenerate, lambda request: streamed(engine, request)):
            with pytest.raises(error) as caught:
                await attempt(said(f"refuse:{words}"))
            assert type(caught.value) is error
        assert (await engine.agenerate(HELLO)).text == "Hello dear world"


@pytest.mark.parametrize(("reason", "error"), [("timeout", errors.EngineTimeout), ("cancelled", errors.ServerError)])
async def test_other_ends(reason, error):
    async with opened() as engine:
        with pytest.raises(error):
            await engine.agenerate(said(f"end:{reason}"))


async def test_when_the_workers_die_all_fail_and_the_next_request_starts_them_again():
    async with opened() as engine:
        hanging = asyncio.create_task(engine.agenerate(said("hang:")))
        await eventually(lambda: engine.running)
        between = engine.astream(said("say:" + "a" * 50))
        await anext(between)
        with pytest.raises(errors.EngineDied, match="illegal memory access"):
            await engine.agenerate(said("crash:"))
        with pytest.raises(errors.EngineDied):
            await asyncio.wait_for(hanging, 5)
        with pytest.raises(errors.EngineDied):
            while True:
                await anext(between)
        died = LLM.started[-1]
        assert (await engine.agenerate(HELLO)).text == "Hello dear world"
        assert LLM.started[-1] is not died
        assert died.shut_down_in is not None


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (ValueError("no such architecture"), errors.ConfigurationError),
        (RuntimeError("Only 1 GPUs are available, but 2 are required."), errors.ConfigurationError),
        (RuntimeError("Executor worker returned error"), errors.EngineDied),
    ],
)
async def test_starts_that_fail(failure, error):
    async with opened(llm_args={"fails": failure}) as engine:
        for _ in range(2):
            with pytest.raises(error, match=str(failure)):
                await engine.astart()


async def test_an_argument_that_tensorrt_llm_does_not_know():
    async with opened(llm_args={"max_len": 5}) as engine:
        with pytest.raises(errors.ConfigurationError, match="invalid argument: max_len"):
            await engine.astart()


async def test_a_model_folder_that_is_not_there():
    async with Engine.open("tensorrt:./nowhere", progress=False) as engine:
        with pytest.raises(errors.NotFoundError, match="nowhere"):
            await engine.agenerate(HELLO)


# Stopping


async def test_cancelling_and_closing_a_stream_abort_the_request():
    async with opened() as engine:
        aborted = LLM.aborted
        task = asyncio.create_task(engine.agenerate(said("say:" + "a" * 200)))
        await eventually(lambda: engine.running)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert LLM.aborted == aborted + 1
        stream = engine.astream(said("say:" + "a" * 200))
        await anext(stream)
        await stream.aclose()
        assert LLM.aborted == aborted + 2
        await eventually(lambda: not LLM.at_work)
        await engine.agenerate(HELLO)
        assert LLM.aborted == aborted + 2  # what has ended is left alone


@pytest.mark.parametrize("work", ["say:" + "a" * 1000, "hang:"])
async def test_closing_ends_what_is_in_flight(work):
    engine = opened()
    tasks = [asyncio.create_task(engine.agenerate(said(work))), asyncio.create_task(streamed(engine, said(work)))]
    await eventually(lambda: engine.running == 2)
    await asyncio.gather(engine.aclose(), engine.aclose())
    for outcome in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5):
        assert isinstance(outcome, errors.ClosedError)
    assert LLM.started[-1].shut_down_in not in (None, threading.main_thread().name)
    with pytest.raises(errors.ClosedError):
        await engine.agenerate(HELLO)


async def test_a_cancelled_request_that_was_ended_at_once_stays_cancelled():
    engine = opened()
    task = asyncio.create_task(engine.agenerate(said("hang:")))
    await eventually(lambda: engine.running)
    (flight,) = engine._flights
    flight.end(errors.ClosedError("closed"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await engine.aclose()


async def test_closing_while_it_starts():
    engine = opened()
    starting = asyncio.create_task(engine.astart())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await engine.aclose()
    with pytest.raises(errors.ClosedError):
        await starting
    assert LLM.started[-1].shut_down_in is not None


def test_an_engine_whose_loop_has_ended_starts_again_on_another():
    engine = opened()
    for _ in range(2):
        assert asyncio.run(engine.agenerate(HELLO)).text == "Hello dear world"
    assert LLM.started[-2].shut_down_in is not None
    engine.close()
    assert LLM.started[-1].shut_down_in is not None


def test_one_engine_from_two_threads_uses_one_loop():
    with opened() as engine:
        engine.start()
        texts = []
        threads = [threading.Thread(target=lambda: texts.append(engine.generate(HELLO).text)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        texts.append(asyncio.run(streamed(engine))[0].text)
        assert texts[:2] == ["Hello dear world"] * 2
        assert texts[2].startswith("H")


def test_it_travels_as_what_it_was_made_with():
    engine = pickle.loads(pickle.dumps(opened(max_seq_len=77)))
    assert engine.context_window == 77
    with engine:
        assert engine.generate(HELLO).text == "Hello dear world"
