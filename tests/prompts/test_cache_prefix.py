"""`Prompt.cache_prefix`: what all requests of a prompt begin with, and which variable ends that too early."""

from __future__ import annotations

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts import Prompt, Section


def words(text: str) -> int:
    return len(text.split())


def test_what_stands_before_the_first_variable_is_shared() -> None:
    prompt = Prompt.from_string("Question: {{ question }}", system="one two three four")
    found = prompt.cache_prefix(words)

    assert found.tokens == (6 + 4) + (6 + 1) - 1  # six for each message, less the mark at the end of the last
    assert (found.total, found.early) == (found.tokens, None)


def test_a_variable_that_comes_too_early_is_named_with_what_moving_it_wins() -> None:
    prompt = Prompt(
        [
            Section("system", "For {{ customer }}:\none two three", line=4),
            Section("user", "four five {{ question }} six", line=9),
        ]
    )
    found = prompt.cache_prefix(words)

    assert found.early is not None
    assert found.early._asdict() == {"name": "customer", "section": 0, "line": 4, "gain": 6}
    assert found.total == found.tokens + 7


def test_a_prompt_without_variables_is_shared_as_a_whole() -> None:
    prompt = Prompt.from_string("two words", system="one")
    found = prompt.cache_prefix(words)
    assert found.tokens == found.total == 6 + 1 + 6 + 2 - 1


def test_a_history_ends_what_is_shared() -> None:
    prompt = Prompt(
        [
            Section("system", "one two"),
            Section("user", "", kind="history", name="history"),
            Section("user", "three {{ question }}"),
        ]
    )
    found = prompt.cache_prefix(words)
    assert found.tokens == 6 + 2 - 1
    assert found.early is not None
    assert (found.early.name, found.early.gain) == ("history", 1)


def test_examples_that_are_always_the_same_are_shared() -> None:
    cases = [{"question": "two words", "answer": "three more words"}]
    prompt = Prompt.from_string("{{ question }}", examples=cases)
    assert prompt.cache_prefix(words).tokens == 6 + 2 + 6 + 3 + 6 - 1

    chosen = prompt.with_examples(cases * 9, select="similar", count=1).cache_prefix(words)
    assert (chosen.tokens, chosen.early) == (0, None)


def test_tools_are_part_of_it() -> None:
    tool = {"type": "function", "function": {"name": "find", "description": "Finds a b c d e"}}
    without = Prompt.from_string("{{ a }}", system="one").cache_prefix(words).tokens
    assert Prompt.from_string("{{ a }}", system="one", tools=[tool]).cache_prefix(words).tokens > without + 5


def test_a_prompt_that_begins_with_a_variable_shares_the_mark_of_its_message() -> None:
    assert Prompt.from_string("{{ a }} b c").cache_prefix(words).tokens == 5


def test_braces_that_are_text_end_nothing() -> None:
    found = Prompt.from_string('{"a": {{"b"}} } and {{ a }}').cache_prefix(words)
    assert found.tokens == 5 + 4


def test_the_attribute_takes_the_counter_that_is_at_hand() -> None:
    prompt = Prompt.from_string("{{ question }}", system="one two three")
    assert prompt.cache_prefix_tokens == prompt.cache_prefix().tokens > 0


def test_an_estimate_says_so() -> None:
    found = Prompt.from_string("{{ a }}", system="one").cache_prefix("estimate")
    assert not found.exact
    assert found.doubt == "an estimate was asked for, so tokens are estimated by bytes"


def test_fitting_does_not_change_it() -> None:
    prompt = Prompt([Section("system", "Rules: one two three."), Section("user", "{{ text }}", priority=1)])
    fitted = prompt.fit(30, counter=words)
    short, long = fitted.render(text="word"), fitted.render(text="word " * 100)
    assert short.messages[0] == long.messages[0]


def test_a_wrong_counter_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Prompt.from_string("x").cache_prefix(3)
