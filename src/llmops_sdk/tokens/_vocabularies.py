"""The vocabularies of tiktoken that are at hand: tiktoken itself downloads those that are not."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

from llmops_sdk.environment import tiktoken_cache
from llmops_sdk.errors import ConfigurationError, MissingDependencyError

__all__ = ["VOCABULARIES", "encoding", "encoding_of_model", "first_at_hand", "is_at_hand"]

VOCABULARIES = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
}
"""tiktoken encoding -> SHA-256 of its vocabulary, as tiktoken itself states them."""
_HOME = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_DEFAULTS = ("o200k_base", "cl100k_base")
_OF_OPENAI = re.compile(r"(ft:)?(gpt-|chatgpt-|o\d|text-embedding-)")


def first_at_hand() -> str | None:
    """The newest encoding that can be loaded without a network; `None` for none."""
    installed = importlib.util.find_spec("tiktoken") is not None
    return next((name for name in _DEFAULTS if installed and is_at_hand(name)), None)


@functools.lru_cache(maxsize=8)
def is_at_hand(name: str) -> bool:
    """Whether tiktoken would find this vocabulary in its cache, whole; it downloads it otherwise."""
    path = _file(name)
    if path is None or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == VOCABULARIES[name]


def _file(name: str) -> Path | None:
    folder = tiktoken_cache()
    address = _HOME.format(name)
    return None if folder is None else folder / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()


def encoding_of_model(model: str) -> str | None:
    """Name of the encoding of one of OpenAI's models, `""` where it cannot be told; `None` for any other model."""
    if not _OF_OPENAI.match(model):
        return None
    try:
        names = importlib.import_module("tiktoken.model")
    except ImportError:
        return ""
    try:
        name: str = names.encoding_name_for_model(model)
    except KeyError:
        return ""
    return name if name in VOCABULARIES else ""


def encoding(name: str) -> Any:
    """Tiktoken's encoding of that name.

    Raises:
        MissingDependencyError: tiktoken is not installed.
        ConfigurationError: The vocabulary is not in its cache.
    """
    try:
        tiktoken = importlib.import_module("tiktoken")
    except ImportError as error:
        raise MissingDependencyError(
            f"counting with {name!r}", package="tiktoken", extra="tokens", command="pip install tiktoken"
        ) from error
    if not is_at_hand(name):
        raise ConfigurationError(
            f"the vocabulary {name!r} is not in tiktoken's cache, and nothing is downloaded: run "
            f"`python -c \"import tiktoken; tiktoken.get_encoding('{name}')\"` where there is a network, set "
            "TIKTOKEN_CACHE_DIR to the folder that then holds it, or give another counter"
        )
    return tiktoken.get_encoding(name)
