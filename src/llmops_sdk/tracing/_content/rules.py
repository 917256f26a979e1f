"""What may be shown of the texts of a run, when its application has asked for content.

Only what the guards let pass unseen or have made clean leaves the process:

* Input: the messages as they were sent, so after the guards of the input have rewritten them. Withheld when one of
  these guards found something and let it stay (`flag`, or `allow` with findings).
* Output: the answer that the application got, so of the last attempt that succeeded, in a run that ended well; what a
  failed or cancelled attempt had written was read by no guard. Its reasoning passes the same guards, so it is shown,
  too. When a guard of the output has rewritten the answer, the rewritten text; when one found something and let it
  stay, nothing.
* The messages of an attempt that resumed a broken stream quote the answer: they fall under both rules.

Their form is that of `gen_ai.input.messages` and `gen_ai.output.messages`: objects with `role` and `parts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmops_sdk.calls import AttemptEnded, Call, Ended, GuardChecked, StreamResumed
from llmops_sdk.messages import Choice, ImagePart, Message, ToolCall
from llmops_sdk.tracing._text import valid
from llmops_sdk.verdicts import Stage, Verdict

__all__ = ["MOST_CHARACTERS", "Content", "Shown", "content_of"]

MOST_CHARACTERS = 65_536
"""Of the texts of one list of messages; later texts are cut."""

_WITHHELD = "[withheld: a guard found something in it]"


class Shown(NamedTuple):
    """The messages of one attempt that may be shown; `output` is `None` where there is nothing that may be."""

    input: list[dict[str, Any]]
    output: list[dict[str, Any]] | None


class Content(NamedTuple):
    """What may be shown of one run.

    Attributes:
        attempts: One entry for each `AttemptEnded` of the record, in order.
        question: The text that the user asked, so of the last message that was sent; `None` where it is withheld.
        answer: The text that the application got; `None` where there is none, or it is withheld.
        variables: What the prompt was rendered with, as JSON text; `None` where it is withheld.
    """

    attempts: list[Shown]
    question: str | None = None
    answer: str | None = None
    variables: str | None = None


def content_of(call: Call) -> Content:
    """What may be shown of `call`."""
    attempts = _attempts(call)
    question = answer = None
    if attempts:
        question = _joined(attempts[-1].input[-1:])
        answer = next((_joined(shown.output) for shown in reversed(attempts) if shown.output), None)
    return Content(attempts, question, answer)


def _joined(messages: Sequence[Mapping[str, Any]]) -> str | None:
    texts = [part["content"] for message in messages for part in message["parts"] if part["type"] == "text"]
    return None if not texts or _WITHHELD in texts else "\n".join(texts)


def _attempts(call: Call) -> list[Shown]:
    events = list(call.events)
    verdicts = {stage: _verdicts(events, stage) for stage in ("input", "output")}
    stays = {stage: any(_stays(verdict) for verdict in those) for stage, those in verdicts.items()}
    ended = next((event for event in events if isinstance(event, Ended)), None)
    answered = None
    if ended is not None and ended.outcome == "ok" and not stays["output"]:
        good = [event for event in events if isinstance(event, AttemptEnded) and event.error is None and event.response]
        answered = good[-1] if good else None
    shown: list[Shown] = []
    resumed = False
    for event in events:
        if isinstance(event, StreamResumed):
            resumed = True
        elif isinstance(event, AttemptEnded):
            unclean = answered is None or any(verdict.action == "rewrite" for verdict in verdicts["output"])
            hidden = stays["input"] or (resumed and unclean)
            output = _output(event, verdicts["output"]) if event is answered else None
            shown.append(Shown(_input(event.request.messages, hidden), output))
    return shown


def _verdicts(events: Sequence[object], stage: Stage) -> list[Verdict]:
    return [event.verdict for event in events if isinstance(event, GuardChecked) and event.stage == stage]


def _stays(verdict: Verdict) -> bool:
    """Whether something was found that is still in the text."""
    return verdict.action != "rewrite" and bool(verdict.findings or verdict.action != "allow")


def _input(messages: Sequence[Message], hidden: bool) -> list[dict[str, Any]]:
    if hidden:
        return [{"role": message.role, "parts": [_text(_WITHHELD)]} for message in messages]
    left = _Allowance()
    return [{"role": message.role, "parts": _parts(message, left)} for message in messages]


def _output(event: AttemptEnded, verdicts: Sequence[Verdict]) -> list[dict[str, Any]] | None:
    response = event.response
    if response is None:
        return None
    rewritten = [verdict for verdict in verdicts if verdict.action == "rewrite"]
    if not rewritten:
        left = _Allowance()
        return [_answer(choice, _choice_parts(choice, left)) for choice in response.choices]
    only = response.choices[0] if len(response.choices) == 1 else None
    text = rewritten[-1].text
    if (
        only is None or only.tool_calls or only.reasoning or text is None
    ):  # which of the texts was rewritten is not in the record
        return [_answer(choice, [_text(_WITHHELD)]) for choice in response.choices]
    return [_answer(only, [_text(_Allowance().take(text))])]


def _answer(choice: Choice, parts: list[dict[str, Any]]) -> dict[str, Any]:
    # The conventions deprecate `finish_reason` here; Phoenix drops the whole list without it.
    return {"role": "assistant", "parts": parts, "finish_reason": choice.finish_reason or "unknown"}


class _Allowance:
    """Characters that one list of messages may still hold."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_CHARACTERS

    def take(self, text: str) -> str:
        taken = text[: self.left]
        self.left -= len(taken)
        more = len(text) - len(taken)
        return valid(taken) if not more else f"{valid(taken)}… [{more} more characters]"


def _parts(message: Message, left: _Allowance) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": left.take(message.text)}]
    parts: list[dict[str, Any]] = []
    if isinstance(message.content, str):
        if message.content or not message.tool_calls:
            parts.append(_text(left.take(message.content)))
    else:
        parts.extend(
            _image(part) if isinstance(part, ImagePart) else _text(left.take(part.text)) for part in message.content
        )
    parts.extend(_tool_call(call, left) for call in message.tool_calls)
    return parts


def _choice_parts(choice: Choice, left: _Allowance) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if choice.reasoning:
        parts.append({"type": "reasoning", "content": left.take(choice.reasoning)})
    if choice.text or not (choice.tool_calls or choice.reasoning):
        parts.append(_text(left.take(choice.text)))
    parts.extend(_tool_call(call, left) for call in choice.tool_calls)
    return parts


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def _image(part: ImagePart) -> dict[str, Any]:
    uri = valid(part.url)
    if uri.startswith("data:"):
        uri = f"{uri[:40].partition(',')[0]},[{len(uri)} characters]"
    return {"type": "uri", "modality": "image", "uri": uri}


def _tool_call(call: ToolCall, left: _Allowance) -> dict[str, Any]:
    written = left.take(call.arguments)
    arguments: Any
    try:
        arguments = json.loads(written)
    except (ValueError, RecursionError):  # the model wrote no JSON, or it was cut
        arguments = written
    if not isinstance(arguments, dict):
        arguments = written
    return {"type": "tool_call", "id": valid(call.id), "name": valid(call.name), "arguments": arguments}
