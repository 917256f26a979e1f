"""Rules for examples: that they show the output that is asked for, and that they do not contradict each other."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator

from llmops_sdk.errors import MissingDependencyError
from llmops_sdk.guards import JSONSchema
from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject
from llmops_sdk.prompts import Example

__all__ = ["answer_off_schema", "same_question"]


def _cases(subject: Subject) -> tuple[Example, ...]:
    examples = subject.prompt.content.examples
    return () if examples is None else examples.cases


@functools.lru_cache(maxsize=32)  # prompts of an application share schemas, and checking one takes milliseconds
def _guard(schema: str) -> JSONSchema:
    return JSONSchema(json.loads(schema))


def answer_off_schema(subject: Subject) -> Iterator[Found]:
    """An example's answer that would fail the check of the output; or, once, that nobody can tell."""
    schema, cases = subject.prompt.content.output, _cases(subject)
    if schema is None or schema.get("type") == "string" or not cases:
        return
    try:
        guard = _guard(json.dumps(schema, sort_keys=True))
    except MissingDependencyError as exc:  # said as a problem: the others are found, and nobody takes this for clean
        yield _at(subject, cases[0], f"no answer is held against `output`: {exc}, or ignore P401")
        return
    for case in cases:
        answer = _answer_of(case)
        reading = None if answer is None else guard.read(answer)
        if reading is None or reading.problem is None:
            continue
        if reading.mismatches:
            first = reading.mismatches[0]
            place = ".".join(map(str, first.path)) or "it"
            problem = f"{place} fails {first.rule}: {first.message}"
        else:
            problem = "it is not JSON alone" if reading.problem == "not_json" else reading.problem.replace("_", " ")
        yield _at(subject, case, f"the answer of this example does not fit `output`: {problem}")


def same_question(subject: Subject) -> Iterator[Found]:
    """Two examples that ask the same."""
    asked: dict[str, Example] = {}
    for case in _cases(subject):
        question = json.dumps(case.plain()["messages"][:-1] if case.messages else case.variables, default=str)
        first = asked.setdefault(question, case)
        if first is not case:
            what = "another example asks the same"
            if _answer_of(first) != _answer_of(case):
                what += " and answers something else"
            where = f" ({first.where})" if first.where else ""
            yield _at(subject, case, f"{what}{where}: delete one of them")


def _answer_of(case: Example) -> str | None:
    """What a model shall write; `None` where it shall call tools."""
    if not case.messages:
        return case.answer_text
    last = case.messages[-1]
    return last.text if last.role == "assistant" and not last.tool_calls else None


def _at(subject: Subject, case: Example, problem: str) -> Found:
    path, _, line = case.where.rpartition(":")
    return Found(int(line) if line.isdigit() else 1, 1, problem, None if path == subject.path else path or None)
