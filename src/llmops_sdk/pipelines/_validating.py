"""The answer held against the schema that the prompt asks for; nothing of the answer goes into the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from llmops_sdk.calls import Call, OutputValidated
from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards import JSONSchema
from llmops_sdk.loops import in_thread
from llmops_sdk.messages import Request, Response

__all__ = ["validate_output"]

_LONG = 20_000
"""Characters from which on a check had better not keep the event loop."""
_MOST_SCHEMAS = 64

_Validator: TypeAlias = "JSONSchema | None"

_UNKNOWN: Any = object()

_validators: dict[str, _Validator] = {}
"""By the schema as text; `None` where it is none, or `jsonschema` is not installed: then any JSON will do."""


async def validate_output(request: Request, response: Response, call: Call) -> None:
    """Record whether the answer satisfies the schema of its request; an answer that only calls tools is none."""
    texts = [choice.text for choice in response.choices if choice.text or not choice.tool_calls]
    if not texts:
        return
    started = call.clock()
    schema = json.dumps(request.response_schema, sort_keys=True, default=repr)
    validator = _validators.get(schema, _UNKNOWN)
    if validator is not _UNKNOWN and all(len(text) <= _LONG for text in texts):
        error = _error(validator, texts)
    else:
        error = await in_thread(lambda: _error(_validator(schema), texts))
    call.record(OutputValidated(started, call.clock(), error))


def _validator(schema: str) -> _Validator:
    try:
        made: _Validator = JSONSchema(json.loads(schema), strict=False)
    except (ConfigurationError, MissingDependencyError):
        made = None
    if len(_validators) >= _MOST_SCHEMAS:
        _validators.clear()
    _validators[schema] = made
    return made


def _error(validator: _Validator, texts: Sequence[str]) -> str | None:
    return next((error for text in texts if (error := _error_of(validator, text)) is not None), None)


def _error_of(validator: _Validator, text: str) -> str | None:
    if validator is None:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return "not json"
        return None
    verdict = validator.check(text)
    if not verdict.findings:
        return None
    kind = verdict.findings[0].kind
    if kind != "schema_mismatch":
        return kind.replace("_", " ")
    # Where it fails is a path of names that the model has chosen; what it fails is a word of the schema.
    return f"schema mismatch: {verdict.reason.rpartition(': ')[2]}"
