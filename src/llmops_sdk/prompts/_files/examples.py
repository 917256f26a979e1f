"""The examples that a prompt file holds, or names another file for."""

from __future__ import annotations

import json
from collections.abc import Iterator

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._examples import Example, Examples, example_from, examples_from
from llmops_sdk.prompts._files.front_matter import Lines, line_of, yaml_value
from llmops_sdk.prompts._files.place import Place

__all__ = ["examples_in"]

_FILE, _CASES = "file", "cases"


def examples_in(given: object, at: Lines, place: Place) -> Examples | None:
    """What `examples:` says: a list of examples, the name of a file of them, or one of both with options."""
    if given is None:
        return None
    line = line_of(at, "examples")
    options = dict(given) if isinstance(given, dict) else {_FILE if isinstance(given, str) else _CASES: given}
    path, listed = options.pop(_FILE, None), options.pop(_CASES, None)
    if isinstance(path, str) and listed is None:
        cases = list(_in_file(path, at.get(("examples", _FILE), line), place))
    elif isinstance(listed, list) and path is None:
        under = ("examples", _CASES) if isinstance(given, dict) else ("examples",)
        cases = [_case(one, at[(*under, str(number))], place) for number, one in enumerate(listed)]
    else:
        problem = "`examples` is a list, the name of a file, or a mapping: `{file: examples/a.jsonl, count: 3}`"
        place.fail(line, problem + ", `{cases: [...], count: 3}`")
    try:
        return examples_from(cases, **{str(key): value for key, value in options.items()})
    except ConfigurationError as exc:
        place.fail(line, str(exc))


def _in_file(path: str, line: int, place: Place) -> Iterator[Example]:
    text, beside = place.text_of(path, line), place.beside(path)
    if path.endswith(".jsonl"):
        for number, row in enumerate(text.split("\n"), 1):
            if row.strip():
                yield _case(_json(row, number, beside), number, beside)
        return
    if not path.endswith((".yaml", ".yml")):
        place.fail(line, f"{path!r} has to end in .jsonl (one JSON object a line) or .yaml (a list)")
    listed, at = yaml_value(text, beside, first_line=1)
    if not isinstance(listed, list):
        beside.fail(1, "a file of examples holds a list: `- {question: ..., answer: ...}`")
    for number, one in enumerate(listed):
        yield _case(one, at.get((str(number),), 1), beside)


def _json(row: str, line: int, place: Place) -> object:
    try:
        return json.loads(row)
    except (RecursionError, ValueError) as exc:
        place.fail(line, f"this is not a JSON object on one line: {exc}")


def _case(given: object, line: int, place: Place) -> Example:
    try:
        return example_from(given, where=f"{place.where}:{line}")
    except ConfigurationError as exc:
        place.fail(line, str(exc))
