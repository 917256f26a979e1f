"""What vLLM in the process can be asked and what it answers: tools, thoughts, log-probabilities, structures."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_sdk.engines import Engine
from llmops_sdk.engines._vllm_answer import AnswerReader, Parsers
from llmops_sdk.engines.embedded import checkpoint
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import BadRequestError, ConfigurationError, ContextLengthError
from llmops_sdk.messages import Choice, Chunk, ChunkJoiner, ImagePart, Message, Request, Response, TextPart, ToolCall

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}},
}
NAMED = {"type": "function", "function": {"name": "weather"}}


def ask(text: str = "How will the weather be in Rome?", **parameters: Any) -> Request:
    values: dict[str, Any] = {"temperature": 0.0, "max_tokens": 60, **parameters}
    return Request(messages=(Message.user(text),), **values)


async def chunks_of(engine: Engine, request: Request) -> list[Chunk]:
    return [chunk async for chunk in engine.astream(request)]


def joined(chunks: list[Chunk]) -> Response:
    joiner = ChunkJoiner()
    for chunk in chunks:
        joiner.add(chunk)
    return joiner.response()


async def both(engine: Engine, request: Request) -> list[Response]:
    """The whole answer and the joined stream, which have to be the same; ids of tool calls are random."""
    whole = await engine.agenerate(request)
    stream = joined(await chunks_of(engine, request))
    assert list(map(without_ids, stream.choices)) == list(map(without_ids, whole.choices))
    assert stream.usage == whole.usage
    return [whole, stream]


def without_ids(choice: Choice) -> Choice:
    return replace(choice, tool_calls=tuple(replace(call, id="") for call in choice.tool_calls))


def no_blanks(engine: VLLM) -> dict[str, Any]:
    """For `extra`: so small a model fills JSON with line breaks where a structure lets it."""
    tokenizer = engine._core.renderer.get_tokenizer()
    blanks = [number for number in range(tokenizer.vocab_size) if tokenizer.decode([number]).isspace()]
    return {"logit_bias": dict.fromkeys(blanks, -100.0)}


async def usable(engine: Engine) -> bool:
    answer = await asyncio.wait_for(engine.agenerate(ask("What is the capital of France?", max_tokens=12)), 20)
    return "Paris" in answer.text


# Tools


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
async def test_a_forced_tool_call_keeps_to_the_schema(engine: VLLM, choice: Any) -> None:
    tools = (WEATHER,) if choice == "required" else (CLOCK, WEATHER)
    for response in await both(engine, ask(tools=tools, tool_choice=choice, extra=no_blanks(engine))):
        (call,) = response.tool_calls
        arguments = json.loads(call.arguments)
        assert (call.name, arguments["city"] in ("Paris", "Rome"), 1 <= arguments["days"] <= 9) == (
            "weather",
            True,
            True,
        )
        assert call.id
        assert (response.text, response.finish_reason) == ("", "tool_calls")


def markup(*calls: str) -> str:
    """A regular expression for an answer with text and tool calls as Hermes models write them."""
    said = "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)
    return re.sub(r"([.{}])", r"\\\1", f"Let me look. {said}")


CALLS = (
    '{"name": "weather", "arguments": {"city": "Z\u00fcrich \U0001f326", "days": 3}}',
    '{"name": "clock", "arguments": {}}',
)


async def test_the_models_own_tool_calls_are_read(engine: VLLM) -> None:
    request = ask(tools=(WEATHER, CLOCK), extra={"regex": markup(*CALLS)}, max_tokens=120)
    chunks = await chunks_of(engine, request)
    assert sum(1 for chunk in chunks if chunk.text) > 1
    assert not any("<" in chunk.text for chunk in chunks)
    for response in (await engine.agenerate(request), joined(chunks)):
        assert [(call.name, json.loads(call.arguments)) for call in response.tool_calls] == [
            ("weather", {"city": "Z\u00fcrich \U0001f326", "days": 3}),
            ("clock", {}),
        ]
        assert len({call.id for call in response.tool_calls}) == 2
        assert (response.text.strip(), response.finish_reason) == ("Let me look.", "tool_calls")


async def test_one_call_only_where_that_is_asked(engine: VLLM) -> None:
    extra = {"regex": markup(CALLS[1], CALLS[1]), "parallel_tool_calls": False}
    for response in await both(engine, ask(tools=(CLOCK,), extra=extra, max_tokens=120)):
        assert [call.name for call in response.tool_calls] == ["clock"]


async def test_a_call_that_is_cut_off_is_no_call(engine: VLLM) -> None:
    for response in await both(engine, ask(tools=(WEATHER, CLOCK), extra={"regex": markup(*CALLS)}, max_tokens=18)):
        assert response.tool_calls == ()
        assert (response.text.strip(), response.finish_reason) == ("Let me look.", "length")


async def test_a_text_answer_beside_tools_stays_a_text(engine: VLLM) -> None:
    for response in await both(engine, ask("What is the capital of France?", tools=(WEATHER,), max_tokens=12)):
        assert "Paris" in response.text
        assert response.tool_calls == ()


async def test_tools_that_must_not_be_called_leave_the_text_alone(engine: VLLM) -> None:
    extra = {"regex": markup(CALLS[1])}
    for response in await both(engine, ask(tools=(CLOCK,), tool_choice="none", extra=extra)):
        assert "<tool_call>" in response.text
        assert response.tool_calls == ()


# Parsers, without the model: an answer may be cut anywhere


def pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    """The text that each token adds, where half characters wait for the rest."""
    texts, said = [], ""
    for count in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:count])
        whole = not text.endswith("\ufffd") or count == len(ids)
        texts.append(text[len(said) :] if whole else "")
        said = text if whole else said
    return texts


def cuts(count: int) -> Iterator[list[int]]:
    """All at once, each token alone, in two pieces at every place, and at places drawn at random."""
    yield []
    yield list(range(1, count))
    yield from ([place] for place in range(1, count))
    draw = random.Random(7)
    for _ in range(40):
        yield sorted(draw.sample(range(1, count), draw.randint(2, count - 1)))


def read_in_pieces(parsers: Parsers, tokenizer: Any, text: str, places: list[int]) -> Choice:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    texts = pieces(tokenizer, ids)
    request = ask(tools=(WEATHER, CLOCK))
    reader = AnswerReader([1], parsers.asked(request, {}, None), None, {"engine": "vllm"})
    chunks: list[Chunk] = []
    for start, end in itertools.pairwise([0, *places, len(ids)]):
        last = end == len(ids)
        piece = SimpleNamespace(
            index=0,
            text="".join(texts[start:end]),
            token_ids=ids[start:end],
            logprobs=None,
            finish_reason="stop" if last else None,
        )
        output = SimpleNamespace(num_cached_tokens=0, finished=last, outputs=[piece])
        chunks += reader.read(output, lambda reason: "stop")
    choice = joined(chunks).choices[0]
    assert choice.token_ids == tuple(ids)
    return without_ids(choice)


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(id="", name=name, arguments=json.dumps(arguments, ensure_ascii=False))


HERMES = {
    "How are you? a <tool b <tool_ c": ("How are you? a <tool b <tool_ c", ()),
    f"Well. <tool_call>\n{CALLS[0]}\n</tool_call>": (
        "Well. ",
        (call("weather", city="Z\u00fcrich \U0001f326", days=3),),
    ),
    f"<tool_call>{CALLS[1]}</tool_call>\n<tool_call>{CALLS[1]}</tool_call>": ("", (call("clock"), call("clock"))),
    f"<tool_call>{CALLS[1]}</tool_call><tool_call>{CALLS[0][:40]}": ("", (call("clock"),)),
    "A <tool_call>no JSON</tool_call>": ("A ", ()),
    f"<tool_call>{CALLS[0][:30]}": ("", ()),
}


@pytest.mark.parametrize("text", HERMES)
async def test_an_answer_may_be_cut_anywhere(engine: VLLM, text: str) -> None:
    tokenizer = engine._core.renderer.get_tokenizer()
    said, calls = HERMES[text]
    expected = (said, calls, "tool_calls" if calls else "stop")
    assert engine._parsers is not None
    for places in cuts(len(tokenizer.encode(text, add_special_tokens=False))):
        choice = read_in_pieces(engine._parsers, tokenizer, text, places)
        assert (choice.text, choice.tool_calls, choice.finish_reason) == expected, places


# Log-probabilities and token ids


async def test_every_token_has_its_log_probabilities(engine: VLLM) -> None:
    request = ask("Name three colours.", logprobs=3, max_tokens=20)
    for response in await both(engine, request):
        (choice,) = response.choices
        assert response.usage is not None
        assert len(choice.logprobs) == len(choice.token_ids) == response.usage.output_tokens
        assert "".join(one.token for one in choice.logprobs).startswith(choice.text)
        for one in choice.logprobs:
            assert len(one.top) == 3
            assert one.logprob <= 0
            assert one.top[0][1] == one.logprob, "greedy takes the likeliest, or one that is as likely"
            assert [value for _, value in one.top] == sorted((value for _, value in one.top), reverse=True)
    plain = await engine.agenerate(replace(request, logprobs=None))
    assert plain.choices[0] == replace(choice, logprobs=())


async def test_no_more_than_the_taken_tokens_log_probability(engine: VLLM) -> None:
    for response in await both(engine, ask(logprobs=0, max_tokens=5)):
        assert [one.top for one in response.choices[0].logprobs] == [()] * 5


async def test_a_token_may_be_less_likely_than_the_likeliest(engine: VLLM) -> None:
    request = ask("Invent a name.", logprobs=2, max_tokens=12, temperature=2.0, seed=1)
    for response in await both(engine, request):
        places = response.choices[0].logprobs
        assert {len(one.top) for one in places} == {2}
        assert any(one.logprob < one.top[-1][1] for one in places)


# Streams


SIGNS = rb"(\U0001f600|\U0001f326|\U0001f1eb\U0001f1f7|\u65e5\u672c|\u00e9|\u0939\u093f)".decode("unicode_escape")


async def test_characters_come_whole_however_many_tokens_they_take(engine: VLLM) -> None:
    request = ask("Signs!", extra={"regex": SIGNS + "{6}"}, temperature=1.5, seed=3, logprobs=0)
    for response in await both(engine, request):
        assert re.fullmatch(SIGNS + "{6}", response.text)
        (choice,) = response.choices
        assert len(choice.token_ids) > len(choice.text)
        assert "".join(one.token for one in choice.logprobs).startswith(choice.text)
    assert not any("\ufffd" in chunk.text for chunk in await chunks_of(engine, request))


async def test_a_stop_text_may_lie_across_tokens(engine: VLLM) -> None:
    extra = {"regex": "One, two, three, four and five\\."}
    for stop, said in ((("ee, fo",), "One, two, thr"), (("zzz", "o, t"), "One, tw"), (("One",), "")):
        for response in await both(engine, ask(extra=extra, stop=stop)):
            assert (response.text, response.finish_reason) == (said, "stop")


async def test_seeded_answers_are_the_same_in_streams(engine: VLLM) -> None:
    request = ask("Invent a name.", temperature=1.2, seed=11, n=3, max_tokens=8)
    for response in await both(engine, request):
        assert len(response.choices) == 3
        assert len({choice.text for choice in response.choices}) > 1


async def test_log_probabilities_of_several_answers_are_those_of_their_tokens_in_streams(engine: VLLM) -> None:
    request = ask("Invent a name.", temperature=1.2, seed=11, n=3, max_tokens=8, logprobs=1)
    whole = await engine.agenerate(request)
    stream = joined(await chunks_of(engine, request))
    for one, other in zip(whole.choices, stream.choices, strict=True):
        assert [token.token for token in one.logprobs] == [token.token for token in other.logprobs]
        # Which choices share a step differs, and with it the last digits of what is computed.
        assert [token.logprob for token in one.logprobs] == pytest.approx(
            [token.logprob for token in other.logprobs], abs=0.1
        )


# Structures


NASTY: dict[str, dict[str, Any]] = {
    "unknown reference": {"response_schema": {"$ref": "#/$defs/none"}},
    "reference to elsewhere": {"response_schema": {"$ref": "http://127.0.0.1:9/schema.json"}},
    "reference to itself": {"response_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}},
    "contradiction": {"response_schema": {"type": "integer", "minimum": 5, "maximum": 2}},
    "two types at once": {"response_schema": {"allOf": [{"type": "string"}, {"type": "integer"}]}},
    "no type": {"response_schema": {"type": "no such type"}},
    "huge": {"response_schema": {"enum": [f"value number {number}" for number in range(20_000)]}},
    "no JSON": {"response_schema": {"const": object()}},
    "bad pattern": {"response_schema": {"type": "string", "pattern": "(["}},
    "bad regex": {"extra": {"regex": "(["}},
    "regex that looks ahead": {"extra": {"regex": "(?=a)b"}},
    "regex of nothing": {"extra": {"regex": r"[^\s\S]"}},
    "grammar without a rule": {"extra": {"grammar": "root ::= "}},
    "grammar without an end": {"extra": {"grammar": 'root ::= root "a"'}},
    "unknown rule": {"extra": {"grammar": "root ::= nothing"}},
    "no choice": {"extra": {"choice": []}},
    "tag that is no JSON": {"extra": {"structural_tag": "{"}},
    "unknown tag": {"extra": {"structural_tag": {"type": "structural_tag", "format": {"type": "what"}}}},
    "two structures": {"extra": {"regex": "a", "choice": ["b"]}},
    "bad tool": {
        "tools": ({"type": "function", "function": {"name": "f", "parameters": {"type": "no such type"}}},),
        "tool_choice": "required",
    },
    "token of no vocabulary": {"extra": {"logit_bias": {10**6: 1.0}}},
    "budget without thoughts": {"extra": {"thinking_token_budget": 5}},
    "more tokens than the most": {"extra": {"min_tokens": 50}},
    "no token allowed": {"extra": {"allowed_token_ids": []}},
    "what cannot be sent": {"extra": {"extra_args": {"a": object()}}},
    "half a character": {"messages": (Message.user("\ud800"),)},
    "template of no value": {"extra": {"chat_template_kwargs": {"messages": 5}}},
}


async def refusal(engine: VLLM, request: Request) -> tuple[str, bool]:
    """What became of a request, and whether that was soon."""
    began = time.perf_counter()
    try:
        answer = await asyncio.wait_for(engine.agenerate(request), 30)
    except Exception as exc:  # noqa: BLE001  (which one it is, is what is asked)
        return type(exc).__name__, time.perf_counter() - began < 15
    return answer.text, False


async def test_what_cannot_be_kept_to_is_refused_at_once_and_harms_nobody(engine: VLLM) -> None:
    neighbour = asyncio.create_task(engine.agenerate(ask("Count.", max_tokens=100, extra={"ignore_eos": True})))
    became = {}
    for name, parameters in NASTY.items():
        for several in ({}, {"n": 2, "temperature": 1.0}):
            request = replace(ask(max_tokens=8, **several), **parameters)
            became[name, len(several)] = await refusal(engine, request)
    assert became == dict.fromkeys(became, ("BadRequestError", True))
    assert (await neighbour).finish_reason == "length"
    assert engine._core.get_num_unfinished_requests() == 0
    assert await usable(engine)


async def test_a_recursive_schema_is_kept_to(engine: VLLM) -> None:
    node = {
        "type": "object",
        "properties": {"v": {"enum": [1, 2]}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
        "required": ["v", "next"],
        "additionalProperties": False,
    }
    tag = {
        "type": "structural_tag",
        "format": {"type": "json_schema", "json_schema": {"$defs": {"node": node}, "$ref": "#/$defs/node"}},
    }
    schema = {"$defs": {"node": node}, "$ref": "#/$defs/node"}
    for request in (
        ask("A list.", response_schema=schema, max_tokens=8),
        ask("A list.", extra={"structural_tag": tag}, max_tokens=8),
    ):
        text = (await engine.agenerate(request)).text
        assert re.match(r'\{\s*("v"\s*|$)', text)


async def test_an_image_for_a_model_of_texts_is_refused_before_it_is_fetched(engine: VLLM) -> None:
    asked: list[object] = []

    def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(reader)
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cat.png"
        message = Message.user((TextPart(text="What is this?"), ImagePart(url=url)))
        with pytest.raises(BadRequestError, match="reads text only"):
            await engine.agenerate(Request(messages=(message,)))
    assert not asked


async def test_parts_of_text_count_for_the_window(engine: VLLM) -> None:
    with pytest.raises(ContextLengthError) as caught:
        await engine.agenerate(Request(messages=(Message.user((TextPart(text="word " * 3000),) * 2),)))
    assert caught.value.tokens is not None
    assert 6000 < caught.value.tokens < 6100


# Thoughts, with a tokenizer that knows their marks


TEMPLATE = (
    "{% if tools %}<|im_start|>system\nTools: {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if thinks | default(true) %}<think>{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def thinker(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with two of its spare tokens renamed to the marks of thoughts."""
    folder = tmp_path_factory.mktemp("thinker")
    for path in checkpoint().iterdir():
        if path.name != "tokenizer.json":
            (folder / path.name).symlink_to(path)
            continue
        text = path.read_text(encoding="utf-8")
        text = text.replace('"<reponame>"', '"<think>"').replace('"<filename>"', '"</think>"')
        tokenizer = json.loads(text)
        for token in tokenizer["added_tokens"]:
            token["special"] = token["special"] and "think" not in token["content"]  # as in models that think
        (folder / path.name).write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


async def test_thoughts_are_told_from_the_answer(one_vllm: Any, thinker: Path) -> None:
    await one_vllm.close()
    options: dict[str, Any] = {"max_model_len": 512, "kv_cache_gib": 0.5, "cpu_threads": 1, "dtype": "bfloat16"}
    with pytest.raises(ConfigurationError, match=r"tool_call_parser 'hermess'; did you mean 'hermes'\?"):
        await VLLM(str(thinker), tool_call_parser="hermess", **options).astart()
    engine = VLLM(
        str(thinker),
        reasoning_parser="deepseek_r1",
        tool_call_parser="hermes",
        chat_template=TEMPLATE,
        **options,
    )
    async with engine:
        thinks = {"thinking_token_budget": 8, "regex": "(Paris|Rome)[.]"}
        for response in await both(engine, ask(extra=thinks)):
            (choice,) = response.choices
            assert choice.text in ("Paris.", "Rome.")
            assert choice.reasoning
            assert "think>" not in choice.reasoning + choice.text
            assert response.usage is not None
            assert 8 <= response.usage.reasoning_tokens < response.usage.output_tokens
        chunks = await chunks_of(engine, ask(extra=thinks))
        assert sum(1 for chunk in chunks if chunk.reasoning) > 3

        for response in await both(
            engine, ask(tools=(WEATHER,), tool_choice="required", extra={"thinking_token_budget": 8})
        ):
            (call,) = response.tool_calls
            assert call.name == "weather"
            assert response.choices[0].reasoning
            assert response.text.strip() == ""

        with pytest.raises(ContextLengthError) as caught:  # the tools are a part of the prompt
            long = {"type": "function", "function": {"name": "f", "description": "word " * 600}}
            await engine.agenerate(ask(tools=(long,)))
        assert caught.value.tokens is not None
        assert 600 < caught.value.tokens < 800
