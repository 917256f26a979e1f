"""Histories and examples cut down: whole exchanges go, and calls of tools stay with their results."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_sdk.messages import Message
from llmops_sdk.tokens import Counter

__all__ = ["exchanges_from", "newest"]


def newest(messages: Sequence[Message], most: int, counter: Counter) -> list[Message]:
    """The newest messages, as many as have about `most` tokens.

    Whole exchanges are dropped, so that what is left begins with the user. Of the last exchange, where it alone is too
    long (an agent at work), the question stays, and after it the oldest steps are dropped: a step is a message with the
    results of all the tools that it calls.
    """
    kept = exchanges_from(messages, most, counter, last=True)
    return kept or (_newest_steps(_exchanges(messages)[-1], most, counter) if messages else [])


def exchanges_from(messages: Sequence[Message], most: int, counter: Counter, *, last: bool) -> list[Message]:
    """The first exchanges, or the last ones, as many as have about `most` tokens."""
    exchanges = _exchanges(messages)
    kept: list[list[Message]] = []
    for exchange in reversed(exchanges) if last else exchanges:
        most -= counter.messages(exchange)
        if most < 0:
            break
        kept.append(exchange)
    return [message for exchange in (reversed(kept) if last else kept) for message in exchange]


def _newest_steps(exchange: list[Message], most: int, counter: Counter) -> list[Message]:
    question, *rest = exchange
    if question.role != "user":
        return []
    most -= counter.messages([question])
    steps = _steps(rest)
    kept: list[Message] = []
    while steps:
        most -= counter.messages(steps[-1])
        if most < 0:
            break
        kept = [*steps.pop(), *kept]
    return [question, *kept] if kept else []


def _exchanges(messages: Sequence[Message]) -> list[list[Message]]:
    exchanges: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(message)
    return exchanges


def _steps(messages: Sequence[Message]) -> list[list[Message]]:
    steps: list[list[Message]] = []
    for message in messages:
        if message.role != "tool" or not steps:
            steps.append([])
        steps[-1].append(message)
    return steps
