"""Rules for the order of the roles, of which providers and chat templates refuse some.

Sources, read in November 2026:

* Anthropic. A system message in the conversation is taken by Claude Opus 4.8 and later models, right behind a user's
  (<https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages>), and refused by those
  before. An assistant message at the end is refused since Claude 4.6
  (<https://platform.claude.com/docs/en/about-claude/models/migration-guide>).
* Mistral, mistral-common's `protocol/instruct/validator.py` (<https://github.com/mistralai/mistral-common>): behind an
  assistant message stands no system message; the last message is the user's or a tool's, or has `prefix`; two user
  messages in a row are taken.
* Gemma. The chat templates of Gemma 1 to 3 raise where user and assistant do not alternate; those of 1 and 2 raise on
  a system message, that of 3 puts it in front of the first user message
  (<https://ai.google.dev/gemma/docs/core/prompt-structure>).
* OpenAI takes roles in any order, and answers behind an assistant message
  (<https://platform.openai.com/docs/api-reference/chat/create>).
* vLLM uses the model's chat template, of which many want the system message first; it goes on with an assistant message
  where it is told to, by `continue_final_message`
  (<https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject
from llmops_sdk.prompts import Section

__all__ = ["PROVIDERS", "answer_begun", "nobody_asks", "not_alternating", "system_not_first"]

PROVIDERS = ("openai", "anthropic", "mistral", "gemma", "vllm")

_LATE_SYSTEM = {
    None: "some providers and chat templates refuse it, and models obey it less",
    "anthropic": "Claude takes it since Opus 4.8, and right behind a user message only",
    "mistral": "Mistral refuses it behind an assistant message",
    "gemma": "its chat template refuses it, or takes it for a user message",
    "vllm": "chat templates of many models refuse it",
}
_BEGUN_ANSWER = {
    None: "OpenAI's models answer behind it instead of going on with it, and Claude refuses it since 4.6",
    "openai": "OpenAI's models answer behind it instead of going on with it",
    "anthropic": "Claude refuses it since 4.6",
    "mistral": "Mistral refuses it, unless the message has `prefix`",
    "gemma": "its chat template closes it, and the model answers anew",
    "vllm": "without `continue_final_message` the model answers anew",
}


def _messages(subject: Subject) -> list[Section]:
    return [section for section in subject.prompt.sections if section.kind != "more"]


def system_not_first(subject: Subject) -> Iterator[Found]:
    """A system message that stands behind others."""
    provider = subject.aims.provider
    if provider == "openai":
        return
    messages = _messages(subject)
    for number, section in enumerate(messages):
        if section.role != "system" or section.kind != "message" or not number:
            continue
        before = messages[number - 1]
        if provider == "mistral" and before.kind == "message" and before.role != "assistant":
            continue
        yield Found(
            section.line,
            1,
            f"a system message behind others: {_LATE_SYSTEM[provider]}; move it to the top, as `[+]` of the system "
            "message there",
        )


def nobody_asks(subject: Subject) -> Iterator[Found]:
    """No message of a user."""
    messages = _messages(subject)
    if not any(one.role == "user" or one.kind != "message" for one in messages):
        yield Found(messages[0].line, 1, "no user section: most providers refuse a request without one; write `[user]`")


def answer_begun(subject: Subject) -> Iterator[Found]:
    """An assistant message at the end, which not every engine continues."""
    last = _messages(subject)[-1]
    if last.role != "assistant" or last.kind != "message":
        return
    parameters = subject.prompt.parameters
    if (parameters.get("extra") or {}).get("continue_final_message"):
        return
    why = _BEGUN_ANSWER[subject.aims.provider]
    yield Found(last.line, 1, f"the prompt ends with an assistant section, as an answer that is begun: {why}")


def not_alternating(subject: Subject) -> Iterator[Found]:
    """Two messages of the same role, one after the other, where they have to alternate."""
    if subject.aims.provider != "gemma":
        return
    spoken = [one for one in _messages(subject) if one.role != "system"]
    if spoken and spoken[0].role == "assistant":
        problem = "Gemma's chat template wants the first message behind the system's to be a user's"
        yield Found(spoken[0].line, 1, problem)
    for before, after in pairwise(spoken):
        if before.role == after.role and before.kind == after.kind == "message":
            yield Found(
                after.line,
                1,
                f"two {after.role} messages follow each other, and Gemma's chat template wants them to alternate: "
                "join them with `[+]`",
            )
