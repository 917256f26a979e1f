"""The choice of what counts, from whatever people have in hand."""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from llmops_sdk.costs import estimated_text_tokens
from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.surrogates import valid
from llmops_sdk.tokens._counter import ChatCounter, Counter, Overhead
from llmops_sdk.tokens._vocabularies import VOCABULARIES, encoding, encoding_of_model, first_at_hand, is_at_hand

__all__ = ["TokenCounter", "counter_of"]

TokenCounter: TypeAlias = "Callable[[str], int] | str | Path | Any"

_OPENAI = Overhead(4, 3, known=True)
"""As OpenAI states it for its chat models since GPT-3.5: three tokens and the role, and three before the answer."""


def counter_of(counter: TokenCounter = None, *, estimate: Callable[[str], int] = estimated_text_tokens) -> Counter:
    """What counts tokens.

    Args:
        counter: A function from a text to a number; an object with `encode`, such as a tokenizer of tokenizers,
            transformers or tiktoken; the path of a `tokenizer.json`; the name of a tiktoken encoding or of a model of
            OpenAI; an engine; or `"estimate"`. By default tiktoken's `o200k_base` or `cl100k_base` where tiktoken is
            installed and the vocabulary is in its cache, else the estimate.
        estimate: What estimates, where no tokenizer is at hand: rather too many than too few by default.

    Raises:
        ConfigurationError: It counts nothing.
        MissingDependencyError: It needs a library that is not installed.

    Example:
        >>> counter = counter_of("estimate")
        >>> counter.text("a dozen characters and more"), counter.exact
        (9, False)
    """
    if isinstance(counter, Counter):
        return counter
    if counter is None:
        name = first_at_hand()
        return _guessing(estimate, "no tokenizer is at hand") if name is None else _by_encoding(name)
    if isinstance(counter, str):
        return _named(counter, estimate)
    if isinstance(counter, Path):
        return _by_file(counter)
    if hasattr(counter, "agenerate") or hasattr(counter, "astream"):
        return _of_engine(counter, estimate)
    if hasattr(counter, "encode"):
        return _by_tokenizer(counter, type(counter).__name__)
    if callable(counter):
        name = getattr(counter, "__name__", type(counter).__name__)
        return Counter(functools.partial(_checked, counter), name=name)
    raise ConfigurationError(
        f"counter={counter!r} is no function, tokenizer, tokenizer.json, tiktoken encoding, model or engine"
    )


def _guessing(estimate: Callable[[str], int], why: str) -> Counter:
    return Counter(estimate, name="estimate", doubt=f"{why}, so tokens are estimated by bytes")


def _named(name: str, estimate: Callable[[str], int]) -> Counter:
    if name == "estimate":
        return _guessing(estimate, "an estimate was asked for")
    if name in VOCABULARIES:
        return _by_encoding(name)
    vocabulary = encoding_of_model(name)
    if vocabulary is None:
        return _by_file(Path(name))
    if not vocabulary:
        return _guessing(estimate, f"tiktoken, which knows the vocabulary of {name!r}, is too old or not installed")
    if not is_at_hand(vocabulary):
        return _guessing(estimate, f"the vocabulary {vocabulary!r} of {name!r} is not in tiktoken's cache")
    return _by_encoding(vocabulary)


def _by_encoding(name: str) -> Counter:
    return Counter(functools.partial(_encoded, encoding(name)), name=name, overhead=_OPENAI)


def _of_engine(engine: Any, estimate: Callable[[str], int]) -> Counter:
    name = getattr(engine, "name", type(engine).__name__)
    tokenizer = getattr(engine, "tokenizer", None)
    if tokenizer is not None:
        return _by_tokenizer(tokenizer, name)
    model = getattr(engine, "model", None) or ""
    if encoding_of_model(model) is not None:
        return _named(model, estimate)
    return _guessing(estimate, f"the engine {name!r} has no tokenizer at hand")


def _by_tokenizer(tokenizer: Any, name: str) -> Counter:
    count = functools.partial(_encoded, _fast_copy(tokenizer))
    if getattr(tokenizer, "chat_template", None) and hasattr(tokenizer, "apply_chat_template"):
        return ChatCounter(tokenizer, count, name=name)
    return Counter(count, name=name)


def _fast_copy(tokenizer: Any) -> Any:
    """The tokenizer in Rust inside one of transformers, which takes a tenth of its time; a copy that cuts nothing off.

    A copy, since those who share one must not change what it cuts off while others encode.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not all(hasattr(backend, name) for name in ("no_truncation", "no_padding")):
        return tokenizer
    own = copy.deepcopy(backend)
    own.no_truncation()
    own.no_padding()
    return own


def _checked(counter: Callable[[str], int], text: str) -> int:
    amount = counter(text)
    if not isinstance(amount, int):
        raise ConfigurationError(f"the counter gave {amount!r}; it has to give a number of tokens")
    return amount


def _encoded(tokenizer: Any, text: str) -> int:
    library = type(tokenizer).__module__.partition(".")[0]
    # What looks like a special token in a text is only text: tiktoken would raise. And a text is not a whole prompt:
    # nothing is added at its beginning or its end.
    special: dict[str, Any] = {}
    if library == "tiktoken":
        special = {"disallowed_special": ()}
    elif library in ("tokenizers", "transformers"):
        special = {"add_special_tokens": False}
    tokens = tokenizer.encode(valid(text), **special)  # tokenizers written in Rust refuse lone surrogates
    return len(getattr(tokens, "ids", tokens))


def _by_file(path: Path) -> Counter:
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        known = ", ".join(sorted(VOCABULARIES))
        raise ConfigurationError(f"counter={str(path)!r} is neither a tokenizer.json nor one of {known}")
    try:
        tokenizers = importlib.import_module("tokenizers")
    except ImportError as error:
        raise MissingDependencyError(f"counting with {file.name}", package="tokenizers", extra="classifier") from error
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare `Exception`
        raise ConfigurationError(f"{file} is no tokenizer: {error}") from error
    return _by_tokenizer(tokenizer, str(path))
