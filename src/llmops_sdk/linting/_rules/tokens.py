"""Rules for the length of a prompt, in tokens."""

from __future__ import annotations

from collections.abc import Iterator

from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject

__all__ = ["early_variable", "over_window"]

_WORTH_A_WORD = 100
"""Tokens that a prefix has to win by moving a variable. (vLLM caches blocks of 16, providers steps of 128 and more.)"""
_LONG = ("document", "documents", "messages", "image", "list", "mapping")
"""Types of variables that may well stand before the instructions: they are long, and read better first."""


def over_window(subject: Subject) -> Iterator[Found]:
    """What is always there leaves no room in the model's window."""
    window, counter = subject.aims.window, subject.aims.counter
    if window is None:
        return
    prompt = subject.prompt
    counted = counter.request(prompt.least_request())
    answer = prompt.parameters.get("max_tokens") or 0
    if counted.tokens + answer > window:
        about = "" if counter.exact else "about "
        room = f" and {answer:,} for the answer" if answer else ""
        yield Found(
            prompt.sections[0].line,
            1,
            f"without any variable it takes {about}{counted.tokens:,} tokens{room}, more than the window of {window:,} "
            f"(counted with {counter.name}): shorten it, or give sections a priority and use `prompt.fit`",
        )


def early_variable(subject: Subject) -> Iterator[Found]:
    """A variable ends the prefix that caches keep, although much that never changes follows it."""
    early = subject.prompt.cache_prefix(subject.aims.counter).early
    variable = None if early is None else subject.prompt.content.variables.get(early.name)
    if early is None or variable is None or early.gain < _WORTH_A_WORD or variable.type in _LONG:
        return
    use = next((one for one in subject.uses if one.variable == early.name and one.partial is None), None)
    about = "" if subject.aims.counter.exact else "about "
    yield Found(
        *((early.line, 1) if use is None else subject.place_of(use)),
        f"{early.name!r} stands before {about}{early.gain:,} tokens that never change, so no prefix cache keeps them: "
        "move it behind them",
    )
