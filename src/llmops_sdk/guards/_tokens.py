"""`Tokens`: how many tokens a text may have, with whatever counts them."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, Unpack

from llmops_sdk.environment import tiktoken_cache
from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["TokenCounter", "Tokens"]

TokenCounter: TypeAlias = "Callable[[str], int] | str | Path | Any"

_VOCABULARIES = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
}
"""tiktoken encoding -> SHA-256 of its vocabulary, as tiktoken itself states them."""
_HOME = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_BYTES_PER_TOKEN = 4
_DEFAULTS = ("o200k_base", "cl100k_base")


class Tokens(Guard):
    """Limits the number of tokens of a text.

    Nothing is ever downloaded. Without a `counter` it is tiktoken's `o200k_base` or `cl100k_base`, if tiktoken is
    installed and the vocabulary is in its cache; else an estimate, a token for four bytes of UTF-8, and the reason of
    the verdict says so. The estimate is about right for English, and off by half and more for other scripts and code.
    Counts of parts do not add up to the count of the whole, so in a stream the whole text is awaited.

    Names and arguments of tool calls, and reasoning, may be of any length: they are not read (`waived`).

    Args:
        most: The most tokens that are right.
        least: The least.
        counter: What counts: a function from a text to a number; an object with `encode`, such as a tokenizer of
            tokenizers, transformers or tiktoken; the path of a `tokenizer.json`; the name of a tiktoken encoding; or
            `"estimate"`.
        action: `"block"` (the default) or `"flag"`.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: There is no limit, the limits exclude every text, or the counter counts nothing.
        MissingDependencyError: The counter needs a library that is not installed.

    Example:
        >>> Tokens(most=3, counter="estimate").check("a dozen characters and more").reason
        'about 7 tokens (an estimate: bytes / 4), more than 3'
    """

    waived: frozenset[Surface] = frozenset({"tool_calls", "reasoning"})

    def __init__(
        self,
        *,
        most: int | None = None,
        least: int | None = None,
        counter: TokenCounter = None,
        action: Literal["block", "flag"] = "block",
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if action not in ("block", "flag"):
            raise ConfigurationError(f'action={action!r} is neither "block" nor "flag"; use Length to cut a text')
        if most is None and least is None:
            raise ConfigurationError("give a limit: Tokens(most=...), Tokens(least=...), or both")
        if (most is not None and most < 0) or (least or 0) < 0 or (most is not None and (least or 0) > most):
            raise ConfigurationError(f"no text has at least {least} and at most {most} tokens")
        self.most = most
        self.least = least or 0
        self.action = action
        self._count, self.counts_with = _counter(counter)
        self.estimates = self.counts_with == "estimate"
        self.blocking = not self.estimates

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        amount = self._count(text)
        said = f"about {amount} tokens (an estimate: bytes / 4)" if self.estimates else f"{amount} tokens"
        if self.most is not None and amount > self.most:
            return self._found("too_long", text, f"{said}, more than {self.most}")
        if amount < self.least:
            return self._found("too_short", text, f"{said}, fewer than {self.least}")
        return ALLOW

    def _found(self, kind: str, text: str, reason: str) -> Verdict:
        finding = Finding(kind=kind, start=0, end=len(text), score=0.5 if self.estimates else 1.0, rule="tokens")
        return Verdict(action=self.action, findings=(finding,), reason=reason)


def _counter(counter: TokenCounter) -> tuple[Callable[[str], int], str]:
    """What counts the tokens of a text, and its name."""
    if counter is None:
        installed = importlib.util.find_spec("tiktoken") is not None
        name = next((name for name in _DEFAULTS if installed and _is_at_hand(name)), "estimate")
        return _counter(name)
    if isinstance(counter, str) and counter == "estimate":
        return estimated, "estimate"
    if isinstance(counter, str) and counter in _VOCABULARIES:
        return _tiktoken(counter), counter
    if isinstance(counter, str | Path):
        return _tokenizer_file(Path(counter)), str(counter)
    if hasattr(counter, "encode"):
        return functools.partial(_encoded, counter), type(counter).__name__
    if callable(counter):
        return functools.partial(_checked, counter), getattr(counter, "__name__", type(counter).__name__)
    raise ConfigurationError(f"counter={counter!r} is no function, tokenizer, tokenizer.json or tiktoken encoding")


def estimated(text: str) -> int:
    """A token for four bytes of UTF-8, rounded up."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return math.ceil(size / _BYTES_PER_TOKEN)


def _checked(counter: Callable[[str], int], text: str) -> int:
    amount = counter(text)
    if not isinstance(amount, int):
        raise ConfigurationError(f"the counter gave {amount!r}; it has to give a number of tokens")
    return amount


def _encoded(tokenizer: Any, text: str) -> int:
    # Tokenizers written in Rust refuse lone surrogates.
    text = text.encode("utf-8", "replace").decode() if _has_surrogates(text) else text
    # What looks like a special token in a text is only text: tiktoken would raise.
    special = {"disallowed_special": ()} if type(tokenizer).__module__.startswith("tiktoken") else {}
    tokens = tokenizer.encode(text, **special)
    return len(getattr(tokens, "ids", tokens))


def _has_surrogates(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _vocabulary(name: str) -> Path | None:
    folder = tiktoken_cache()
    address = _HOME.format(name)
    return None if folder is None else folder / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()


@functools.lru_cache(maxsize=8)
def _is_at_hand(name: str) -> bool:
    """Whether tiktoken would find this vocabulary in its cache, whole; it downloads it otherwise."""
    path = _vocabulary(name)
    if path is None or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == _VOCABULARIES[name]


def _tiktoken(name: str) -> Callable[[str], int]:
    try:
        tiktoken = importlib.import_module("tiktoken")
    except ImportError as error:
        raise MissingDependencyError(
            f"counting with {name!r}", package="tiktoken", extra="tokens", command="pip install tiktoken"
        ) from error
    if not _is_at_hand(name):
        raise ConfigurationError(
            f"the vocabulary {name!r} is not in tiktoken's cache, and guards download nothing: run "
            f"`python -c \"import tiktoken; tiktoken.get_encoding('{name}')\"` where there is a network, set "
            "TIKTOKEN_CACHE_DIR to the folder that then holds it, or give another counter"
        )
    return functools.partial(_encoded, tiktoken.get_encoding(name))


def _tokenizer_file(path: Path) -> Callable[[str], int]:
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        known = ", ".join(sorted(_VOCABULARIES))
        raise ConfigurationError(f"counter={str(path)!r} is neither a tokenizer.json nor one of {known}")
    try:
        tokenizers = importlib.import_module("tokenizers")
    except ImportError as error:
        raise MissingDependencyError(f"counting with {file.name}", package="tokenizers", extra="classifier") from error
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare `Exception`
        raise ConfigurationError(f"{file} is no tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return functools.partial(_encoded, tokenizer)
