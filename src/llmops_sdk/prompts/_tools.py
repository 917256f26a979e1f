"""Definitions of tools: in the OpenAI form, in short, or from a Python function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError

__all__ = ["tools_of"]

# What OpenAI, Anthropic and vLLM all take.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHORT = ("name", "description", "parameters", "strict")
_ARGUMENT = re.compile(r"(?P<indent>[ \t]*)\*{0,2}(?P<name>\w+)(?:[ \t]*\([^)\n]*\))?:[ \t]*(?P<said>.*)")
_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?):[ \t]*$", re.MULTILINE)


def tools_of(given: object) -> tuple[Mapping[str, Any], ...]:
    """The definitions of tools in the OpenAI form.

    Args:
        given: A list of definitions: in that form; in short, `{name, description, parameters}` with a JSON Schema; or
            Python functions, whose signature gives the schema and whose docstring gives the descriptions.

    Raises:
        ConfigurationError: One is wrong, or two have the same name.

    Example:
        >>> tools_of([{"name": "now"}])[0]["function"]
        {'parameters': {'type': 'object', 'properties': {}}, 'name': 'now'}
    """
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise ConfigurationError(f"tools are a list of tool definitions and functions, not {type(given).__name__}")
    tools = tuple(_tool(one) for one in given)
    names = [tool["function"]["name"] for tool in tools if tool.get("type") == "function"]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two tools have the name {name!r}")
    return tools


def _tool(given: object) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        kind = given.get("type", "function")
        if kind != "function":  # what a provider runs by itself (`web_search`) has a form of its own
            return given
        if "function" in given:
            _check(given["function"])
            return given
        return {"type": "function", "function": _in_full({k: v for k, v in given.items() if k != "type"})}
    if callable(given):
        return {"type": "function", "function": _of_callable(given)}
    raise ConfigurationError(f"a tool is a mapping with a `name`, or a function, not {type(given).__name__}")


def _check(given: object) -> None:
    if not isinstance(given, Mapping):
        raise ConfigurationError("a tool of the type `function` has a mapping `function` with a `name`")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(f"the name of a tool is 1 to 64 letters, digits, `_` and `-`, not {name!r}")
    unknown = [key for key in given if key not in _SHORT]
    if unknown:
        raise ConfigurationError(f"the tool {name!r} has no {unknown[0]!r}; there are {', '.join(_SHORT)}")
    if not isinstance(given.get("description", ""), str):
        raise ConfigurationError(f"the description of the tool {name!r} is a text")
    parameters = given.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise ConfigurationError(f"the parameters of the tool {name!r} are a JSON Schema with `type: object`")


def _in_full(short: Mapping[str, object]) -> Mapping[str, Any]:
    _check(short)
    return {"parameters": {"type": "object", "properties": {}}, **short}


def _of_callable(function: Any) -> Mapping[str, Any]:
    from pydantic import PydanticUserError, TypeAdapter  # noqa: PLC0415  (third-party: only this needs it)
    from pydantic.errors import PydanticInvalidForJsonSchema  # noqa: PLC0415

    name = getattr(function, "__name__", type(function).__name__)
    try:
        schema = TypeAdapter[Any](function).json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema, NameError) as exc:
        said = str(exc).partition("\n")[0]
        raise ConfigurationError(f"the signature of the tool {name!r} makes no JSON Schema: {said}") from exc
    if schema.get("type") != "object":
        raise ConfigurationError(f"the tool {name!r} has positional-only parameters: models give arguments by name")
    description, arguments = _described(inspect.getdoc(function) or "")
    for argument, said in schema.get("properties", {}).items():
        said.pop("title", None)
        if argument in arguments:
            said.setdefault("description", arguments[argument])
    defined = {"name": name, "description": description, "parameters": schema}
    return _in_full({key: value for key, value in defined.items() if value != ""})


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """What a docstring in Google's style says of the function, and of each argument."""
    begin = _SECTION.search(docstring)
    if begin is None:
        return docstring.strip(), {}
    arguments: dict[str, str] = {}
    if begin[0].startswith(("Args", "Arguments", "Parameters")):
        body = docstring[begin.end() :]
        end = _SECTION.search(body)
        lines = [line for line in body[: end.start() if end else len(body)].splitlines() if line.strip()]
        margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
        name = ""
        for line in lines:
            match = _ARGUMENT.fullmatch(line)
            if match and len(match["indent"]) == margin:
                name, arguments[match["name"]] = match["name"], match["said"].strip()
            elif name:
                arguments[name] = f"{arguments[name]} {line.strip()}"
    return docstring[: begin.start()].strip(), arguments
