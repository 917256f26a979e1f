"""Which parameters of a request a prompt may set, and within which limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._tools import tools_of
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["misplaced_parameter", "parameter_of"]


def _number(low: float, high: float = math.inf, *, open_low: bool = False) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError
        if value < low or value > high or (open_low and value == low):
            raise ValueError
        return value

    return check


def _integer(low: float = -math.inf, high: float = math.inf) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return check


def _texts(value: object) -> object:
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) and text for text in texts):
        raise ValueError
    return tuple(texts)


def _mapping(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError
    return value


def _tool_choice(value: object) -> object:
    return value if value in ("auto", "none", "required") else _mapping(value)


def _text(value: object) -> object:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


_PARAMETERS: dict[str, tuple[Callable[[object], object], str]] = {
    "temperature": (_number(0), "a number >= 0"),
    "top_p": (_number(0, 1, open_low=True), "a number > 0 and <= 1"),
    "max_tokens": (_integer(1), "an integer >= 1"),
    "stop": (_texts, "a text, or a list of texts, none of them empty"),
    "seed": (_integer(), "an integer"),
    "n": (_integer(1), "an integer >= 1"),
    "tools": (tools_of, "a list of tool definitions"),
    "tool_choice": (_tool_choice, '"auto", "none", "required" or a mapping that names one tool'),
    "response_schema": (_mapping, "a JSON schema (a mapping)"),
    "logprobs": (_integer(0, 20), "an integer >= 0 and <= 20"),
    "adapter": (_text, "the name of an adapter"),
    "extra": (_mapping, "a mapping of an engine's own parameters"),
}


_NO_MODEL = " A prompt names no model: the engine behind it is the model."


def misplaced_parameter(key: str, /) -> str:
    """What to tell who wrote a parameter where it does not belong, beside `parameters`; nothing for other keys.

    Example:
        >>> misplaced_parameter("temperature")
        ' It is a parameter: write `parameters: {temperature: ...}`.'
    """
    if key == "model":
        return _NO_MODEL
    return f" It is a parameter: write `parameters: {{{key}: ...}}`." if key in _PARAMETERS else ""


def parameter_of(name: object, value: object) -> object:
    """`value` as `Request` holds it under `name`.

    Raises:
        ConfigurationError: No such parameter, or its value is out of range.

    Example:
        >>> parameter_of("stop", "END")
        ('END',)
    """
    if not isinstance(name, str) or name not in _PARAMETERS:
        raise ConfigurationError(
            f"a prompt has no parameter {name!r}; there are {', '.join(_PARAMETERS)}."
            + (_NO_MODEL if name == "model" else did_you_mean(str(name), _PARAMETERS))
            + " Values for variables go to `render(...)`, an engine's own parameters into `extra={...}`."
        )
    check, meaning = _PARAMETERS[name]
    try:
        return check(value)
    except ConfigurationError:  # it says more than `meaning` does
        raise
    except ValueError:
        raise ConfigurationError(f"the parameter `{name}` has to be {meaning}, not {value!r}") from None
