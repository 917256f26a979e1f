"""`Tokens`: what counts, what is refused, and that nothing is downloaded."""

import importlib.util

import pytest

from llmops_sdk.costs import likely_text_tokens
from llmops_sdk.environment import tiktoken_cache
from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards import Tokens
from llmops_sdk.testing import GuardContract


class TestContract(GuardContract):
    examples_allowed = ("one two three",)
    examples_caught = ("a text of many more than a few tokens, as anybody can count",)

    def make_guard(self):
        return Tokens(most=10, counter="estimate")


def by_words(text):
    return len(text.split())


class TestContractWithAFunction(TestContract):
    def make_guard(self):
        return Tokens(most=10, counter=by_words, action="flag")


class Encoding:
    def __init__(self, ids):
        self.ids = ids


class Tokenizer:
    def encode(self, text):
        text.encode()  # as tokenizers in Rust do
        return Encoding(list(text.split()))


def test_a_tokenizer_counts_also_lone_surrogates():
    guard = Tokens(most=2, counter=Tokenizer())
    assert guard.check("one \ud800").action == "allow"
    assert guard.check("one two three").reason == "3 tokens, more than 2"


def test_an_estimate_is_called_one():
    verdict = Tokens(most=1, counter="estimate").check("a longer text")
    assert "estimate" in verdict.reason
    assert verdict.findings[0].score < 1


def test_an_estimate_counts_bytes_and_rounds_up():
    assert [likely_text_tokens(text) for text in ("", "a", "abcd", "abcde", "éé", "\ud800")] == [0, 1, 1, 2, 1, 1]


def test_a_minimum_counts_too():
    assert Tokens(least=2, counter=by_words).check("one").blocked


def test_without_a_vocabulary_at_hand_it_estimates(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert tiktoken_cache() == tmp_path
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert tiktoken_cache() is None
    from llmops_sdk.tokens import _vocabularies

    _vocabularies.is_at_hand.cache_clear()
    assert Tokens(most=1).counts_with == "estimate"
    _vocabularies.is_at_hand.cache_clear()


@pytest.mark.skipif(importlib.util.find_spec("tiktoken") is not None, reason="tiktoken is installed")
def test_an_encoding_without_tiktoken_says_what_to_install():
    with pytest.raises(MissingDependencyError, match="pip install tiktoken"):
        Tokens(most=1, counter="o200k_base")


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is not None, reason="tokenizers is installed")
def test_a_tokenizer_file_without_tokenizers_says_what_to_install(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(MissingDependencyError, match="tokenizers"):
        Tokens(most=1, counter=tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"most": -1},
        {"most": 1, "least": 2},
        {"most": 1, "counter": "no_such_encoding"},
        {"most": 1, "counter": 3},
        {"most": 1, "action": "rewrite"},
    ],
)
def test_wrong_wiring_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Tokens(**wrong)


def test_a_counter_that_counts_nothing_fails():
    with pytest.raises(ConfigurationError, match="number"):
        Tokens(most=1, counter=str.split).check("a")
