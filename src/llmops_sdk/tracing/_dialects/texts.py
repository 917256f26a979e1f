"""What several dialects say of a run in the same words: made once, and shared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from llmops_sdk.calls import AttemptEnded, Evaluated, GuardChecked, Rendered, Started
from llmops_sdk.tracing._dialects.run import Attributes, Run
from llmops_sdk.tracing._text import MOST_CHARACTERS, name_of, shortened, valid
from llmops_sdk.usage import EXACT

__all__ = [
    "Money",
    "answer_json",
    "as_json",
    "finding_of",
    "input_json",
    "judgement_json",
    "money",
    "numbers_json",
    "of_whom",
    "output_json",
    "parameters_json",
    "rendered",
    "sent",
    "tags",
    "template",
    "verdict_json",
]

_WHOM = {"session_id": "session.id", "user_id": "user.id"}
"""Tags that backends group by. Phoenix, Langfuse and MLflow all read these two names."""


_PARAMETERS = ("temperature", "top_p", "max_tokens", "stop", "seed", "adapter")

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
"""`json.dumps` would make one for each text."""


class Money(NamedTuple):
    """US dollars of an attempt; what was read and what was written are `None` where only the whole is known."""

    total: float
    read: float | None
    written: float | None


def as_json(value: object) -> str:
    """JSON text that any exporter can encode."""
    return valid(_ENCODER.encode(value))


def numbers_json(numbers: Mapping[str, float | None]) -> str:
    """The same for names of ours and numbers, of which some may not be known: several are written for each attempt."""
    written = ",".join([f'"{name}":{number!r}' for name, number in numbers.items() if number is not None])
    return f"{{{written}}}"


def of_whom(run: Run) -> Attributes:
    """Session and user, which every span has: backends filter single spans by them, too."""
    return run.once("of whom", lambda: _of_whom(run.tags))


def _of_whom(given: Mapping[str, Any]) -> Attributes:
    return {
        name: shortened(str(given[tag]), MOST_CHARACTERS) for tag, name in _WHOM.items() if given.get(tag) is not None
    }


def tags(run: Run) -> dict[str, str | bool | int | float]:
    """The other tags, as far as they are texts, numbers and truth values."""
    return run.once("tags", lambda: _tags(run.tags))


def rollout(event: Rendered) -> dict[str, str | int]:
    """Which arm of a split a prompt is, and how many tokens were cut of it, for dialects without names for that."""
    said: dict[str, str | int] = {}
    ref = event.prompt
    if ref is not None and ref.arm is not None:
        said["prompt_arm"] = name_of(ref.arm)
        said["prompt_split"] = name_of(ref.split or "")
    if event.cuts:
        said["prompt_cut_tokens"] = sum(cut.before - cut.after for cut in event.cuts)
    return said


def release(run: Run) -> dict[str, str | int]:
    """`rollout`, of the run's prompt, with the lock by which the pipeline was built."""
    return run.once("release", lambda: _release(run))


def _release(run: Run) -> dict[str, str | int]:
    rendering = rendered(run)
    said = {} if rendering is None else rollout(rendering)
    started = run.call.events[0] if run.call.events else None
    if isinstance(started, Started) and started.lock is not None:
        said["lock_hash"] = started.lock
    return said


def _tags(given: Mapping[str, Any]) -> dict[str, str | bool | int | float]:
    kept: dict[str, str | bool | int | float] = {}
    for key, value in given.items():
        if key not in _WHOM and isinstance(value, str | bool | int | float):
            kept[valid(str(key))] = shortened(value, MOST_CHARACTERS) if isinstance(value, str) else value
    return kept


def input_json(event: AttemptEnded, run: Run) -> str | None:
    """The messages that were sent, in the form of `gen_ai.input.messages`."""
    shown = run.shown(event)
    return run.once(("input", id(event)), lambda: as_json(shown.input)) if shown is not None and shown.input else None


def output_json(event: AttemptEnded, run: Run) -> str | None:
    """The messages that came back, in the form of `gen_ai.output.messages`."""
    shown = run.shown(event)
    return (
        run.once(("output", id(event)), lambda: as_json(shown.output)) if shown is not None and shown.output else None
    )


def answer_json(run: Run) -> str | None:
    """The answer as messages, where it is no text alone: it calls tools."""
    content = run.content
    if content is None or content.answer or not content.output:
        return None
    return run.once("answer", lambda: as_json(content.output))


def sent(run: Run) -> str | None:
    """The prompt as it was sent, so after the guards, in the form of its file; `None` where it may not be shown."""
    messages = None if run.content is None else run.content.input
    return run.once("sent", lambda: _sent(messages)) if messages else None


def _sent(messages: Sequence[Mapping[str, Any]]) -> str:
    written = ((message["role"], _words(message["parts"])) for message in messages)
    return "\n\n".join(f"[{role}]\n{text}" for role, text in written)


def _words(parts: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(part["content"] if part["type"] == "text" else f"({part['type']})" for part in parts)


def parameters_json(event: AttemptEnded, run: Run) -> str | None:
    """What the request asks of the engine beside its messages; `None` where it asks nothing."""
    return run.once(("parameters", id(event)), lambda: _parameters(event))


def _parameters(event: AttemptEnded) -> str | None:
    request = event.request
    asked: dict[str, Any] = {
        name: value for name in _PARAMETERS if (value := getattr(request, name)) is not None and value != ()
    }
    if request.n != 1:
        asked["n"] = request.n
    if event.streamed:
        asked["stream"] = True
    if request.response_schema is not None:
        asked["response_format"] = "json_schema"
    return as_json(asked) if asked else None


def verdict_json(event: GuardChecked, run: Run) -> str:
    """What a guard said: it never quotes the text, so it is shown without content, too."""
    return run.once(("verdict", id(event)), lambda: _verdict(event))


def _verdict(event: GuardChecked) -> str:
    verdict = event.verdict
    if not (verdict.reason or verdict.findings):  # most of them: nothing was found
        return f'{{"action":"{verdict.action}"}}'
    said: dict[str, Any] = {"action": verdict.action}
    if verdict.reason:
        said["reason"] = shortened(verdict.reason, MOST_CHARACTERS)
    if verdict.findings:
        said["findings"] = finding_of(event)
    return as_json(said)


def finding_of(event: GuardChecked) -> dict[str, int]:
    """How many of each kind a guard has found."""
    found: dict[str, int] = {}
    for finding in event.verdict.findings:
        kind = name_of(finding.kind)
        found[kind] = found.get(kind, 0) + 1
    return found


def judgement_json(event: Evaluated, run: Run) -> str:
    """What a judge said; why is content, since it may quote the texts."""
    said: dict[str, Any] = {"name": event.name, "by": event.by}
    if event.score is not None:
        said["score"] = event.score
    if event.label is not None:
        said["label"] = name_of(event.label)
    why = None if run.content is None else run.content.evaluation(event)
    if why is not None:
        said["explanation"] = why
    return as_json(said)


def rendered(run: Run) -> Rendered | None:
    """The rendering that the run began with."""
    return run.once("rendered", lambda: next((one for one in run.call.events if isinstance(one, Rendered)), None))


def template(event: Rendered, run: Run) -> str | None:
    """The prompt as written, in the form of its file; `None` where content is off or there is no prompt."""
    if run.content is None or not event.template:
        return None
    return run.once("template", lambda: _template(event.template))


def _template(sections: Sequence[tuple[Any, ...]]) -> str:
    if len(sections) == 1 and sections[0][0] == "user":
        return valid(sections[0][1])
    return valid("\n\n".join(f"[{role}]\n{text.strip()}" for role, text, *_ in sections))


def money(event: AttemptEnded, run: Run) -> Money | None:
    """What an attempt cost; `None` where that is not known."""
    return run.once(("money", id(event)), lambda: _money(event, run))


def _money(event: AttemptEnded, run: Run) -> Money | None:
    total = event.cost_usd
    if total is None:
        return None
    read = _read_usd(event, run)
    if read is None or not 0 <= read <= total:
        return Money(float(total), None, None)
    return Money(float(total), float(read), float(EXACT.subtract(total, read)))


def _read_usd(event: AttemptEnded, run: Run) -> Decimal | None:
    """The part of the cost that is for input: what it would have cost without an answer."""
    usage, prices = event.usage, run.call.prices
    if usage is None or prices is None or usage.billed_usd is not None or usage.also_charged:
        return None
    unanswered = replace(usage, output_tokens=0, reasoning_tokens=0, audio_output_tokens=0)
    model = event.model if event.response is None else event.response.model or event.model
    return prices.cost(model, unanswered, asked=event.model, provider=event.provider)
