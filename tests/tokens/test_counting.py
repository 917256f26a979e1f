"""Counters: what is taken for one, what they count of a request, and what they say when they estimate."""

from __future__ import annotations

import importlib.util
import threading

import pytest

from llmops_sdk.engines import Scripted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import ImagePart, Message, Request, TextPart, ToolCall
from llmops_sdk.tokens import Counter, counter_of
from llmops_sdk.tokens._counter import Overhead


def words(text: str) -> int:
    return len(text.split())


class ChatTokenizer:
    """A tokenizer with a chat template, as transformers has them: one token for each word and each mark."""

    chat_template = "a template"

    def encode(self, text: str) -> list[str]:
        return text.split()

    def apply_chat_template(self, messages: list[dict[str, object]], *, tokenize: bool, **told: object) -> str:
        if messages[0]["role"] == "assistant":
            raise ValueError("conversations begin with the user\nat some line")
        tools = " ".join(map(str, told.get("tools", ())))
        text = tools + " " + " ".join(f"<begin> {one['role']} {one['content']} <end>" for one in messages)
        return text + " <begin> assistant" if told["add_generation_prompt"] else text


def test_a_counter_is_taken_as_it_is() -> None:
    counter = counter_of(words)
    assert counter_of(counter) is counter


def test_an_equal_text_is_counted_once() -> None:
    counted: list[str] = []
    counter = Counter(lambda text: counted.append(text) or 1, name="x")
    assert [counter.text("a b"), counter.text("a b"), counter.text("c")] == [1, 1, 1]
    assert counted == ["a b", "c"]


def test_counts_of_the_latest_four_million_characters_are_kept() -> None:
    counted: list[str] = []
    counter = Counter(lambda text: counted.append(text[:1]) or 1, name="x")
    for letter in "abcdea":
        counter.text(letter * 1_000_000)
    assert counted == ["a", "b", "c", "d", "e", "a"]
    counter.text("e" * 1_000_000)
    assert len(counted) == 6
    for letter in "cbca":  # "c" was asked for again meanwhile, so it is "d" that goes
        counter.text(letter * 1_000_000)
    assert counted[6:] == ["b"]


def test_threads_may_share_a_counter() -> None:
    counter = counter_of(words)
    threads = [threading.Thread(target=lambda: [counter.text(f"{n} " * 1_000) for n in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.text("7 " * 1_000) == 1_000


def test_all_that_stands_in_a_request_counts() -> None:
    call = ToolCall(id="1", name="find", arguments='{"a": 1}')
    bare = counter_of(words).request(Request.of("one two"))
    full = Request(
        messages=(
            Message(role="user", content=(TextPart(text="one two"), ImagePart(url="https://example.org/a.png"))),
            Message.assistant(tool_calls=(call,)),
            Message.tool("three", tool_call_id="1", name="find"),
        ),
        tools=({"type": "function", "function": {"name": "find"}},),
    )
    counted = counter_of(words).request(full)

    assert bare.tokens == 8 + 6 + 2
    assert bare.doubt == "the chat template is not known: 6 tokens are assumed for each message"
    assert counted.tokens == 8 + (6 + 2 + 1_600) + (6 + 6 + 1 + 2) + (6 + 1 + 2) + words(str(full.tools))


def test_how_a_model_is_told_of_tools_and_schemas_is_in_doubt() -> None:
    counter = Counter(words, name="x", overhead=Overhead(4, 3, known=True))
    call = ToolCall(id="1", name="find", arguments="{}")
    for asked in (
        Request(messages=(Message.user("a"),), tools=({"x": 1},)),
        Request(messages=(Message.user("a"),), response_schema={"type": "string"}),
        Request(messages=(Message.user("a"), Message.assistant(tool_calls=(call,)))),
    ):
        assert counter.request(asked).doubt == "how the model is told of tools and schemas is not known"
    assert counter.request(Request.of("a")) == (3 + 4 + 1, None)


def test_a_chat_template_counts_exactly() -> None:
    counter = counter_of(ChatTokenizer())
    assert counter.request(Request.of("one two")) == (4 + 1 + 2, None)
    assert counter.request(Request(messages=(Message.user("a"),), tools=({"x": 1},))).tokens == 2 + 4 + 1 + 1
    assert counter.prefix(Request.of("one two")) == 4


def test_a_chat_template_that_refuses_is_estimated() -> None:
    counted = counter_of(ChatTokenizer()).request(Request(messages=(Message.assistant("a b"),)))
    assert counted.tokens == 8 + 6 + 2
    assert counted.doubt == "the chat template refuses these messages: conversations begin with the user"


def test_the_tokenizer_of_an_engine_counts() -> None:
    class Local(Scripted):
        @property
        def tokenizer(self) -> object:
            return ChatTokenizer()

    counter = counter_of(Local("x", name="here"))
    assert (counter.name, counter.exact) == ("here", True)
    assert counter.request(Request.of("one two")).doubt is None


def test_an_engine_without_one_is_estimated() -> None:
    counter = counter_of(Scripted("x"))
    assert counter.doubt == "the engine 'scripted' has no tokenizer at hand, so tokens are estimated by bytes"
    assert counter.text("abcdef") == 2


@pytest.mark.skipif(importlib.util.find_spec("tiktoken") is not None, reason="tiktoken is installed")
@pytest.mark.parametrize("counter", ["gpt-4o", "ft:gpt-4o:acme", Scripted("x", model="gpt-4o-mini")])
def test_a_model_whose_vocabulary_is_not_at_hand_is_estimated(counter: object) -> None:
    assert "tiktoken" in (counter_of(counter).doubt or "")


def test_an_estimate_is_rather_too_high() -> None:
    counter = counter_of("estimate")
    assert (counter.text("abcd"), counter.text("\u4f60"), counter.exact) == (2, 1, False)


def test_what_counts_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no function, tokenizer"):
        counter_of(3)
