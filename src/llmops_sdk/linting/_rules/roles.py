"""Rules for the order of the roles, of which providers and chat templates refuse some.

Sources: Anthropic, Messages API (<https://docs.anthropic.com/en/api/messages>): the system prompt stands before the
messages. Mistral, chat completions (<https://docs.mistral.ai/api/>): user and assistant alternate after an optional
system message, and the last message is the user's or a tool's. Gemma's chat template raises on a system message and on
roles that do not alternate (<https://ai.google.dev/gemma/docs/core/prompt-structure>).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject
from llmops_sdk.prompts import Section

__all__ = ["PROVIDERS", "answer_begun", "nobody_asks", "not_alternating", "system_not_first"]

PROVIDERS = ("openai", "anthropic", "mistral", "gemma", "vllm")
_ALTERNATING = ("mistral", "gemma")
_ENDS_WITH_USER = ("mistral", "gemma")


def _messages(subject: Subject) -> list[Section]:
    return [section for section in subject.prompt.sections if section.kind != "more"]


def system_not_first(subject: Subject) -> Iterator[Found]:
    """A system message that is not the first, or stands where there is none."""
    for number, section in enumerate(_messages(subject)):
        if section.role == "system" and section.kind == "message":
            if subject.aims.provider == "gemma":
                yield Found(
                    section.line,
                    1,
                    "Gemma knows no system message: write its text at the top of the user section",
                )
            elif number:
                yield Found(
                    section.line,
                    1,
                    "a system message after others is refused by some providers and obeyed less by others: move it to "
                    "the top, as `[+]` of the system message there",
                )


def nobody_asks(subject: Subject) -> Iterator[Found]:
    """No message of a user."""
    messages = _messages(subject)
    if not any(one.role == "user" or one.kind != "message" for one in messages):
        yield Found(messages[0].line, 1, "no user section: most providers refuse a request without one; write `[user]`")


def answer_begun(subject: Subject) -> Iterator[Found]:
    """An assistant message at the end, which not every engine continues."""
    last = _messages(subject)[-1]
    if last.role == "assistant" and last.kind == "message":
        if subject.aims.provider in _ENDS_WITH_USER:
            problem = f"{subject.aims.provider} refuses it"
        else:
            problem = "OpenAI's and newer models answer after it instead of continuing it, or refuse it"
        yield Found(last.line, 1, f"the prompt ends with an assistant section, as an answer that is begun: {problem}")


def not_alternating(subject: Subject) -> Iterator[Found]:
    """Two messages of the same role, one after the other, where they have to alternate."""
    if subject.aims.provider not in _ALTERNATING:
        return
    spoken = [one for one in _messages(subject) if one.role != "system"]
    if spoken and spoken[0].role == "assistant":
        yield Found(
            spoken[0].line, 1, f"{subject.aims.provider} wants the first message after the system's to be a user's"
        )
    for before, after in pairwise(spoken):
        if before.role == after.role and before.kind == after.kind == "message":
            yield Found(
                after.line,
                1,
                f"two {after.role} messages follow each other, and {subject.aims.provider} wants them to alternate: "
                "join them with `[+]`",
            )
