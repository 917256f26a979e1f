from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.costs import estimated_tokens
from llmops_sdk.messages import ImagePart, Message, Request, TextPart, ToolCall


def _of(*messages: Message, **settings: object) -> int:
    return estimated_tokens(Request(messages=messages, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # As cl100k_base counts them.
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("def squares(numbers):\n    return [number ** 2 for number in numbers if number % 3 == 0]\n", 24),
        ("我们明天下午三点在火车站见面。", 14),
        ("Ich hätte gern zwei Brötchen und einen Kaffee, bitte.", 16),
    ],
)
def test_it_counts_rather_too_many_than_too_few(text: str, tokens: int) -> None:
    assert tokens <= _of(Message.user(text)) <= 3 * tokens + 4


def test_everything_that_is_sent_counts() -> None:
    plain = _of(Message.user("Hello"))

    assert _of(Message.user((TextPart(text="Hello"), ImagePart(url="https://x/y.png")))) == plain + 1_600
    assert _of(Message.user("Hello"), tools=({"type": "function", "function": {"name": "f" * 300}},)) > plain + 100
    assert _of(Message.user("Hello"), response_schema={"type": "object", "title": "t" * 300}) > plain + 100
    called = Message.assistant(tool_calls=(ToolCall(id="1", name="f", arguments="x" * 300),))
    assert _of(Message.user("Hello"), called) > plain + 100


@given(st.text(alphabet=st.characters()), st.text(alphabet=st.characters()))
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    assert 4 <= _of(Message.user(text)) <= _of(Message.user(text + more))
